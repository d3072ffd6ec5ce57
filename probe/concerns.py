"""What the service alone can see of its agents' troubles, and how long their activities take: told once a second.

    same_call   an agent makes the same tool call, with the same arguments, again and again
    spending    a budget is nearly spent, or what a policy's cap allows
    checkpoint  a checkpoint is large
    letters     messages reach nobody
    drift       an agent behaves otherwise than its class at its goal (`observe.probe.drift`)
    deviates    an agent has done something that a conformance policy does not expect there

Nothing is judged in here: the probe decides whether what it is told is a finding. Kept only of agents that have activities
or a plan, in bounds, and paid for where it happens: some four microseconds an activity.
"""

from __future__ import annotations

import contextlib
import marshal
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from observe.probe import far_doings
from observe.probe.buckets import bucket
from observe.probe.describe_names import line
from observe.probe.drift import Drift
from observe.probe.far_doings import Done, done_by
from observe.probe.outlet import TEXT_CHARACTERS
from observe.probe.reports import Report
from observe.probe.spenders import Spenders
from observe.runtime.activity import Activity
from observe.runtime.agent import Agent
from observe.runtime.budget import NEARLY, share_used
from observe.runtime.node import Node
from observe.tracing.kinds import clean

EVERY_S: Final = 1.0

SAME_CALLS: Final = 5
"""The same call so many times is told."""

SAME_WITHIN_S: Final = 60.0
"""Longer than this after the one before, it is a new beginning."""

CALLS_FOLLOWED: Final = 16
"""Different calls of one agent that are told apart; the one that is longest ago is forgotten."""

AGENTS_FOLLOWED: Final = 10_000
"""Agents whose calls are followed; the one whose last call is longest ago is forgotten."""

LARGE_BYTES: Final = 1 << 20
"""A checkpoint from here on is told: it is written down on the scheduler's thread, at some 10 ms a megabyte."""

MOST_STANDING: Final = 1000
"""Concerns of one kind that are followed."""

KEYS: Final = 500
"""Pairs of class and activity whose durations are counted. Further ones are not told apart: `other`."""

LETTERS_READ: Final = 100
"""Dead letters whose addressees are read, once a second."""

MINUTE: Final = 60


@dataclass(slots=True)
class Concern:
    """One trouble of one agent."""

    amount: float
    """By which the worst is found."""
    text: str
    at_s: float
    """Monotonic; when it was last seen."""
    evidence: dict[str, Any] = field(default_factory=dict)
    is_told: bool = False


@dataclass(slots=True)
class Doing:
    """What the activities of one name have taken, of agents of one class, since that was last told."""

    counts: dict[int, int] = field(default_factory=dict)
    """How many by `bucket` of their duration."""
    total_us: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


