"""The agents that sessions call: the order desk and the document search, and the gates to the model."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from observe.examples.shop.orders import Shop
from observe.runtime import Agent, ExitReason


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A request to a tool agent. The same key again gets the same answer, and nothing is done twice."""

    key: str
    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


class ToolAgent(Agent):
    """Carries out tool calls on the shop's database, one at a time."""

    def init(self, database: Path) -> None:
        self.calls: Counter[str] = Counter()
        self.shop = Shop(database)

    def handle(self, message: ToolCall) -> dict[str, Any]:
        self.calls[message.tool] += 1
        return self.shop.do(message.key, message.tool, message.arguments)

    def terminate(self, reason: ExitReason) -> None:
        self.shop.close()


class OrderDesk(ToolAgent):
    """Looks orders up and opens returns."""


class DocumentSearch(ToolAgent):
    """Searches the handbook."""


@dataclass(frozen=True, slots=True)
class MayI:
    """Asks a gate whether the model may be asked. The answer is how many seconds to wait; 0.0 is yes."""


@dataclass(frozen=True, slots=True)
class Told:
    """Tells a gate how it went: `ok`, or the kind of fault."""

    outcome: str
    retry_after_s: float = 0.0


class ModelGate(Agent):
    """One of the ways to the model. Closes for as long as the model's Retry-After says, for everybody behind it."""

    def init(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.closed_until = 0.0
        self.turned_away = 0

    def handle(self, message: MayI | Told) -> float:
        now = time.monotonic()
        match message:
            case Told(outcome, retry_after_s):
                self.outcomes[outcome] += 1
                self.closed_until = max(self.closed_until, now + retry_after_s)
            case MayI():
                wait_s = self.closed_until - now
                if wait_s > 0:
                    self.turned_away += 1
                    return wait_s
        return 0.0
