"""How often something may be done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Rate:
    """A token bucket that holds a second's worth."""

    rate: float
    tokens: float = 0.0
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tokens = max(1.0, self.rate)

    def take(self) -> bool:
        """Whether it may be done now; then it counts."""
        now = time.monotonic()
        self.tokens = min(max(1.0, self.rate), self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def next_at(self) -> float:
        """When it may be done again, after `take` has said no."""
        return self.at + (1.0 - self.tokens) / self.rate
