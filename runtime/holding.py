"""Suspended agents: they take no further message until somebody resumes them.

There are two reasons, and each stands by itself: an operator, a containment or a budget *holds* an agent, and a reload *pauses*
it. It goes on when neither is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from observe.runtime.agent import EXITED, IDLE, RUNNABLE, SUSPENDED, Agent
from observe.runtime.bonds import bonds_of
from observe.runtime.clock import now_ns
from observe.runtime.mailbox import BoundedMailbox

if TYPE_CHECKING:
    from observe.runtime.supervisor import Supervisor


def hold(agent: Agent) -> bool:
    """Let the agent take no further message. False while a step of it is under way, which goes on to its end first."""
    bonds_of(agent).is_held = True
    return _suspend(agent)


def pause(agent: Agent) -> bool:
    """The same while its code is exchanged, whoever else holds it or lets it go meanwhile."""
    bonds_of(agent).is_paused = True
    return _suspend(agent)


def _suspend(agent: Agent) -> bool:
    if agent._o_status == SUSPENDED:
        return True
    if not is_between(agent):
        _put_back(agent)
        return False
    agent._o_status = SUSPENDED  # what stands of it in the run queue is passed over
    agent._o_since_ns = now_ns()
    agent._o_scheduler.mark_dirty(agent)
    return True


def _put_back(agent: Agent) -> None:
    """A slice takes several messages in hand: those behind the step that runs go back into the mailbox, in front."""
    backlog = agent._o_backlog
    if not backlog:
        return
    waiting = [*reversed(backlog)]
    backlog.clear()  # in place: the slice sees that nothing is left
    if agent._o_mailbox is None:
        agent._o_mailbox = BoundedMailbox(agent, waiting.pop(0)) if agent.mailbox_limit is not None else []
        list.extend(agent._o_mailbox, waiting)
    else:
        agent._o_mailbox[:0] = waiting


def is_between(agent: Agent) -> bool:
    """No step of the agent is under way: it is between two messages."""
    preempter = agent._o_scheduler.preempter
    if agent._o_step is not None or (preempter is not None and preempter.holds(agent) is not None):
        return False
    return agent._o_status in (IDLE, RUNNABLE, SUSPENDED)


def release(agent: Agent) -> None:
    """Let it go on with its mailbox."""
    if agent._o_bonds is not None:
        agent._o_bonds.is_held = False
        _go_on(agent)


def unpause(agent: Agent) -> None:
    """Its code is exchanged, or was not."""
    if agent._o_bonds is not None:
        agent._o_bonds.is_paused = False
        _go_on(agent)


def _go_on(agent: Agent) -> None:
    bonds = agent._o_bonds
    if bonds is None or bonds.is_held or bonds.is_paused:
        return
    if agent._o_status == SUSPENDED:
        agent._o_since_ns = now_ns()
        agent._o_status = IDLE
        if agent._o_backlog or agent._o_mailbox:
            agent._o_scheduler.schedule(agent)
        agent._o_scheduler.mark_dirty(agent)


def hold_all(owner: Agent) -> None:
    """The same for an agent, or for all agents below a supervisor that are in this process. Supervisors go on."""
    for agent in _below(owner) if owner._o_system else (owner,):
        if agent._o_status != EXITED and agent._o_away is None:
            hold(agent)


def _below(owner: Agent) -> Iterator[Agent]:
    supervisor: Supervisor = owner  # type: ignore[assignment]  # who is of the system is one
    for child in list(supervisor._o_children.values()):
        if child.agent is not None:
            if child.agent._o_system:
                yield from _below(child.agent)
            else:
                yield child.agent