class Concerns:
    """Collects what is to be told. Belongs to the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._due_s = 0.0
        self._standing: dict[tuple[str, int], Concern] = {}
        self._kinds: Counter[str] = Counter()
        self._calls: OrderedDict[int, OrderedDict[int, tuple[int, float]]] = OrderedDict()
        self._doing: dict[tuple[str, str], Doing] = {}
        self._known: set[tuple[str, str]] = set()
        self._drift = Drift()
        self._spenders = Spenders(node)
        self._left_out = 0
        far_doings.register(node, self.done, self._count_left_out)
        self._letters = node.dead_letter_count
        self._letters_by_second: deque[int] = deque(maxlen=MINUTE)

    def statistics(self) -> dict[str, int]:
        """How much is kept."""
        return {
            "concerns": len(self._standing),
            "callers_followed": len(self._calls),
            "activities_left_out": self._left_out,
            "spenders": len(self._spenders),
        } | self._drift.statistics()

    # -- what happens ---------------------------------------------------------------------------------------------------

    def activity_started(self, agent: Agent, activity: Activity) -> None:
        """Count the same call again."""
        if not activity.name.startswith("tool:"):
            return
        mark = _mark(activity)
        if mark is None:
            return
        pid, now_s = agent.ref.pid, time.monotonic()
        calls = self._calls.pop(pid, None)
        if calls is None:
            calls = OrderedDict()
            if len(self._calls) >= AGENTS_FOLLOWED:
                self._calls.popitem(last=False)
        self._calls[pid] = calls
        count, last_s = calls.pop(mark, (0, now_s))
        count = count + 1 if now_s - last_s <= SAME_WITHIN_S else 1
        calls[mark] = (count, now_s)
        if len(calls) > CALLS_FOLLOWED:
            calls.popitem(last=False)
        if count >= SAME_CALLS:
            said = line(f"{activity.name} {dict(activity.attributes)!r:.300}", 200)
            evidence = {"call": said, "times": count}
            self._see("same_call", pid, count, f"{said}, {count} times", evidence)

    def activity_ended(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        """Count how long it took and what it used."""
        self.done(done_by(agent, activity, error))

    def done(self, one: Done) -> None:
        """An activity has ended, here or in a worker process."""
        key = one.class_name, one.name
        doing = self._doing.get(key)
        if doing is None:
            if key not in self._known:
                if len(self._known) >= KEYS:
                    key = "other", one.name.partition(":")[0]
                self._known.add(key)  # of these there are few: the groups before the colon
            doing = self._doing.setdefault(key, Doing()) if len(self._doing) <= 2 * KEYS else Doing()
        number = bucket(one.took_us)
        doing.counts[number] = doing.counts.get(number, 0) + 1
        doing.total_us += one.took_us
        doing.errors += one.failed
        doing.input_tokens += one.input_tokens
        doing.output_tokens += one.output_tokens
        doing.cost += one.cost
        self._spenders.done(one)
        tokens = one.input_tokens + one.output_tokens
        found = self._drift.activity(
            one.pid, one.class_name, one.name, one.failed, one.took_us, tokens, one.goal
        )
        if found is False:
            self._is_over("drift", one.pid)
        elif found is not None:
            assert not isinstance(found, bool)
            self._see("drift", one.pid, *found)

    def _count_left_out(self, count: int) -> None:
        self._left_out += count

    def ended(self, pid: int) -> None:
        """An agent is gone: nobody follows its calls any more."""
        self._calls.pop(pid, None)
        self._drift.ended(pid)
        self._spenders.ended(pid)

    def checkpointed(self, agent: Agent, size_bytes: int) -> None:
        """A checkpoint of this size was taken."""
        if size_bytes >= LARGE_BYTES:
            text = f"a checkpoint of {size_bytes / 1e6:,.1f} MB"
            self._see("checkpoint", agent.ref.pid, size_bytes, text, {"bytes": size_bytes})
        elif self._standing:
            self._is_over("checkpoint", agent.ref.pid)

    def _is_over(self, kind: str, pid: int) -> None:
        known = self._standing.get((kind, pid))
        if known is not None:
            known.at_s = float("-inf")

    def deviated(self, pid: int, policy: str, text: str, facts: Mapping[str, str]) -> None:
        """A conformance policy has seen something that it does not expect."""
        known = self._standing.get(("deviates", pid))
        times = int(known.amount) + 1 if known is not None else 1
        evidence = {"policy": policy} | {name: line(fact, 400) for name, fact in facts.items()}
        self._see("deviates", pid, times, line(f"{policy}: {text}"), evidence | {"times": times})

    def spent(self, owner: Agent, limit: str, used: float, allowed: float) -> None:
        """A budget is nearly spent."""
        share = used / allowed
        text = f"{limit}: {used:,.4g} of {allowed:,.4g}"
        evidence = {"limit": limit, "used": float(used), "allowed": float(allowed)}
        known = self._standing.get(("spending", owner.ref.pid))
        if known is None or known.evidence["limit"] == limit or known.amount < share:
            self._see("spending", owner.ref.pid, share, text, evidence)

    def capped(self, pid: int, policy: str, text: str, facts: Mapping[str, str]) -> None:
        """What may be spent by a policy is nearly used up, or is."""
        share = float(facts["used"]) / float(facts["allowed"])
        evidence = {"policy": policy} | {name: line(fact, 200) for name, fact in facts.items()}
        self._see("spending", pid, share, line(f"{policy}: {text}"), evidence)

    def _see(self, kind: str, pid: int, amount: float, text: str, evidence: dict[str, Any]) -> None:
        known = self._standing.get((kind, pid))
        if known is None:
            if self._kinds[kind] >= MOST_STANDING:
                return
            self._kinds[kind] += 1
        self._standing[kind, pid] = Concern(amount, text, time.monotonic(), evidence)

    # -- telling --------------------------------------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """A probe knows nothing yet."""
        for concern in self._standing.values():
            concern.is_told = False
        self._spenders.begin_anew()
        self._due_s = 0.0

    def due(self, now_s: float) -> list[Report]:
        """What is to be told now; once a second at most."""
        if now_s < self._due_s:
            return []
        self._due_s = now_s + EVERY_S
        self._count_letters(now_s)
        reports: list[Report] = []
        for (kind, pid), concern in list(self._standing.items()):
            if not self._holds(kind, pid, concern, now_s):
                del self._standing[kind, pid]
                self._kinds[kind] -= 1
                reports.append(_report(kind, pid, concern, over=True))
            elif not concern.is_told:
                concern.is_told = True
                reports.append(_report(kind, pid, concern, over=False))
        if self._doing:
            doing, self._doing = self._doing, {}
            reports.append(("durations", {"entries": [_entry(*key, one) for key, one in doing.items()]}))
        spent = self._spenders.due()
        if spent is not None:
            reports.append(("spent", spent))
        return reports

    def _holds(self, kind: str, pid: int, concern: Concern, now_s: float) -> bool:
        if kind == "letters":
            return concern.amount > 0
        agent = self._node.agents.get(pid)
        if agent is None:
            return False
        if kind in ("same_call", "deviates"):
            return now_s - concern.at_s <= SAME_WITHIN_S
        if kind == "spending" and "policy" in concern.evidence:
            capping = self._node.governing.capping if self._node.governing is not None else None
            policy, key = concern.evidence["policy"], concern.evidence["key"]
            nearly = capping.is_nearly_out(policy, key, pid) if capping is not None else False
            return now_s - concern.at_s <= SAME_WITHIN_S if nearly is None else nearly
        if kind == "spending":
            return concern.evidence["limit"] == "wall_s" or (
                share_used(agent, concern.evidence["limit"]) >= NEARLY
            )
        return concern.at_s > 0

    def _count_letters(self, now_s: float) -> None:
        count, self._letters = self._node.dead_letter_count - self._letters, self._node.dead_letter_count
        if not count and not any(self._letters_by_second):
            if ("letters", 0) in self._standing:
                self._standing["letters", 0].amount = 0
            return
        self._letters_by_second.append(count)
        minute = sum(self._letters_by_second)
        known = self._standing.get(("letters", 0))
        evidence = known.evidence if known is not None else {}
        if count:
            newest = islice(reversed(self._node.dead_letters), min(count, LETTERS_READ))
            to = Counter(line(letter.target, 100) for letter in newest)
            evidence = {"to": dict(to.most_common(3)), "in_a_minute": minute}
        if known is None or known.amount != minute:
            worst = next(iter(evidence.get("to", {})), "nobody")
            self._see("letters", 0, minute, worst, evidence)


def _mark(activity: Activity) -> int | None:
    """What makes it the same call: its name, arguments and attributes. None when that cannot be told."""
    said = (activity.name, activity._arguments, tuple(activity.attributes.items()))
    with contextlib.suppress(Exception):  # strangers' `__hash__`
        return hash(said)
    with contextlib.suppress(ValueError):
        return hash(
            marshal.dumps(said, 2)
        )  # lists and dicts of plain values; by version 2 it depends on them alone
    return None


def _report(kind: str, pid: int, concern: Concern, *, over: bool) -> Report:
    return "concern", {
        "at": time.time(),
        "kind": kind,
        "pid": pid,
        "amount": float(concern.amount),
        "text": line(concern.text),
        "evidence": concern.evidence,
        "over": over,
    }


def _entry(class_name: str, activity: str, doing: Doing) -> dict[str, Any]:
    return {
        "class": clean(class_name[:TEXT_CHARACTERS]),
        "activity": clean(activity[:TEXT_CHARACTERS]),
        "counts": [part for pair in doing.counts.items() for part in pair],
        "total_us": doing.total_us,
        "errors": doing.errors,
        "input_tokens": doing.input_tokens,
        "output_tokens": doing.output_tokens,
        "cost": doing.cost,
    }
