"""The client's methods that consoles need beside the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe.wire_actions import Acted
from observe.probe.wire_base import Told
from observe.probe.wire_console import ControlArgs, GroupBy, GroupList, GroupsArgs, GroupSort

T = TypeVar("T", bound=Told)


class ConsoleClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def groups(
        self,
        by: GroupBy = "class",
        filter: str = "",  # noqa: A002  # what the protocol calls it
        *,
        sort: GroupSort = "agents",
        descending: bool = True,
        limit: int = 100,
    ) -> GroupList:
        """Agents in groups with their sums, as in `groups("supervisor", "class=Session", sort="load")`."""
        args = GroupsArgs(by=by, filter=filter, sort=sort, descending=descending, limit=limit)
        return await self._ask("groups", args, GroupList)

    async def control(self, *, taken: bool, for_s: float = 0.0, reason: str = "") -> Acted:
        """Have it recorded that a person takes control, and why, or gives it back."""
        args = ControlArgs(taken=taken, for_s=for_s, reason=reason, **self._command_fields())
        return await self._ask("control", args, Acted)
