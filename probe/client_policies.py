"""The client's methods for the node's policies. Mixed into `NodeClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe.wire_actions import Acted
from observe.probe.wire_base import Told
from observe.probe.wire_policies import HeldPolicies, PoliciesArgs, ReloadPoliciesArgs

T = TypeVar("T", bound=Told)


class PoliciesClient:
    """What agents may do."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def policies(self) -> HeldPolicies:
        """The policies that hold, and how often each has decided."""
        return await self._ask("policies", PoliciesArgs(), HeldPolicies)

    async def reload_policies(self, reason: str = "") -> Acted:
        """Have the node read its file of policies now; it does so by itself when the file has changed.

        Raises:
            RemoteError: something is wrong with the file; the text says what and where, and the policies of before hold.
        """
        args = ReloadPoliciesArgs(reason=reason, **self._command_fields())
        return await self._ask("reload_policies", args, Acted)
