"""The levels of containment, and what was ordered for a place: a fence. `observe.runtime.containment` keeps to them."""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from observe.runtime.clock import wall_s
from observe.runtime.taps import Handled, Tap

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.governing import Governing

Level = Literal["none", "monitored", "restricted", "isolated", "suspended", "killed"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}

MONITORED, RESTRICTED, ISOLATED = (
    RANK["monitored"],
    RANK["restricted"],
    RANK["isolated"],
)


@dataclass(frozen=True, slots=True)
class Fence:
    """What was ordered for one place."""

    level: Level
    subtree: bool = False
    """Also for all below, now and later."""
    tools: tuple[str, ...] = ()
    """Of `restricted`: patterns (`tool:search`, `model:*`) of activities that may begin."""
    recipients: tuple[str, ...] = ()
    """Of `restricted`: patterns of names or classes of agents to which messages may be sent."""
    reason: str = ""
    by: str = ""
    """Who has ordered it: `operator alice`, `budget tokens`, `finding repeated_call`, `policy refunds`."""
    two_person: bool = False
    """Lowering it takes a second person."""
    since: float = field(default_factory=wall_s)
    """Unix time."""


@dataclass(slots=True)
class Fenced:
    """One agent that is fenced in."""

    level: Level
    fences: tuple[Fence, ...]
    """All that hold for it, the one that has decided the level first."""
    was_held: bool = False
    """An operator had suspended it before: it stays so."""
    watcher: Watcher | None = None
    is_far: bool = False
    """It is in a worker process, which keeps its level."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an order has come to."""

    done: bool
    """False: a second person is needed, by `until`."""
    before: Level
    level: Level
    agents: int
    """Agents whose level is another now."""
    cancelled: int = 0
    """Activities that were cancelled, those in worker processes left out."""
    asked: tuple[Future[int], ...] = ()
    """For each agent in a worker process: how many activities its worker has cancelled, once it keeps the level."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Somebody wants to lower a level, and needs a second person."""

    fence: Fence
    """The new one."""
    who: str
    until_ns: int


class Watcher(Tap):
    """Tells all that a monitored agent sends and handles."""

    def __init__(self, governing: Governing) -> None:
        self._governing = governing

    def on_send(self, agent: Agent, target: Agent, message: object, is_call: bool) -> None:
        """It sends something."""
        self._governing.report(agent, "send", target._o_text(), "", type(message).__name__, "")

    def on_end(self, agent: Agent, handled: Handled) -> None:
        """It has handled a message."""
        error = handled.error
        why = "" if error is None else f"{type(error).__name__}: {error}"[:200]
        self._governing.report(agent, "handled", type(handled.message).__name__, "", why, "")
