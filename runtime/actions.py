"""What an operator may do to one agent, beside `Control.kill`: one function an action, and the table of them.

All run in the scheduler's thread, between two slices. Each returns what the runtime observed, at once or, when that
takes time, by a coroutine. What cannot be done raises a `RuntimeFault` that says why, and has changed nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from observe.runtime import budget
from observe.runtime.agent import EXITED, IDLE, RUNNABLE, SUSPENDED, Agent
from observe.runtime.bonds import bonds_of
from observe.runtime.calls import Call
from observe.runtime.checkpoint import PASSING, STATE, key_of, node_store
from observe.runtime.errors import ActionRefused, MessageDropped, RuntimeFault
from observe.runtime.exits import SHUTDOWN, ExitReason
from observe.runtime.holding import hold, is_between, release
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node
from observe.runtime.supervisor import Supervisor
from observe.runtime.wording import counted

if TYPE_CHECKING:
    from observe.runtime.children import Child
    from observe.runtime.ladder import Failure, Rung

Source = Literal["spec", "checkpoint", "fresh"]

RUNG_S: Final = 1.0
"""How long the next rung is waited for. Shorter than the wait for an answer, so that whoever asked learns of it."""

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET")
"""Of a logger; the last: that of the one above it."""


@dataclass(slots=True)
class Acted:
    """What became of an action."""

    done: bool
    """False: begun, and not over within the time that somebody waits for an answer."""
    what: str
    """One line for people."""
    pid: int = 0
    """The agent's; after a restart that of the successor."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers and names behind the line."""


Result = Acted | Coroutine[Any, Any, Acted]


# -- Suspending ----------------------------------------------------------------------------------------------------------


def suspend(_node: Node, agent: Agent) -> Acted:
    """Let the agent take no further message. A step that is under way goes on to its end; messages keep queueing, timers
    keep running, and a kill works as ever."""
    if isinstance(agent, Supervisor):
        raise ActionRefused(
            f"{agent._o_text()} is a supervisor: without it nobody would restart its children; suspend those"
        )
    text = agent._o_text()
    if agent._o_status == SUSPENDED and bonds_of(agent).is_held:
        return Acted(True, f"{text} was suspended already", agent._o_pid, _queue(agent))
    if hold(agent):
        return Acted(True, f"{text} is suspended", agent._o_pid, _queue(agent))
    return Acted(
        False, f"{text} will be suspended when its step ends: {_doing(agent)}", agent._o_pid, _queue(agent)
    )


def resume(node: Node, agent: Agent) -> Acted:
    """Let a suspended agent go on with its mailbox."""
    bonds, text = agent._o_bonds, agent._o_text()
    if bonds is None or not bonds.is_held:
        return Acted(True, f"{text} was not suspended", agent._o_pid, _queue(agent))
    facts = _queue(agent)
    fenced = node.governing.containment.of(agent) if node.governing is not None else None
    if fenced is not None and fenced.level in ("isolated", "suspended"):
        raise ActionRefused(f"{text} is contained ({fenced.level}): lower its containment to let it go on")
    release(agent)
    return Acted(
        True, f"{text} goes on, with {counted(facts['queued'], 'message')} waiting", agent._o_pid, facts
    )


# -- Ending and beginning again ----------------------------------------------------------------------------------------


def stop(node: Node, agent: Agent, reason: str = "") -> Result:
    """Ask the agent to end: `terminate` runs, within the child spec's `shutdown_s`. Its supervisor decides what follows."""
    _not_root(node, agent)
    why = ExitReason("shutdown", reason) if reason else SHUTDOWN
    node.lifecycle.exit(agent, why)
    return _stopped(node, agent)


async def _stopped(node: Node, agent: Agent) -> Acted:
    ended = await node.lifecycle.wait_exit(agent)
    return Acted(True, f"{agent._o_text()} has ended: {ended}", agent._o_pid, {"exit": str(ended)})


def restart(node: Node, agent: Agent, source: Source = "spec") -> Result:
    """End the agent in order and start its successor in the same place, alone, whatever the supervisor's strategy.

    Args:
        source: `checkpoint`: from the last one; `fresh`: by `init`; `spec`: as the child spec says.
    """
    child = agent._o_child
    if isinstance(agent, Supervisor) or child.supervisor is None:
        raise ActionRefused(f"{agent._o_text()} is a supervisor: restart its children, or kill it")
    if child.agent is not agent or agent._o_exit is not None:
        raise ActionRefused(f"{agent._o_text()} is ending already")
    plan = child.spec.plan
    if source == "checkpoint" and (plan is None or node.store is None):
        raise ActionRefused(
            f"{agent._o_text()} has no checkpoints: its child spec needs restore=True or checkpoint=..., "
            "and the node a store"
        )
    return _restarted(node, agent, source)


