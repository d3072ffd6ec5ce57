"""The client's methods about agents: the table of all, and one with its code, its tree and its crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe import wire_agent, wire_base, wire_table

T = TypeVar("T", bound=wire_base.Told)


class AgentsClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def agents(self, query: wire_table.Query | None = None, **fields: Any) -> wire_table.Page:
        """A window of the agents table: of a query, or of a query's fields, as in `agents(sort="mailbox", limit=5)`.

        Raises:
            ValueError: a field is unknown or out of range (pydantic's ValidationError).
        """
        asked = query or wire_table.Query()
        if fields:
            asked = wire_table.Query.model_validate(asked.to_wire() | fields)
        return await self._ask("agents", asked, wire_table.Page)

    async def inspect(
        self,
        agent: int | str,
        max_items: int = 100,
        *,
        locals: bool = False,  # noqa: A002  # the protocol's word
    ) -> wire_agent.Detail:
        """Everything about one agent, by pid or name; with `locals`, the local variables of its last crash as well."""
        args = wire_agent.InspectArgs(agent=agent, max_items=max_items, locals=locals)
        return await self._ask("inspect", args, wire_agent.Detail)

    async def stack(self, agent: int | str) -> wire_agent.Stack:
        """Where the agent is in its code."""
        return await self._ask("stack", wire_agent.StackArgs(agent=agent), wire_agent.Stack)

    async def tree(
        self, root: int | str | None = None, depth: int = 8, max_children: int = 50
    ) -> wire_agent.Branch:
        """The supervision tree below an agent, or all of it."""
        args = wire_agent.TreeArgs(root=root, depth=depth, max_children=max_children)
        return await self._ask("tree", args, wire_agent.Branch)

    async def crashes(self, limit: int = 50) -> wire_agent.Crashes:
        """The newest crashes."""
        return await self._ask("crashes", wire_agent.CrashesArgs(limit=limit), wire_agent.Crashes)

    async def kill(self, agent: int | str, reason: str = "") -> wire_agent.Outcome:
        """End an agent; its supervisor decides what follows.

        The command names the incarnation that we know and expires: it never reaches a restarted node by mistake.
        """
        args = wire_agent.KillArgs(agent=agent, reason=reason, **self._command_fields())
        return await self._ask("kill", args, wire_agent.Outcome)
