"""Checks over what the service has told of single agents. Pure, as `observe.probe.diagnosis` says."""

from __future__ import annotations

from collections import deque
from typing import Final

from observe.probe.condition import Check, Condition, agents, worst_pids
from observe.probe.frames import ConcernFrame
from observe.probe.picture import Picture

LETTERS: Final = 20
"""Dead letters in a minute from which on they are a finding. A few are normal: agents end while others write to them."""

SLOW_AFTER: Final = 10
"""Pushes that were left out for one subscriber within `SLOW_WITHIN_S`."""

SLOW_WITHIN_S: Final = 30.0


def told_checks() -> list[Check]:
    """The checks of this module, each with a memory of its own."""
    return [
        Check(
            "same_call", _same_call, 0.0,
            "it learns nothing from the answer: bound it with Budget(same_call=…), tell its model, or kill it",
        ),
        Check(
            "deviates", _deviates, 0.0,
            "`sequence` is what it has done before, and the audit log has each such time (`governed_violation`); `observe contain` fences it in",
        ),
        Check(
            "budget_nearly_spent", _spending, 0.0,
            "at the limit it is ended, denied or contained: `observe inspect` shows what it spends on, `observe policies` the caps; allow more if that is well spent",
        ),
        Check(
            "checkpoint_large", _checkpoint, 0.0,
            "each one is written down on the scheduler's thread: list what can be made again in `unsaved`",
        ),
        Check(
            "drifts", _drift, 0.0,
            "look what has changed for it: its input, its model, its code; `observe contain … monitored` puts all that it does on record",
        ),
        Check(
            "audit_unavailable", _unrecorded, 0.0,
            "what cannot be recorded is not done, so nothing can be changed: free space on that disk or make the file writable; it is tried again every 5 s",
        ),
        Check("dead_letters", _dead_letters, 0.0, "messages reach nobody: who is addressed has ended, or never was"),
        Check(
            "slow_consumer", SlowConsumers().look, 2.0,
            "a console or script does not read what it asked for; it misses pushes, and costs the node no more than that",
        ),
        Check("long_step", _long_step, 0.0, "it computes without a pause: move that to a thread or process", quiet=True),
    ]  # fmt: skip


def _concerned(picture: Picture, kind: str, check: str) -> list[tuple[float, ConcernFrame]]:
    """The live agents concerned, worst first, without those on the allow-list."""
    table = picture.table
    found = []
    for pid, frame in picture.troubles.concerns(kind).items():
        row = table.row_of(pid)
        if row is None:
            continue
        texts = (table.text(column, row) for column in ("class", "name"))
        if not picture.allowed.names(check, *texts, frame.text.partition(" ")[0]):
            found.append((frame.amount, frame))
    return sorted(found, key=lambda one: (-one[0], one[1].pid))


def _of_concern(picture: Picture, kind: str, check: str, what: str) -> Condition | None:
    found = _concerned(picture, kind, check)
    if not found:
        return None
    frame = found[0][1]
    pids = [one.pid for _, one in found]
    return Condition(
        f"{agents(len(found))} {what}, worst {picture.label(frame.pid)}: {frame.text}",
        count=len(found), pid=frame.pid, filter=worst_pids(pids), evidence=dict(frame.evidence),
        pids=frozenset(pids),
    )  # fmt: skip


def _unrecorded(picture: Picture, _now: float) -> Condition | None:
    why = picture.unrecorded()
    return Condition(f"actions are refused: {why}") if why else None


def _same_call(picture: Picture, _now: float) -> Condition | None:
    return _of_concern(picture, "same_call", "same_call", "making the same tool call again and again")


def _deviates(picture: Picture, _now: float) -> Condition | None:
    return _of_concern(picture, "deviates", "deviates", "deviating from what conformance policies expect")


def _spending(picture: Picture, _now: float) -> Condition | None:
    return _of_concern(
        picture, "spending", "budget_nearly_spent", "with a budget or cap that is nearly spent"
    )


def _drift(picture: Picture, _now: float) -> Condition | None:
    return _of_concern(picture, "drift", "drifts", "behaving otherwise than before")


def _checkpoint(picture: Picture, _now: float) -> Condition | None:
    return _of_concern(picture, "checkpoint", "checkpoint_large", "with large checkpoints")


def _dead_letters(picture: Picture, _now: float) -> Condition | None:
    frame = picture.troubles.concerns("letters").get(0)
    if frame is None or frame.amount < LETTERS:
        return None
    to = frame.evidence.get("to")
    targets = [str(one) for one in to] if isinstance(to, dict) else []
    if targets and all(picture.allowed.names("dead_letters", one, one.partition(" ")[0]) for one in targets):
        return None
    count = int(frame.amount)
    return Condition(
        f"{count:,} messages reached nobody in a minute, the last for {frame.text}", count=count,
        evidence=dict(frame.evidence),
        about=frozenset(word for one in targets for word in (one, one.partition(" ")[0])) or frozenset({"?"}),
    )  # fmt: skip


def _long_step(picture: Picture, _now: float) -> Condition | None:
    found = [
        frame
        for pid, frame in picture.troubles.findings("long_step").items()
        if (pid == 0 or picture.table.row_of(pid) is not None)  # 0: a plain task
        and not picture.allowed.names("long_step", frame.class_name, frame.name)
    ]
    if not found:
        return None
    oldest = min(found, key=lambda frame: frame.at)
    pids = [one.pid for one in found if one.pid]
    return Condition(
        oldest.text, count=len(found), pid=oldest.pid, filter=worst_pids(pids) if pids else "",
        evidence={"stack": oldest.stack},
    )  # fmt: skip


class SlowConsumers:
    """Subscribers that do not take what they asked for."""

    def __init__(self) -> None:
        self._marks: dict[int, deque[tuple[float, int]]] = {}

    def look(self, picture: Picture, now: float) -> Condition | None:
        slow: list[tuple[int, str]] = []
        marks, self._marks = self._marks, {}
        for sub, who, missed in picture.subscribers():
            mark = self._marks[sub] = marks.get(sub) or deque()
            mark.append((now, missed))
            while now - mark[0][0] > SLOW_WITHIN_S:
                mark.popleft()
            grown = missed - mark[0][1]
            if grown >= SLOW_AFTER and not picture.allowed.names("slow_consumer", who):
                slow.append((grown, who))
        if not slow:
            return None
        missed, who = max(slow)
        count = "1 subscriber does" if len(slow) == 1 else f"{len(slow):,} subscribers do"
        return Condition(
            f"{count} not keep up, worst {who}: {missed:,} pushes or events left out in {SLOW_WITHIN_S:.0f} s",
            count=len(slow), evidence={"who": who, "left_out": missed},
        )  # fmt: skip
