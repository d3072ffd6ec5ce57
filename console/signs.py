"""The vital signs and their recent past, folded from what the node tells. Pure."""

from dataclasses import dataclass, field
from typing import Final

SIGNS: Final = (
    "agents",
    "rate",
    "run_queue",
    "use",
    "lag_s",
    "memory",
    "crashes_min",
    "restarts_min",
    "tokens_min",
    "cost_min",
    "probe_cost",
    "probe_cpu",
)
"""Vital signs that have a history on the screen."""

HISTORY: Final = 600
"""Values kept of each sign, one a second."""


@dataclass(slots=True)
class Signs:
    """The vital signs and their recent past."""

    now: dict[str, float] = field(default_factory=dict)
    at: float = 0.0
    """When they were gathered, by the node's clock; 0: none have come."""

    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SIGNS})

    def fold(
        self, at: float, values: dict[str, float], history: dict[str, list[float]] | None = None
    ) -> None:
        """Take the newest values. A history replaces ours; without one, ours grows by a value a second."""
        if history:
            for name in SIGNS:
                self.history[name] = list(history.get(name, ()))[-HISTORY:]
        for name in SIGNS:
            past = self.history[name]
            value = values.get(name, 0.0)
            if past and at - self.at < 0.9:
                past[-1] = value
            elif not history or not past:
                past.append(value)
                del past[:-HISTORY]
        self.now, self.at = dict(values), at

    def seconds(self) -> int:
        """How many seconds of past there are: below ten it is too early to say much."""
        return len(self.history["agents"])