async def _restarted(node: Node, agent: Agent, source: Source) -> Acted:
    child, supervisor, lifecycle = agent._o_child, agent._o_child.supervisor, node.lifecycle
    assert supervisor is not None
    if source == "checkpoint":
        await _needs_checkpoint(node, agent)
    await supervisor._o_stop_child(child, SHUTDOWN)
    if supervisor._o_exit is not None or supervisor._o_children.get(child.id) is not child:
        raise ActionRefused(f"the supervisor of {agent._o_text()} has ended meanwhile")
    if child.spec.plan is not None:
        past = child.past_of()
        past.restores = source == "checkpoint" or past.restores
        past.is_fresh = source == "fresh"
    child.restarts += 1
    lifecycle.restarted += 1
    try:
        new = await supervisor._o_start(child)
    except RuntimeFault as fault:
        supervisor._o_restart_failed(child, agent, fault)
        raise ActionRefused(
            f"{agent._o_text()} has ended, and its successor did not start: {fault}"
        ) from fault
    lifecycle.restart_done(agent, new)
    care = new._o_bonds.care if new._o_bonds is not None else None
    from_checkpoint = care is not None and care.generation > 0 and source != "fresh"
    how = f"from checkpoint {care.generation}" if care is not None and from_checkpoint else "afresh"
    facts = {"old_pid": agent._o_pid, "from_checkpoint": from_checkpoint}
    return Acted(True, f"{agent._o_text()} was restarted {how} as {new._o_pid}", new._o_pid, facts)


async def _needs_checkpoint(node: Node, agent: Agent) -> None:
    """Whoever wants the state of the last checkpoint does not want to lose all of it, nor that the end of the agent puts the
    state of now in its place."""
    child = agent._o_child
    place = key_of(child)
    if PASSING in place or await node_store(node).get(STATE + place) is None:
        raise ActionRefused(
            f"{agent._o_text()} has no checkpoint yet, and goes on as it is; `observe checkpoint` saves one, and a restart "
            "`fresh` begins with `init`"
        )
    if child.agent is not agent or agent._o_exit is not None:
        raise ActionRefused(f"{agent._o_text()} has ended meanwhile")
    if agent._o_bonds is not None and agent._o_bonds.care is not None:
        agent._o_bonds.care.is_changed = False


def next_rung(node: Node, agent: Agent, reason: str = "") -> Result:
    """Treat the agent as if it had failed, so that the next rung of its ladder is taken."""
    plan = agent._o_child.spec.plan
    if plan is None or plan.ladder is None:
        raise ActionRefused(
            f"{agent._o_text()} has no ladder; its child spec says `ladder=Ladder(...)` to have one"
        )
    why = f"an operator asked for the next rung{': ' + reason if reason else ''}"
    seen = _RungOf(node, agent)
    node.instruments.add(seen)
    node.lifecycle.exit(agent, ExitReason("killed", why))
    return _climbed(node, agent, seen)


class _RungOf(Instrument):
    """Sees which rung is taken for one agent's end; what the child remembers of it is gone with the next message."""

    def __init__(self, node: Node, agent: Agent) -> None:
        self._agent = agent
        self.rung: asyncio.Future[Rung] = node.loop.create_future()

    def on_rung(self, child: Child, rung: Rung, failure: Failure) -> None:
        if failure.at_pid == self._agent._o_pid and not self.rung.done():
            self.rung.set_result(rung)


