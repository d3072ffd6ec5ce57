"""What agents have spent of caps: counters, and what goes from process to process. `observe.runtime.capping` keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from observe.runtime.caps import COUNTED, Cap
from observe.runtime.taps import Tap

if TYPE_CHECKING:
    from observe.runtime.agent import Agent


class Charge(NamedTuple):
    """What was spent of a cap, or (between processes) has been so far."""

    policy: str
    key: str
    window: int
    tool_calls: int
    tokens: int
    cost: float
    pid: int = 0
    """Of who has spent it; 0 where that does not matter."""


class Spent:
    """The counters of one cap and key."""

    __slots__ = ("cost", "tokens", "told", "tool_calls", "window")

    def __init__(self, window: int = 0) -> None:
        self.window = window
        """Number of the time span in which this was spent, where counters begin anew."""
        self.tool_calls = 0
        self.tokens = 0
        self.cost = 0.0
        self.told: set[tuple[str, bool]] = set()
        """Limits of which people know: that they are nearly used up, and that they are."""

    def add(self, tool_calls: int, tokens: int, cost: float) -> None:
        """More was spent."""
        self.tool_calls += tool_calls
        self.tokens += tokens
        self.cost += cost

    def used(self, limit: str) -> float:
        """How much was spent of what this limit is about."""
        return float(getattr(self, limit))


class Place:
    """What is counted for one agent by itself, and which caps are about it."""

    __slots__ = ("caps", "own", "tapped")

    def __init__(self, caps: tuple[Cap, ...]) -> None:
        self.caps = caps
        self.own: dict[str, Spent] = {cap.policy: Spent() for cap in caps if not cap.is_shared}
        self.tapped: StepListener | None = None


class StepListener(Tap):
    """Hears when an agent begins with another message."""

    def __init__(self, place: Place, policies: Sequence[str]) -> None:
        self._place = place
        self._policies = policies

    def on_begin(self, agent: Agent, message: Any) -> None:
        """What is counted per step begins anew."""
        for policy in self._policies:
            spent = self._place.own[policy]
            if spent.told or any(getattr(spent, limit) for limit in COUNTED):
                self._place.own[policy] = Spent()
