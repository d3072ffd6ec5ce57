"""Half a step, put aside: what is kept of it, and the greenlets in which steps run on a node that preempts."""

from __future__ import annotations

import sys
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.clock import now_ns
from observe.runtime.errors import PreemptionUnavailable

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.exits import ExitReason
    from observe.runtime.interrupt import Interruption
    from observe.runtime.step import Host, Step

DONE: Final = object()
RAISED: Final = object()
FROZEN: Final = object()
"""How a worker comes back to its hub: with a result, an error, or the agent whose step is put aside."""

COME: Final = object()
"""With this a worker is switched to, to begin or to go on. Whoever switches to it with something else means somebody else."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """How a node preempts: `Node(preempt=Preemption(quantum_s=0.001))`. `preempt=True` takes the defaults."""

    quantum_s: float = 0.0015
    """How old a step may get before it is frozen, in seconds; up to twice that when it begins just after a tick.
    Siblings are late by about as much. A slice of short messages takes 1 ms and should fit in."""

    share: float = 0.1
    """The part of the time that all frozen steps together get while other agents are runnable. When nobody is, they
    get all of it."""

    plain: frozenset[str] = frozenset()
    """Top-level names of installed packages that compute and keep no state that agents share: steps may be frozen
    inside them. (Your own code, and the agent's own package wherever it is installed, need not be named.)"""


class Frozen:
    """A step that has been frozen, from the first time until it is done or given up."""

    __slots__ = (
        "agent",
        "future",
        "host",
        "is_draining",
        "is_parked",
        "is_task",
        "killing",
        "outcome",
        "ran_ns",
        "reason",
        "since_ns",
        "step",
        "thrown",
        "turns",
        "worker",
    )

    def __init__(self, agent: Agent, worker: Worker, step: Step | None, ran_ns: int) -> None:
        self.agent = agent
        self.worker = worker
        self.step = step
        """The hosted step that this is; None for a step inside a drain."""
        self.is_draining = step is None
        self.is_task = agent._o_pid < 0
        """It is a plain task's, and `agent` only stands for it (preemptible.py)."""
        self.host: Host | None = None
        """The spare task that stands for a step inside a drain; the scheduler's while the step runs."""
        self.since_ns = now_ns() - ran_ns
        """When the step was first seen."""
        self.ran_ns = ran_ns
        """How long it has computed since."""
        self.is_parked = True
        """It waits for its turn; else it runs at this moment."""
        self.turns = 0
        """How often it has been resumed."""
        self.reason: ExitReason | None = None
        """Why it is to end, if it is."""
        self.killing: Interruption | None = None
        self.future: Future[None] | None = None
        """What the task of a hosted step awaits meanwhile."""
        self.outcome: tuple[Any, Any] | None = None
        self.thrown: BaseException | None = None
        """What was thrown into the task meanwhile, for the step's next wait."""


class Worker:
    """A greenlet that runs one function after another, and whoever switched to it last."""

    __slots__ = ("_runs", "body", "frozen", "glet", "hub", "seen_ns")

    def __init__(self, greenlet: Any, context: Any, runs: Callable[[], Any]) -> None:
        """`runs` tells the greenlet in which code runs that is the scheduler's or a step's."""
        self._runs = runs
        self.glet = greenlet(self._main)
        self.glet.gr_context = context
        self.hub: Any = None
        self.body: Agent | None = None
        """Whose step runs in it, when it is a plain task's: agents are the scheduler's `current`."""
        self.frozen: Frozen | None = None
        self.seen_ns = 0
        """When a tick first saw the slice that it runs."""

    def freeze(self, agent: Agent | None) -> None:
        """Called in the greenlet: put it aside, in the middle of a step of `agent`. Returns when it is resumed."""
        self._leave((FROZEN, agent))

    def dismiss(self, hub: Any) -> None:
        """Let an idle worker end."""
        self.glet.parent = hub
        self.glet.switch(COME, None, ())

    def _leave(self, told: tuple[Any, Any]) -> Any:
        """Switch back to the hub; returns what comes with `COME`."""
        return until_ours(self.hub.switch, (told,), _has_come, self._runs)

    def _main(self, _come: object, function: Callable[..., Any] | None, args: tuple[Any, ...]) -> None:
        while function is not None:
            try:
                outcome = DONE, function(*args)
            except BaseException as error:  # what comes out of a drain is the hub's to raise
                outcome = RAISED, error
            _, function, args = self._leave(outcome)
            outcome = None  # type: ignore[assignment]  # an error would hold its frames


def _has_come(got: Any) -> bool:
    return got is COME or (type(got) is tuple and bool(got) and got[0] is COME)


def has_left(got: Any) -> bool:
    """Whether this is what a worker tells its hub."""
    return type(got) is tuple and len(got) == 2 and (got[0] is DONE or got[0] is FROZEN or got[0] is RAISED)


def until_ours(
    switch: Callable[..., Any], args: tuple[Any, ...], is_ours: Callable[[Any], bool], runs: Callable[[], Any]
) -> Any:
    """Switch away and come back with what is ours. Everything else is for the greenlet in which a step runs.

    A step may have greenlets of its own below it, and await while they are put aside, as SQLAlchemy's asyncio
    extension does. They come back to their parent: the greenlet in which that step ran then, which is now one of
    us, idle or frozen. Without workers that would be the one in which it runs now, so that is where they are sent.
    """
    while True:
        try:
            got = switch(*args)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit) or type(error).__name__ == "GreenletExit":
                raise  # the program ends, or we are let go of
            switch, args = runs().throw, (error,)
            continue
        if is_ours(got):
            return got
        switch, args = runs().switch, (got,)


def import_greenlet() -> Any:
    try:
        import greenlet
    except ImportError:
        raise PreemptionUnavailable(
            "preempt=True needs greenlet, which is not installed: pip install greenlet"
        ) from None
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or sys.version_info >= (3, 14):
        raise PreemptionUnavailable(
            "preempt=True works on CPython 3.11 to 3.13 with the interpreter lock; this is "
            f"{sys.version.split()[0]}"
        )
    return greenlet
