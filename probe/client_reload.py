"""The client's methods for hot reload. Mixed into `NodeClient`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe.wire_base import Told
from observe.probe.wire_reload import CodeArgs, LoadedCode, ReloadArgs, ReloadDone

T = TypeVar("T", bound=Told)


class ReloadClient:
    """Puts new code into the node, from the node's own disk."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def reload(
        self,
        modules: Sequence[str] = (),
        *,
        dry_run: bool = False,
        rollback: bool = False,
        timeout_s: float = 3.0,
        reason: str = "",
    ) -> ReloadDone:
        """Put what is on the node's disk in the place of what is loaded, all or nothing; with `dry_run` only tell what
        would change, with `rollback` undo the newest reload.

        Raises:
            RemoteError: it cannot be; the text says why, and everything is as it was.
        """
        args = ReloadArgs(
            modules=list(modules), dry_run=dry_run, rollback=rollback, timeout_s=timeout_s, reason=reason,
            **self._command_fields(),
        )  # fmt: skip
        return await self._ask("reload", args, ReloadDone)

    async def code(self, diff: str = "") -> LoadedCode:
        """The project's modules as they are loaded, with how many agents live of their classes, and what has changed on
        the node's disk since; of the module `diff` also the difference, line by line.

        Raises:
            RemoteError: no module `diff` is loaded, or its file cannot be read.
        """
        return await self._ask("code", CodeArgs(diff=diff), LoadedCode)
