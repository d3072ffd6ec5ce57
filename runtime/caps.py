"""Caps: what may be spent by policy, whoever spends it (docs/policies.md). What is declared; `observe.runtime.capping` keeps to it.

    Node("shop", policies=[
        Cap("daily", per="tenant", cost=20.0, every_s=86_400),
        Cap("one-answer", per="step", agents=("Session",), cost=0.25, tool_calls=10),
    ])

A `Budget` belongs to one child of a supervisor, and what is beyond it ends an agent. A cap belongs to the node's policies: it is about
classes and names, counts across agents and restarts, can be changed while the node runs, and denies what would go beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

from observe.runtime.policies import CONTAIN_LEVELS, Level

CapEffect = Literal["report", "deny", "contain"]
CAP_EFFECTS: Final[tuple[CapEffect, ...]] = get_args(CapEffect)

OWN: Final = ("agent", "step")
"""What is counted for each agent by itself."""

COUNTED: Final = ("tool_calls", "tokens", "cost")
"""The limits of a cap, by their names in it."""

WARN_AT: Final = 0.8


@dataclass(frozen=True, slots=True)
class Cap:
    """How much may be spent, of what, by whom.

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    policy: str
    """Its name, as it stands in errors and in the audit log."""
    per: str = "agent"
    """For whom it is counted: `agent` (a place in the tree, whoever is restarted into it), `step` (one message and all that is done for
    it), `node` (all agents that are meant together), or the name of an attribute by which runs, tenants or the like are told apart: of the
    activity, else of the agent (`self.tenant`)."""
    agents: Sequence[str] = ("*",)
    """Patterns of the agent's name or class; one must fit."""
    tool_calls: int | None = None
    """Activities whose names fit `of`."""
    tokens: int | None = None
    """Into models and out of them, as `Activity.usage` reports."""
    cost: float | None = None
    """Money, in whatever currency `Activity.usage` reports."""
    of: Sequence[str] = ("tool:*",)
    """Patterns of the activities that `tool_calls` counts."""
    every_s: float | None = None
    """Counters begin anew after so many seconds, in step with Unix time: 86,400 is a day of UTC. None: never."""
    effect: CapEffect = "deny"
    """When it is used up: what would begin is denied; or the agent is contained; or it is told, and no more."""
    level: Level | None = None
    """Of `contain`: how far."""
    warn_at: float = WARN_AT
    """The share of a limit from which on it is told."""
    warn_level: Level | None = None
    """How far who has spent it is contained from there on, such as `monitored`; None: not at all."""
    tools: Sequence[str] | None = None
    """Of a level `restricted`: what may still be begun; what the agent's class says if left out. So it is with `recipients`."""
    recipients: Sequence[str] | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        name = self.policy
        if not name or self.effect not in CAP_EFFECTS:
            raise ValueError(
                f"a cap has a policy's name and reports, denies or contains, not {name!r} and {self.effect!r}"
            )
        limits = [getattr(self, one) for one in COUNTED]
        given = [one for one in limits if one is not None]
        if not given or any(not one > 0 or not math.isfinite(one) for one in given):
            raise ValueError(
                f"{name}: a cap has at least one of {', '.join(COUNTED)}, and each of them is above 0"
            )
        if not self.per:
            raise ValueError(f"{name}: per is agent, step, node, or the name of an attribute")
        if any(isinstance(one, str) for one in (self.agents, self.of, self.tools, self.recipients)):
            raise ValueError(f"{name}: agents, of, tools and recipients are lists of texts")
        if self.every_s is not None and not (self.every_s >= 1 and math.isfinite(self.every_s)):
            raise ValueError(f"{name}: every_s is at least one second, not {self.every_s!r}")
        if self.every_s is not None and self.per == "step":
            raise ValueError(
                f"{name}: a step's counters begin with the step, so every_s makes no sense there"
            )
        if not 0 < self.warn_at < 1:
            raise ValueError(
                f"{name}: warn_at is a share between 0 and 1, such as {WARN_AT}, not {self.warn_at!r}"
            )
        if (self.effect == "contain") != (self.level is not None) or self.level not in (
            None,
            *CONTAIN_LEVELS,
        ):
            raise ValueError(
                f"{name}: a level, one of {', '.join(CONTAIN_LEVELS)}, belongs to `contain`, and to nothing else"
            )
        if self.warn_level not in (None, *CONTAIN_LEVELS):
            raise ValueError(
                f"{name}: warn_level is one of {', '.join(CONTAIN_LEVELS)}, not {self.warn_level!r}"
            )
        if "restricted" not in (self.level, self.warn_level) and not (self.tools is self.recipients is None):
            raise ValueError(f"{name}: tools and recipients belong to the level restricted")

    @property
    def is_shared(self) -> bool:
        """Whether several agents may spend of the same."""
        return self.per not in OWN

    @property
    def limits(self) -> tuple[tuple[str, float], ...]:
        """Those that bind, by name."""
        found = ((one, getattr(self, one)) for one in COUNTED)
        return tuple((name, float(value)) for name, value in found if value is not None)

    def is_about(self, whose: Sequence[str]) -> bool:
        """Whether it is about an agent with one of these names."""
        return any(fnmatchcase(one, pattern) for one in whose for pattern in self.agents)

    def counts(self, activity: str) -> bool:
        """Whether an activity of this name is one of its tool calls."""
        return any(fnmatchcase(activity, pattern) for pattern in self.of)
