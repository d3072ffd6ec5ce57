"""Restarts that learn: a ladder in the child spec, of which each further failure takes the next rung.

    ChildSpec(Session, name="s1", restore=True, ladder=Ladder(
        Retry(times=2, backoff=Backoff(first_s=1.0)),   # the same again, after a while
        Restore(),                                      # from the last checkpoint
        ChangeApproach(),                               # the agent's on_retry() is told what went wrong
        Park(),                                         # the message waits for a human, the agent goes on
    ))

A ladder takes the place of the supervisor's intensity for the failures of its child: it has an end of its own, which is
`Escalate` unless the last rung is `Park`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.clock import now_ns
from observe.runtime.errors import BadChildSpec
from observe.runtime.exits import ExitReason

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.children import Backoff, Child
    from observe.runtime.supervisor import Supervisor

logger = logging.getLogger("observe.runtime")

RESET_S: Final = 300.0
"""After so long without a failure the next one takes the first rung again, even if no message was handled meanwhile."""


@dataclass(frozen=True)
class Rung:
    """What is done about one failure. Use a subclass."""

    times: int = 1
    """How many failures in a row take this rung before the next one is taken."""
    backoff: Backoff | None = None
    """Waits before the child comes back; at once if left out."""

    def __post_init__(self) -> None:
        if type(self.times) is not int or self.times < 1:
            raise BadChildSpec(f"times must be a whole number from 1, not {self.times!r}")

    def __str__(self) -> str:
        name = type(self).__name__
        return f"{name} x{self.times}" if self.times > 1 else name


@dataclass(frozen=True)
class Retry(Rung):
    """Start the child anew, as its spec says, and hand it the message again."""


@dataclass(frozen=True)
class Restore(Rung):
    """Bring the child back from its last checkpoint, and hand it the message again. So do the rungs that follow."""


@dataclass(frozen=True)
class ChangeApproach(Rung):
    """As the rung before, but the agent's `on_retry(failure)` runs before the message is handled again."""


@dataclass(frozen=True)
class _Last(Rung):
    def __post_init__(self) -> None:
        if self.times != 1 or self.backoff is not None:
            raise BadChildSpec(f"{type(self).__name__} takes neither times nor backoff")


@dataclass(frozen=True)
class Park(_Last):
    """Put the message aside for a human (`node.parked`) and bring the child back without it.

    When there is no message (its `init` failed, say), the child's place stays empty until `restart_child`.
    """


@dataclass(frozen=True)
class Escalate(_Last):
    """The supervisor ends, as if its intensity were reached; the one above decides."""


class Ladder:
    """Rungs, the first for the first failure.

    Args:
        rungs: at least one. `Park` and `Escalate` can only be the last.
        reset_s: begin at the first rung again when the last failure is so long ago. It also begins anew as soon as a message has been handled.

    Raises:
        BadChildSpec: there are no rungs, or one that would never be reached.
    """

    __slots__ = ("_steps", "reset_s", "rungs")

    def __init__(self, *rungs: Rung, reset_s: float = RESET_S) -> None:
        if not rungs or not all(isinstance(rung, Rung) and type(rung) is not Rung for rung in rungs):
            raise BadChildSpec(
                f"a ladder is made of rungs such as Retry() and Park(), not {rungs!r}\n"
                "  wrong: Ladder([Retry, Park])\n"
                "  right: Ladder(Retry(), Park())"
            )
        for rung in rungs[:-1]:
            if isinstance(rung, _Last):
                raise BadChildSpec(
                    f"no rung after {rung} is ever reached: {type(rung).__name__} must be the last"
                )
        if not reset_s > 0:
            raise BadChildSpec(f"reset_s must be more than 0 seconds, not {reset_s!r}")
        self.rungs = rungs
        self.reset_s = reset_s
        self._steps = [(rung, nth + 1) for rung in rungs for nth in range(rung.times)]

    def rung_after(self, failures: int) -> tuple[Rung, int]:
        """The rung for the so-many-th failure in a row, from 1, and how often it has then been taken."""
        if failures <= len(self._steps):
            return self._steps[failures - 1]
        last = self.rungs[-1]
        return (last, failures - len(self._steps) + 1) if isinstance(last, _Last) else (Escalate(), 1)

    def __str__(self) -> str:
        return " > ".join(str(rung) for rung in self.rungs)

    def __repr__(self) -> str:
        return f"Ladder({', '.join(map(repr, self.rungs))}, reset_s={self.reset_s:g})"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, for the agent that is to try again."""

    reason: ExitReason
    """Why the predecessor ended."""
    traceback: str
    """Where, formatted; empty when it did not end by an exception."""
    message: Any
    """The message that was in hand; None when `has_message` is false."""
    has_message: bool
    attempt: int
    """Failures in a row, from 1: the second attempt follows failure 1."""
    at_pid: int
    """The predecessor's pid, under which logs and traces have it."""


def climb(supervisor: Supervisor, child: Child, old: Agent, reason: ExitReason, named: Rung | None) -> None:
    """A child with a ladder (or with a budget that names a rung) has failed: take the next rung."""
    plan = child.spec.plan
    assert plan is not None
    past = child.past_of()
    ladder = plan.ladder
    now = now_ns()
    if ladder is not None and past.failures and now - past.failed_ns > ladder.reset_s * 1e9:
        past.begin_anew()
    past.failures += 1
    past.failed_ns = now
    if named is not None:
        rung, nth = named, past.failures
    else:
        assert ladder is not None
        rung, nth = ladder.rung_after(past.failures)
    crash = child.last_crash
    past.rung = rung
    past.failure = failure = Failure(
        reason,
        crash.traceback if crash is not None and crash.pid == old._o_pid else "",
        past.message,
        past.has_message,
        past.failures,
        old._o_pid,
    )
    node = old._o_node
    for hook in node.instruments.on_rung:
        hook(child, rung, failure)
    if isinstance(rung, Escalate):
        logger.error(
            "%s: child %r has reached the end of its ladder: %s", supervisor._o_text(), child.id, reason
        )
        why = ExitReason("shutdown", f"child {child.id!r} escalated: {reason}")
        node.lifecycle.exit(supervisor, why)
        return
    if isinstance(rung, Park):
        if not past.has_message:
            past.is_parked = True
            logger.error("%s: the place of child %r stays empty: %s", supervisor._o_text(), child.id, reason)
            return
        node.parked.park(child, past.take_message(), str(reason))
        past.begin_anew()
        past.rung = rung
    past.restores = past.restores or isinstance(rung, Restore)
    past.is_told = isinstance(rung, ChangeApproach)
    supervisor._o_bring_back(
        child, old, reason, rung.backoff.wait_s(nth) if rung.backoff is not None else 0.0
    )