async def _climbed(node: Node, agent: Agent, seen: _RungOf) -> Acted:
    child = agent._o_child
    try:
        await node.lifecycle.wait_exit(agent)
        async with asyncio.timeout(RUNG_S):
            rung = await seen.rung
    except TimeoutError:
        # It was ending in order already, or its supervisor was: nobody takes a rung then.
        what = f"{agent._o_text()} has ended, and no rung of its ladder was taken"
        return Acted(False, what, agent._o_pid, {"rung": "", "old_pid": agent._o_pid})
    finally:
        node.instruments.remove(seen)
    until = time.monotonic() + RUNG_S
    while child.agent is None and not (child.past is not None and child.past.is_parked):
        supervisor = child.supervisor
        if time.monotonic() > until or supervisor is None or supervisor._o_exit is not None:
            break
        await asyncio.sleep(0.01)  # the rung may wait before it brings somebody back
    pid = child.agent._o_pid if child.agent is not None else 0
    facts = {"rung": str(rung), "old_pid": agent._o_pid}
    after = f"it came back as {pid}" if pid else "nobody is in its place yet"
    return Acted(True, f"{agent._o_text()}: rung {rung} was taken, {after}", pid or agent._o_pid, facts)


# -- The mailbox --------------------------------------------------------------------------------------------------------


def send(_node: Node, agent: Agent, message: Any) -> Acted:
    """Cast a message to the agent."""
    agent._o_ref().cast(message)
    facts = _queue(agent)
    return Acted(
        True, f"{agent._o_text()} has the message, as one of {facts['queued']} waiting", agent._o_pid, facts
    )


def drop_messages(node: Node, agent: Agent, chosen: Iterable[int]) -> Acted:
    """Make dead letters of the messages at these places, 0 for the oldest. Whoever waits for a reply is told."""
    places = sorted(set(chosen))
    taken = take_messages(agent, places)
    for message in node.lifecycle.taken_out(agent, places, taken, None):
        lay_down(agent, message)
    facts = _queue(agent) | {"taken": len(taken)}
    return Acted(
        True,
        f"dead letters now: {counted(len(taken), 'message')} of {agent._o_text()}; {facts['queued']} stay",
        agent._o_pid,
        facts,
    )


def move_messages(node: Node, agent: Agent, chosen: Iterable[int], to: Agent) -> Acted:
    """Put the messages at these places into another agent's mailbox, behind what waits there. Replies go to whoever asked.
    What cannot be put there, because it cannot be sent to another process, becomes a dead letter."""
    if to is agent:
        raise ActionRefused(f"{agent._o_text()} has them already")
    places = sorted(set(chosen))
    taken = take_messages(agent, places)
    for message in node.lifecycle.taken_out(agent, places, taken, to):
        hand_over(agent, message, to)
    facts = _queue(agent) | {"taken": len(taken), "to": to._o_pid}
    what = f"{counted(len(taken), 'message')} went from {agent._o_text()} to {to._o_text()}, {facts['queued']} stay"
    return Acted(True, what, agent._o_pid, facts)


def lay_down(agent: Agent, message: Any) -> None:
    """Make a dead letter of a message that was taken out of the agent's mailbox."""
    if type(message) is Call and not message.is_cast:
        message.fail(MessageDropped(agent._o_text()))
    else:
        agent._o_node.dead_letter(agent, message, why="dropped")


def hand_over(agent: Agent, message: Any, to: Agent) -> None:
    """Give a message that was taken out of the agent's mailbox to another."""
    try:
        to._o_deliver(message)
    except RuntimeFault as fault:
        if type(message) is Call and not message.is_cast:
            message.fail(fault)
        else:
            agent._o_node.dead_letter(agent, message, why="dropped")


def waiting_messages(agent: Agent) -> list[Any]:
    """All that wait, oldest first; requests as they are."""
    new = agent._o_mailbox
    return [*reversed(agent._o_backlog or ()), *(new if isinstance(new, list) else ())]


def take_messages(agent: Agent, chosen: Iterable[int]) -> list[Any]:
    """Take messages out of the mailbox, by their places, and return them oldest first."""
    places = set(chosen)
    backlog = agent._o_backlog
    old = len(backlog or ())
    taken = [message for place, message in enumerate(waiting_messages(agent)) if place in places]
    if backlog:  # in place: a slice in hand, or a frozen one, holds the list
        backlog[:] = [message for place, message in enumerate(backlog) if old - 1 - place not in places]
    new = agent._o_mailbox
    if isinstance(new, list):
        new[:] = [message for place, message in enumerate(new, start=old) if place not in places]
    if not backlog and not new and is_between(agent):
        agent._o_backlog = None
        agent._o_mailbox = None
        if agent._o_status == RUNNABLE:
            agent._o_status = IDLE  # its place in the run queue is passed over
    agent._o_scheduler.mark_dirty(agent)
    return taken


# -- The step and what surrounds it ------------------------------------------------------------------------------------


