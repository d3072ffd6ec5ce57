"""Which findings stand: a condition speaks only when it has lasted, and is cleared when it has been over for a while.

Beginning and end are told as events, for one check at most once in `QUIET_S`; what stands can be asked for at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from observe.probe.condition import Check, Condition
from observe.probe.diagnosis import checks
from observe.probe.picture import Picture
from observe.probe.verbs_findings import StandingFinding, StandingFindings

logger = logging.getLogger("observe.probe")

OVER_S: Final = 3.0
"""A condition that has not been seen for so long is over. One that flickers is one finding."""

QUIET_S: Final = 10.0
"""Beginnings of one check's findings are told at most so often."""

FOLLOWS_S: Final = 5.0
"""What began no longer than this before what is to be its cause may follow from it: not all is seen at once."""

CAUSES: Final[dict[str, tuple[str, ...]]] = {
    "loop_lag": ("blocks", "holds_scheduler", "long_step"),
    "mailbox_grows": ("blocks", "holds_scheduler", "waiting_cycle", "stuck", "restart_loop", "loop_lag"),
    "stuck": ("blocks", "holds_scheduler", "waiting_cycle"),
    "restart_loop": ("one_cause",),
    "dead_letters": ("restart_loop", "one_cause"),
    "budget_nearly_spent": ("same_call",),
    "leaks_memory": ("leaks_tasks", "mailbox_grows"),
}
"""For each check which others may be the cause of what it sees, the likeliest first."""

OF_THE_SAME_AGENTS: Final = frozenset(
    {
        ("mailbox_grows", "waiting_cycle"), ("mailbox_grows", "stuck"), ("mailbox_grows", "restart_loop"),
        ("stuck", "waiting_cycle"), ("budget_nearly_spent", "same_call"),
    }
)  # fmt: skip
"""Pairs of an effect and a cause that must be about the same agents; where only some are, it is told of how many."""

HELD: Final = ("blocks", "holds_scheduler")

MOST: Final = 0.5
"""Who waits is stuck because the scheduler is held only when that has lasted for this share of the waiting."""


@dataclass(slots=True)
class Seen:
    """A condition that one check sees, and since when."""

    condition: Condition
    began: float
    """Monotonic, as is `last`."""
    last: float
    since: float
    stands: bool = False
    is_told: bool = False


class Standing:
    """All findings of one node that the probe makes. `allowed` names checks that are not to speak."""

    def __init__(self, *, allowed: Collection[str] = (), checks: Sequence[Check] = ()) -> None:
        self._allowed = allowed
        self._made_of = checks
        self.begin_again()

    def begin_again(self) -> None:
        """Forget all that was seen: what is looked at next is not what follows from it."""
        self._checks = [check for check in self._made_of or _all() if check.name not in self._allowed]
        self._seen: dict[str, Seen] = {}
        self._told_at: dict[str, float] = {}
        self._begun = 0
        self._untold = 0

    def look(self, picture: Picture, now: float, at: float) -> None:
        """Ask every check. Call it about once a second, with monotonic `now` and the Unix time."""
        for check in list(self._checks):
            try:
                condition = check.look(picture, now)
            except Exception:  # a fault in one check must not end the probe, nor the other checks
                logger.exception("the check %s failed and is left out from now on", check.name)
                self._checks.remove(check)
                condition = None
            self._judge(check, condition, picture, now, at)

    def statement(self) -> dict[str, Any]:
        """The result of `findings`."""
        standing = [
            StandingFinding(
                check=check.name, text=seen.condition.text, advice=seen.condition.advice or check.advice, count=seen.condition.count,
                since=seen.since, pid=seen.condition.pid, filter=seen.condition.filter, cause=self._cause(check.name, seen),
                evidence=seen.condition.evidence,
            )
            for check in self._checks
            if (seen := self._seen.get(check.name)) is not None and seen.stands
        ]  # fmt: skip
        standing.sort(key=lambda finding: finding.since)
        return StandingFindings(findings=standing, begun=self._begun, untold=self._untold).to_wire()

    def condition(self, check: str) -> Condition | None:
        """What a check has found, if that stands."""
        seen = self._seen.get(check)
        return seen.condition if seen is not None and seen.stands else None

    def counts(self) -> dict[str, int]:
        """For each check that stands how many agents it is about; 0 for the others."""
        return {
            check.name: seen.condition.count if (seen := self._seen.get(check.name)) and seen.stands else 0
            for check in self._checks
        }

    def _cause(self, name: str, seen: Seen) -> str:
        """The failure that led to this one: the check's own word, or another finding that stands."""
        if seen.condition.cause:
            return seen.condition.cause
        for other in CAUSES.get(name, ()):
            cause = self._seen.get(other)
            if cause is None or not cause.stands or cause.began > seen.began + FOLLOWS_S:
                continue
            effect, of = seen.condition, ""
            if (name, other) in OF_THE_SAME_AGENTS:
                both = len(effect.pids & cause.condition.pids)
                if not both:
                    continue
                of = f"of {both:,} of {effect.count:,}: " if both < len(effect.pids) else ""
            if effect.about and not effect.about & cause.condition.about:
                continue
            waited_s = effect.evidence.get("seconds", 0.0) if name == "stuck" and other in HELD else 0.0
            if seen.last - cause.began < MOST * waited_s:
                continue
            return f"{of}{other}: {cause.condition.cause or cause.condition.text}"
        return ""

    def _judge(
        self, check: Check, condition: Condition | None, picture: Picture, now: float, at: float
    ) -> None:
        seen = self._seen.get(check.name)
        if condition is None:
            if seen is not None and (not seen.stands or now - seen.last >= OVER_S):
                del self._seen[check.name]
                if seen.is_told:
                    text = f"over: {seen.condition.text}"
                    picture.event("finding", at, text, pid=seen.condition.pid, reason=check.name)
            return
        if seen is None:
            seen = self._seen[check.name] = Seen(condition, now, now, at)
        seen.condition, seen.last = condition, now
        if not seen.stands and now - seen.began >= check.lasting_s:
            seen.stands = True
            self._begun += 1
            if check.quiet:
                return
            if now - self._told_at.get(check.name, float("-inf")) >= QUIET_S:
                self._told_at[check.name] = now
                seen.is_told = True
                picture.event("finding", at, condition.text, pid=condition.pid, reason=check.name)
            else:
                self._untold += 1


def _all() -> list[Check]:
    return checks()
