"""Risk: how much an agent could do by itself, and how far that would reach, as one number from 0 to 1 and its twelve parts.

    score = mean of twelve criteria, each from 0 to 1; at least what the class declares (`risk = 0.8`)

The four parts are those of the MI9 framework's agency-risk index (arXiv 2508.03858: autonomy, adaptability, continuity) and the reach
of the agent's tools; the criteria are what this runtime sees by itself, without asking anybody. Nine are of the class: what one agent of
it has done, the others can do as well. Three are the agent's own: its restarts, its age, what it has handled. A count c
that has no upper end stands as c / (c + h): 0 for none, 0.5 at h. docs/risk.md has the table.

Paid for where an activity begins or an agent starts: one look-up. Everything else is computed when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from observe.runtime.budget import owners_of
from observe.runtime.instrument import Instrument
from observe.runtime.ladder import ChangeApproach

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.governed import Governed
    from observe.runtime.node import Node

HALF: Final[Mapping[str, float]] = {
    "kinds": 3,
    "restarts": 3,
    "age": 3600,
    "handled": 1000,
    "tools": 5,
    "gated": 1,
}
"""At how many of it a criterion without an upper end is at 0.5; `age` in seconds."""

MOST_CLASSES: Final = 1000
"""Classes that are told apart. Agents of further ones have no score."""

MOST_ACTIVITIES: Final = 64
"""Of one class. Further ones change little: 64 tools are at 0.93."""

WAITS: Final = ("wait:", "approval:")
"""Activities that do nothing to anybody."""

TIERS: Final = (0.25, 0.5, 0.75)
"""Up to these a score is of tier 1, 2 and 3; beyond, of tier 4."""


class Facts(NamedTuple):
    """The criteria that are the same for all agents of a class, each from 0 to 1."""

    model: float = 0.0
    """1 if they call models (`model:…`): what they do next does not stand in their code."""
    starts: float = 0.0
    """1 if they start agents, or items of a `supervised_map`."""
    unasked: float = 0.0
    """Share of their activities for which no person is asked."""
    approach: float = 0.0
    """1 if their ladder has them change their approach when they fail."""
    kinds: float = 0.0
    """Of activities, told apart by what stands before the colon."""
    memory: float = 0.0
    """1 if their state outlives them: checkpoints."""
    tools: float = 0.0
    """Different activities."""
    gated: float = 0.0
    """Of these, such that a policy denies, has approved or contains: what somebody holds to be dangerous."""
    unbounded: float = 0.0
    """1 if they have activities and no budget holds for them, of their own or of a supervisor above."""


CRITERIA: Final[Mapping[str, tuple[str, str, str]]] = {
    "autonomy": ("model", "starts", "unasked"),
    "adaptability": ("approach", "kinds", "restarts"),
    "continuity": ("memory", "age", "handled"),
    "reach": ("tools", "gated", "unbounded"),
}
"""By part. `restarts`, `age` and `handled` are the agent's own, the others of its class."""


NOTHING: Final = Facts()


@dataclass(frozen=True, slots=True)
class Risk:
    """One agent's."""

    observed: float
    """The mean of the criteria."""
    declared: float
    """What its class declares."""
    criteria: Mapping[str, float]
    """By name."""

    @property
    def score(self) -> float:
        """What counts."""
        return max(self.observed, self.declared)

    @property
    def tier(self) -> int:
        """From 1 to 4."""
        return tier(self.score)

    @property
    def parts(self) -> dict[str, float]:
        """The mean of the criteria of each part."""
        return {
            part: sum(self.criteria[name] for name in names) / len(names) for part, names in CRITERIA.items()
        }


def tier(score: float) -> int:
    """Of a score, from 1 to 4."""
    return 1 + sum(score > limit for limit in TIERS)


def saturated(count: float, name: str) -> float:
    """A count as a criterion."""
    return count / (count + HALF[name])


def assess(facts: Facts, declared: float, restarts: int, age_s: float, handled: int) -> Risk:
    """An agent's risk, by the facts of its class and its own."""
    own = {"restarts": restarts, "age": age_s, "handled": handled}
    criteria = facts._asdict() | {name: saturated(count, name) for name, count in own.items()}
    return Risk(sum(criteria.values()) / len(criteria), declared, criteria)


@dataclass(slots=True, eq=False)
class Seen:
    """What is known of one class."""

    cls: type[Agent]
    pid: int
    """Of an agent of it, the one that was seen last: for its spec and its budgets."""
    activities: dict[str, bool]
    """By name, whether a person was asked for it."""
    starts: bool = False
    facts: Facts = NOTHING
    is_stale: bool = True
    """`facts` are to be computed anew."""
    is_told: bool = False


