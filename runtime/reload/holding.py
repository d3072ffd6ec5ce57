"""The agents that take no messages while their code is exchanged."""

from __future__ import annotations

from dataclasses import dataclass, field

from observe.runtime.agent import EXITED, SUSPENDED, Agent
from observe.runtime.bonds import bonds_of
from observe.runtime.clock import now_ns
from observe.runtime.holding import is_between
from observe.runtime.instrument import Instrument
from observe.runtime.supervisor import Supervisor


@dataclass(slots=True)
class Held(Instrument):
    """Holds agents of some classes; also those that are started meanwhile."""

    classes: tuple[type, ...]
    agents: dict[int, Agent] = field(default_factory=dict)
    ours: list[Agent] = field(default_factory=list)
    """Those that we have held: an operator may have suspended others."""
    waiting: list[Agent] = field(default_factory=list)
    """Those whose step is still under way."""

    def on_spawn(self, agent: Agent) -> None:
        self.take(agent)

    def take(self, agent: Agent) -> None:
        """Let an agent take no further message, if it is concerned."""
        if (
            agent._o_pid in self.agents
            or not isinstance(agent, self.classes)
            or isinstance(agent, Supervisor)
        ):
            return
        self.agents[agent._o_pid] = agent
        bonds = bonds_of(agent)
        if not bonds.is_held:
            bonds.is_held = True
            self.ours.append(agent)
        if is_between(agent):
            _suspend(agent)
        else:
            self.waiting.append(agent)

    def look(self) -> bool:
        """Whether all steps have ended."""
        self.waiting = [
            one for one in self.waiting if one._o_status != EXITED and not (is_between(one) and _suspend(one))
        ]
        return not self.waiting


def _suspend(agent: Agent) -> bool:
    if agent._o_status != SUSPENDED:
        agent._o_status = SUSPENDED
        agent._o_since_ns = now_ns()
        agent._o_scheduler.mark_dirty(agent)
    return True
