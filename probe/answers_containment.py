"""The service's side of containment: from the op of the control link to the runtime, and what came of it back."""

from __future__ import annotations

import asyncio
from typing import Any

from observe.runtime.actions import Acted, Result
from observe.runtime.containment import CONFIRM_S, Containment
from observe.runtime.errors import ActionRefused, NoSuchAgent
from observe.runtime.fences import RANK, Change, Fence, Level
from observe.runtime.node import Node
from observe.runtime.wording import counted


def contain(node: Node, request: dict[str, Any]) -> Result:
    """Fence an agent in, or let it out; or an empty place, by whoever was in it last.

    Raises:
        NoSuchAgent: nobody is there, and no place is kept empty for them.
    """
    level = request.get("level")
    if level not in RANK:
        raise ActionRefused(f"{level!r} is no level of containment; there are {', '.join(RANK)}")
    reason, by, who = (str(request.get(name) or "") for name in ("reason", "by", "who"))
    pid, asked = request.get("pid"), request.get("agent")
    containment = node.govern().containment
    agent = node.agents.get(pid) if type(pid) is int else None
    if agent is None and isinstance(asked, int | str):
        agent = node.agents.get(asked) if isinstance(asked, int) else node.registry.get(asked)
    if agent is None:
        place = containment.place(asked) if isinstance(asked, int | str) else None
        if place is None:
            raise NoSuchAgent(asked if asked is not None else str(pid))
        change = containment.order(place, Fence(level, reason=reason, by=by), who)
        return _acted(containment, change, f"the place of {asked}", 0)
    change = containment.contain(
        agent,
        level,
        subtree=request.get("subtree") is True,
        tools=_texts(request.get("tools")),
        recipients=_texts(request.get("recipients")),
        reason=reason,
        by=by,
        two_person=request.get("two_person") is True,
        who=who,
    )
    return _acted(containment, change, agent._o_text(), agent._o_pid)


def _acted(containment: Containment, change: Change, text: str, pid: int) -> Result:
    if change.asked:
        return _confirmed(containment, change, text, pid)
    return _told(containment, change, text, pid, change.cancelled)


async def _confirmed(containment: Containment, change: Change, text: str, pid: int) -> Acted:
    """Once the workers keep it: their agents are out of reach from here."""
    answers = await asyncio.gather(*change.asked, return_exceptions=True)
    kept = [one for one in answers if isinstance(one, int)]
    acted = _told(containment, change, text, pid, change.cancelled + sum(kept))
    acted.facts["away"] = len(kept)
    lost = len(answers) - len(kept)
    if lost:
        acted.what += f"; of {lost} more the worker process has ended"
    return acted


def _told(containment: Containment, change: Change, text: str, pid: int, cancelled: int) -> Acted:
    facts: dict[str, Any] = {"before": change.before, "level": change.level, "agents": change.agents}
    if not change.done:
        what = f"{text} stays {change.before}: a second person has to confirm within {CONFIRM_S:g} s, with the same command"
        return Acted(False, what, pid, facts)
    level: Level = change.level
    what = (
        f"{text} was {change.before} and is {level}"
        if change.before != level
        else f"{text} was {level} already"
    )
    if change.agents != 1:
        what += f"; other levels now: {counted(change.agents, 'agent')}"
    if cancelled:
        what += f"; {'1 activity was' if cancelled == 1 else f'{cancelled:,} activities were'} cancelled"
        facts["cancelled"] = cancelled
    if change.asked:
        what += f"; {len(change.asked)} in worker processes, which keep it"
    if level == "none" and containment.empty:
        facts["kept_empty"] = len(containment.empty)
    return Acted(True, what, pid, facts)


def _texts(value: Any) -> tuple[str, ...] | None:
    return tuple(str(one) for one in value) if isinstance(value, list) else None