def cancel_activity(_node: Node, agent: Agent, activity: str = "", reason: str = "") -> Result:
    """End an activity where it waits: its block raises ActivityCancelled. The innermost one when none is named."""
    open_now = agent._o_activities or []
    found = [one for one in open_now if not activity or one.name == activity]
    if not found:
        names = ", ".join(one.name for one in open_now) or "none"
        raise ActionRefused(
            f"{agent._o_text()} is not in the activity {activity or 'that you mean'}; it is in: {names}"
        )
    one = found[-1]
    one.cancel(reason)

    async def cancelled() -> Acted:
        while one in (agent._o_activities or ()):  # noqa: ASYNC110  # as the next line says
            await asyncio.sleep(0.005)  # its end is told to instruments, and one is not worth it
        state = "has ended" if agent._o_status == EXITED else "goes on"
        return Acted(True, f"{one.name} of {agent._o_text()} was cancelled; the agent {state}", agent._o_pid)

    return cancelled()


def checkpoint(_node: Node, agent: Agent) -> Result:
    """Save the agent's state as it is now."""
    saving = agent.checkpoint()

    async def saved() -> Acted:
        await saving
        care = agent._o_bonds.care if agent._o_bonds is not None else None
        generation = care.generation if care is not None else 0
        what = f"the state of {agent._o_text()} is on record, generation {generation}"
        return Acted(True, what, agent._o_pid, {"generation": generation})

    return saved()


def reset_budget(_node: Node, agent: Agent) -> Acted:
    """Let what the agent (or the tree below a supervisor) may spend begin anew."""
    plan, bonds, governing = agent._o_child.spec.plan, agent._o_bonds, agent._o_node.governing
    counted = (
        governing.capping.forget(agent) if governing is not None and governing.capping is not None else None
    )
    has_budget = plan is not None and plan.budget is not None
    if not has_budget and counted is None:
        raise ActionRefused(f"{agent._o_text()} has no budget, and no cap counts what it spends by itself")
    parts = list(counted or ())
    if plan is not None and plan.budget is not None:
        parts.insert(0, budget.describe(plan.budget, bonds.spending if bonds is not None else None))
        budget.renew(agent, plan.budget)
    before = ", ".join(parts) or "nothing spent"
    return Acted(
        True,
        f"the budget of {agent._o_text()} begins anew; it was: {before}",
        agent._o_pid,
        {"before": before},
    )


# -- The node -----------------------------------------------------------------------------------------------------------


def set_log_level(_node: Node, logger: str, level: str) -> Acted:
    """Set the level of a logger of Python's `logging`; the root logger's name is empty."""
    if level not in LEVELS:
        raise ActionRefused(f"{level!r} is no level; there are {', '.join(LEVELS)}")
    one = logging.getLogger(logger)
    before = logging.getLevelName(one.level)
    one.setLevel(level)
    return Acted(
        True, f"the logger {logger or 'root'} was at {before} and is at {level}", 0, {"before": before}
    )


def collect_garbage(_node: Node, generation: int = 2) -> Acted:
    """Run Python's garbage collector, during which nothing else runs."""
    began = time.perf_counter()
    found = gc.collect(generation)
    took_s = time.perf_counter() - began
    return Acted(
        True, f"{found} unreachable objects were found in {took_s * 1000:.0f} ms", 0, {"found": found}
    )


ON_AGENTS: Final[dict[str, Callable[..., Result]]] = {
    "suspend": suspend,
    "resume": resume,
    "stop": stop,
    "restart": restart,
    "next_rung": next_rung,
    "send": send,
    "cancel_activity": cancel_activity,
    "checkpoint": checkpoint,
    "reset_budget": reset_budget,
}
"""Actions that take the node, an agent, and keywords."""

ON_NODE: Final[dict[str, Callable[..., Result]]] = {
    "log_level": set_log_level,
    "collect_garbage": collect_garbage,
}
"""Actions that take the node and keywords."""


def _queue(agent: Agent) -> dict[str, Any]:
    return {"queued": agent._o_queued()}


def _doing(agent: Agent) -> str:
    activities = agent._o_activities
    return f"in {activities[-1].name}" if activities else "a message is in hand"


def _not_root(node: Node, agent: Agent) -> None:
    if agent._o_child.supervisor is None:
        raise ActionRefused(
            f"{agent._o_text()} is the root supervisor of {node.name}: stop the service to end it"
        )
