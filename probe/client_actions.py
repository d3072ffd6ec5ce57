"""The client's methods that act on agents. Each returns what the runtime observed.

Each command names the incarnation that we know and expires, so that it never reaches a restarted node by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from observe.probe import wire_actions as actions
from observe.probe.wire_actions import Acted


class ActionsClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[Acted]) -> Acted: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def act(self, verb: str, **arguments: Any) -> Acted:
        """Any action of the table `wire_actions.VERBS`, by its verb and arguments."""
        _, model = actions.VERBS[verb]
        return await self._ask(verb, model.model_validate(arguments | self._command_fields()), Acted)

    async def suspend(self, agent: int | str, reason: str = "") -> Acted:
        """Let the agent take no further message; its mailbox keeps queueing."""
        return await self.act("suspend", agent=agent, reason=reason)

    async def resume(self, agent: int | str, reason: str = "") -> Acted:
        """Let a suspended agent go on."""
        return await self.act("resume", agent=agent, reason=reason)

    async def stop(self, agent: int | str, reason: str = "") -> Acted:
        """Ask the agent to end, with `terminate`; its supervisor decides what follows."""
        return await self.act("stop", agent=agent, reason=reason)

    async def restart(
        self, agent: int | str, source: Literal["spec", "checkpoint", "fresh"] = "spec", reason: str = ""
    ) -> Acted:
        """End the agent in order and start its successor, from its checkpoint or afresh."""
        return await self.act("restart", agent=agent, source=source, reason=reason)

    async def next_rung(self, agent: int | str, reason: str = "") -> Acted:
        """Take the next rung of the agent's ladder."""
        return await self.act("next_rung", agent=agent, reason=reason)

    async def send(self, agent: int | str, message: Any, reason: str = "") -> Acted:
        """Cast a JSON value to the agent."""
        return await self.act("send", agent=agent, message=message, reason=reason)

    async def edit(
        self, agent: int | str, field: str, value: Any, *, dry_run: bool = False, reason: str = ""
    ) -> Acted:
        """Replace one field of the agent's state; with `dry_run` only tell the difference."""
        return await self.act("edit", agent=agent, field=field, value=value, dry_run=dry_run, reason=reason)

    async def mailbox(self, agent: int | str, do: Literal["drop", "move"], **choice: Any) -> Acted:
        """Drop or move messages that wait: `oldest=`, `newest=`, `containing=` or `everything=True`; `to=` for move."""
        return await self.act("mailbox", agent=agent, do=do, **choice)

    async def cancel_activity(self, agent: int | str, activity: str = "", reason: str = "") -> Acted:
        """Cancel an activity where it waits; the innermost when none is named."""
        return await self.act("cancel_activity", agent=agent, activity=activity, reason=reason)

    async def checkpoint(self, agent: int | str, reason: str = "") -> Acted:
        """Save the agent's state now."""
        return await self.act("checkpoint", agent=agent, reason=reason)

    async def approve(self, agent: int | str, approval: int = 0, reason: str = "") -> Acted:
        """Let an activity begin that waits for a person; `approval` is its number, where the agent has several."""
        return await self.act("approve", agent=agent, approval=approval, reason=reason)

    async def refuse(self, agent: int | str, approval: int = 0, reason: str = "") -> Acted:
        """Let it not begin."""
        return await self.act("refuse", agent=agent, approval=approval, reason=reason)

    async def contain(
        self,
        agent: int | str,
        level: Literal["none", "monitored", "restricted", "isolated", "suspended", "killed"],
        *,
        subtree: bool = False,
        tools: Sequence[str] | None = None,
        recipients: Sequence[str] | None = None,
        two_person: bool = False,
        reason: str = "",
    ) -> Acted:
        """Fence an agent in, or let it out with `none`; with `subtree` all below a supervisor. `done` is False where a second person has to
        confirm that the level is lowered."""
        return await self.act(
            "contain",
            agent=agent,
            level=level,
            subtree=subtree,
            tools=None if tools is None else list(tools),
            recipients=None if recipients is None else list(recipients),
            two_person=two_person,
            reason=reason,
        )

    async def reset_budget(self, agent: int | str, reason: str = "") -> Acted:
        """Let the agent's budget begin anew."""
        return await self.act("reset_budget", agent=agent, reason=reason)

    async def set_log_level(self, level: str, logger: str = "", reason: str = "") -> Acted:
        """Set the level of a logger of the service."""
        return await self.act("log_level", level=level, logger=logger, reason=reason)

    async def canary(self, reason: str = "") -> Acted:
        """Make up an agent that is there to be seen, by `pid`; it ends by itself after a minute."""
        return await self.act("canary", reason=reason)

    async def collect_garbage(self, generation: int = 2, reason: str = "") -> Acted:
        """Run the service's garbage collector."""
        return await self.act("collect_garbage", generation=generation, reason=reason)