class Risks(Instrument):
    """Of one node, as `Node.risks` makes it. Belongs to the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._classes: dict[type[Agent], Seen] = {}
        self._is_noting = False

    def begin(self) -> None:
        """Note what agents do. A second time has no effect."""
        if not self._is_noting:
            self._is_noting = True
            for agent in list(self._node.agents.values()) if self._node.is_running else []:
                self._of(agent)
            self._node.instruments.add(self)

    def end(self) -> None:
        """Nobody looks any more, as far as the caller knows: whoever does begins again with its next look."""
        self._is_noting = False
        self._node.instruments.remove(self)

    # -- what happens

    def on_spawn(self, agent: Agent) -> None:
        if real_class(agent) not in self._classes:
            self._of(agent)
        starter = agent._o_scheduler.current
        if starter is not None and starter._o_system:
            starter = getattr(starter, "_o_caller", None)
        if starter is not None:
            seen = self._of(starter)
            if seen is not None and not seen.starts:
                seen.starts = seen.is_stale = True

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        seen = self._classes.get(real_class(agent)) or self._of(agent)
        if seen is None or activity.name.startswith(WAITS):
            return
        seen.pid = agent._o_pid
        asked = seen.activities.get(activity.name)
        if asked is None:
            if len(seen.activities) < MOST_ACTIVITIES:
                seen.activities[activity.name] = activity.is_approved
                seen.is_stale = True
        elif activity.is_approved and not asked:
            seen.activities[activity.name] = seen.is_stale = True

    def on_governed(self, event: Governed) -> None:
        if event.what == "policies":
            for seen in self._classes.values():
                seen.is_stale = True

    def merge(self, cls: type[Agent], activities: Mapping[str, bool], starts: bool) -> None:
        """What a worker process has seen of a class."""
        seen = self._classes.get(cls)
        if seen is None:
            return
        for name, asked in activities.items():
            known = seen.activities.get(name)
            if (known is None and len(seen.activities) < MOST_ACTIVITIES) or (known is False and asked):
                seen.activities[name], seen.is_stale = asked, True
        if starts and not seen.starts:
            seen.starts = seen.is_stale = True

    def _of(self, agent: Agent) -> Seen | None:
        cls = real_class(agent)
        seen = self._classes.get(cls)
        if seen is None and not agent._o_system and len(self._classes) < MOST_CLASSES:
            seen = self._classes[cls] = Seen(cls, agent._o_pid, {})
        return seen

    # -- what comes of it

    def seen(self) -> Iterable[Seen]:
        """The classes that are known."""
        return self._classes.values()

    def of(self, agent: Agent, age_s: float) -> Risk | None:
        """The agent's risk; None of a supervisor. How old it is, the runtime does not keep."""
        seen = self._classes.get(real_class(agent))
        if seen is None:
            return None
        facts = self.facts(seen)
        return assess(facts, declared(seen.cls), agent._o_child.restarts, age_s, agent._o_handled)

    def begin_anew(self) -> None:
        """Whoever is told of changes knows of nothing yet."""
        for seen in self._classes.values():
            seen.is_told = False

    def changed(self) -> list[Seen]:
        """The classes whose facts are others than before, or have not been told yet."""
        found = []
        for seen in self._classes.values():
            if seen.is_stale:
                self.facts(seen)
            if not seen.is_told:
                seen.is_told = True
                found.append(seen)
        return found

    def facts(self, seen: Seen) -> Facts:
        """Of a class."""
        if seen.is_stale:
            seen.is_stale = False
            before, seen.facts = seen.facts, self._facts(seen, self._node.agents.get(seen.pid))
            seen.is_told = seen.is_told and seen.facts == before
        return seen.facts

    def _facts(self, seen: Seen, agent: Agent | None) -> Facts:
        names = seen.activities
        before = seen.facts
        approach, memory, unbounded = before.approach, before.memory, before.unbounded
        if agent is not None:
            plan = agent._o_child.spec.plan
            ladder = plan.ladder if plan is not None else None
            approach = float(
                ladder is not None and any(isinstance(rung, ChangeApproach) for rung in ladder.rungs)
            )
            memory = float(plan is not None and (plan.restore or plan.checkpoint is not None))
            unbounded = float(bool(names) and next(iter(owners_of(agent)), None) is None)
        gated, asked = self._ruled(seen, agent)
        asked |= {name for name, is_asked in names.items() if is_asked}
        return Facts(
            model=float(any(name.startswith("model:") for name in names)),
            starts=float(seen.starts),
            unasked=1 - len(asked) / len(names) if names else 0.0,
            approach=approach,
            kinds=saturated(len({name.partition(":")[0] for name in names}), "kinds"),
            memory=memory,
            tools=saturated(len(names), "tools"),
            gated=saturated(len(gated), "gated"),
            unbounded=unbounded,
        )

    def _ruled(self, seen: Seen, agent: Agent | None) -> tuple[set[str], set[str]]:
        """Of the activities those that a rule does not simply allow, and those for which one asks a person."""
        governing = self._node.governing
        policies = governing.policies if governing is not None else None
        gated: set[str] = set()
        asked: set[str] = set()
        if policies is None or not seen.activities:
            return gated, asked
        whose = [seen.cls.__name__, (agent._o_child.name or "") if agent is not None else ""]
        for rule in policies.rules:
            if rule.kind != "activity" or rule.effect == "allow":
                continue
            if not any(fnmatchcase(one, pattern) for one in whose for pattern in rule.agents):
                continue
            found = {name for name in seen.activities if fnmatchcase(name, rule.on)}
            gated |= found
            if rule.effect == "approve":
                asked |= found
        return gated, asked


def real_class(agent: Agent) -> type[Agent]:
    """The agent's class, also of one that runs in a worker process."""
    cls = type(agent)
    return getattr(cls, "_o_stands_for", cls)


def declared(cls: type[Agent]) -> float:
    """What a class declares of itself, within 0 and 1."""
    said = cls.risk
    return min(max(float(said), 0.0), 1.0) if isinstance(said, (int, float)) else 0.0
