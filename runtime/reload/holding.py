"""The agents that take no messages while their code is exchanged."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from observe.runtime.agent import EXITED, Agent
from observe.runtime.clock import now_us
from observe.runtime.holding import is_between, pause
from observe.runtime.instrument import Instrument
from observe.runtime.reload.concerned import Concerned
from observe.runtime.stacks import stack_of


@dataclass(slots=True)
class Held(Instrument):
    """Holds the agents that a reload concerns; also those that are started meanwhile."""

    concerned: Concerned
    agents: dict[int, Agent] = field(default_factory=dict)
    waiting: list[Agent] = field(default_factory=list)
    """Those whose step is still under way."""

    def on_spawn(self, agent: Agent) -> None:
        self.take(agent)

    def take(self, agent: Agent) -> None:
        """Let an agent take no further message, if it is concerned."""
        if agent._o_pid in self.agents or not self.concerned.has(agent):
            return
        self.agents[agent._o_pid] = agent
        if not pause(agent):
            self.waiting.append(agent)

    def look(self) -> bool:
        """Whether all steps have ended."""
        self.waiting = [
            one for one in self.waiting if one._o_status != EXITED and not (is_between(one) and pause(one))
        ]
        return not self.waiting


def doing(agent: Agent) -> str:
    """What the step of an agent is at that does not end."""
    activities, stack = agent._o_activities, stack_of(agent)
    parts = []
    if activities:
        since_s = (now_us() - activities[-1].since_us) / 1e6
        parts.append(f"it is in {activities[-1].name} for {since_s:.1f} s")
    own = getattr(sys.modules.get(type(agent).__module__), "__file__", None)
    frames = [one for one in stack.frames if one.file == own] or stack.frames
    if frames:
        parts.append(f"at {Path(frames[-1].file).name}, line {frames[-1].line}, in {frames[-1].function}")
    if stack.waiting_on:
        parts.append(f"waiting for {stack.waiting_on}")
    return ", ".join(parts) or "a message is in hand"
