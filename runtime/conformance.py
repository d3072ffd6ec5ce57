"""Conformance: what an agent does, step by step, against a finite-state machine of what it should do (docs/conformance.md).

    Machine.only("refunds", "begin tool:refund", after="approved tool:refund", per="order", effect="deny")
    Machine.never("deleted", "begin tool:search", after="end tool:delete")
    Machine.at_most("retries", 3, "fail tool:*", until="end tool:*", per="name")
    Machine("orders", start="open", states={"open": {"message pay": "paid", "begin tool:ship": VIOLATION}, "paid": {...}})

Events are a kind and a name, patterns likewise: `begin tool:refund` (an activity is about to begin), `end`, `fail`, `approved`, `refused`
(a person has decided), `message` (it begins to handle one), `send`, `state status=paid` (a field of its state has another value).
A pattern without a kind means `begin`.

Of several patterns of a state the first that fits counts; what fits none is passed over. Compiled, an event is two dictionary
look-ups and an index into a table, and an agent keeps one number for each machine, however long it lives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from observe.runtime.policies import CONTAIN_LEVELS, Level

Kind = Literal["begin", "end", "fail", "approved", "refused", "message", "send", "state"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

VIOLATION: Final = "violation"
"""In the place of a state: this must not happen here. The machine stays where it is."""

MOST_STATES: Final = 200
MOST_NAMES: Final = 4096
"""Names of events whose meaning is remembered; beyond that all are forgotten and learnt again."""

Effect = Literal["report", "deny", "contain"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What an agent of some class should do, in which order.

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    policy: str
    """Its name, as it stands in findings and in the audit log."""
    states: Mapping[str, Mapping[str, str]]
    """For each state what becomes of it: the next one, or `VIOLATION`, by the pattern of an event."""
    start: str
    agents: Sequence[str] = ("*",)
    """Patterns of the agent's name or class; one must fit."""
    per: str = ""
    """Keep apart by this attribute of the activity, or part of the message (`order`); by `name`: the activity's or message's name.
    Empty: the agent's whole life is one conversation."""
    expires: Mapping[str, float] = field(default_factory=dict)
    """After so many seconds in a state it is as at the start."""
    fields: Sequence[str] = ()
    """Attributes of the agent whose changes are events, looked at after each message: `state status=paid`."""
    effect: Effect = "report"
    """`report`: a finding. `deny`: besides, what is about to begin or to be sent does not. `contain`: besides, to `level`."""
    level: Level | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        def wrong(why: str) -> ValueError:
            return ValueError(f"{self.policy}: {why}")

        if not self.policy:
            raise ValueError("a machine has a policy's name")
        if not self.states or len(self.states) > MOST_STATES or VIOLATION in self.states:
            raise wrong(f"a machine has 1 to {MOST_STATES} states, none of which is called {VIOLATION!r}")
        if self.start not in self.states:
            raise wrong(f"it starts in {self.start!r}, which is none of its states")
        for state, edges in self.states.items():
            for pattern, target in edges.items():
                read_pattern(pattern, self.policy)
                if target != VIOLATION and target not in self.states:
                    raise wrong(
                        f"{pattern!r} leads from {state!r} to {target!r}, which is none of its states"
                    )
        if not any(VIOLATION in edges.values() for edges in self.states.values()):
            raise wrong("nothing is a violation in it, so it would never say anything")
        if isinstance(self.agents, str) or isinstance(self.fields, str):
            raise wrong("agents and fields are lists of texts")
        unknown = set(self.expires) - set(self.states)
        if unknown or any(not seconds > 0 for seconds in self.expires.values()):
            raise wrong("states expire after more than 0 seconds, and are states")
        if self.effect not in ("report", "deny", "contain"):
            raise wrong(f"it reports, denies or contains, not {self.effect!r}")
        if (self.effect == "contain") != (self.level is not None) or self.level not in (
            None,
            *CONTAIN_LEVELS,
        ):
            raise wrong(
                f"a level, one of {', '.join(CONTAIN_LEVELS)}, belongs to `contain`, and to nothing else"
            )
        if any(kind == "state" for kind, _ in self.patterns) and not self.fields:
            raise wrong("events of its state need `fields`: which attributes are looked at")

    @property
    def patterns(self) -> list[tuple[Kind, str]]:
        """All that it looks for."""
        texts = dict.fromkeys(pattern for edges in self.states.values() for pattern in edges)
        return [read_pattern(text, self.policy) for text in texts]

    # -- What is said most often, in short

    @classmethod
    def only(
        cls,
        policy: str,
        event: str,
        *,
        after: str,
        within_s: float | None = None,
        once: bool = True,
        **more: Any,
    ) -> Machine:
        """`event` only after `after`, which allows it once (or, with `once=False`, for good), and no longer than for `within_s`."""
        states = {"closed": {after: "open", event: VIOLATION}, "open": {event: "closed"} if once else {}}
        return cls(policy, states, "closed", expires={} if within_s is None else {"open": within_s}, **more)

    @classmethod
    def never(cls, policy: str, event: str, *, after: str, until: str | None = None, **more: Any) -> Machine:
        """`event` never after `after`; until `until`, if that is given."""
        armed = {event: VIOLATION} | ({} if until is None else {until: "clear"})
        return cls(policy, {"clear": {after: "armed"}, "armed": armed}, "clear", **more)

    @classmethod
    def at_most(cls, policy: str, most: int, event: str, *, until: str | None = None, **more: Any) -> Machine:
        """`event` at most so many times; counted anew from `until`, if that is given."""
        if not 0 <= most < MOST_STATES:
            raise ValueError(f"{policy}: it counts to {MOST_STATES - 1:,} at most, not to {most}")
        again = {} if until is None else {until: "0"}
        states = {str(n): {event: str(n + 1)} | again for n in range(most)}
        return cls(policy, states | {str(most): {event: VIOLATION} | again}, "0", **more)


def read_pattern(text: str, policy: str = "") -> tuple[Kind, str]:
    """The kind and the pattern of the name.

    Raises:
        ValueError: there is no name in it.
    """
    head, _, rest = text.strip().partition(" ")
    for kind in KINDS:
        if head == kind:
            if not rest.strip():
                raise ValueError(f"{policy}: {text!r} names nothing: as in '{kind} tool:refund'")
            return kind, rest.strip()
    if not head:
        raise ValueError(f"{policy}: an event has a name")
    return "begin", text.strip()


class Compiled:
    """A machine as tables. State 0 is the start."""

    __slots__ = ("_edges", "_names", "_patterns", "is_keyed", "lifetimes", "machine", "table")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._names = [machine.start, *(name for name in machine.states if name != machine.start)]
        numbers = {name: number for number, name in enumerate(self._names)} | {VIOLATION: -1}
        self._patterns = machine.patterns
        place = {pattern: number for number, pattern in enumerate(self._patterns)}
        self._edges = [
            [(place[read_pattern(text)], numbers[target]) for text, target in machine.states[name].items()]
            for name in self._names
        ]
        self.table: list[dict[frozenset[int], int]] = [{} for _ in self._names]
        """By state and letter the next state; -1 for a violation. A letter is the set of patterns that fit an event."""
        self.is_keyed = bool(machine.per)
        self.lifetimes = [
            int(machine.expires[name] * 1e9) if name in machine.expires else 0 for name in self._names
        ]

    def letter(self, kind: Kind, name: str) -> frozenset[int]:
        """Which of its patterns fit an event; and the table has a place for it from now on. Empty: none does."""
        found = frozenset(
            number
            for number, (known, pattern) in enumerate(self._patterns)
            if known == kind and fnmatchcase(name, pattern)
        )
        if found:
            for state, edges in enumerate(self._edges):
                self.table[state].setdefault(found, next((to for one, to in edges if one in found), state))
        return found

    def name_of(self, state: int) -> str:
        """For people."""
        return self._names[state]

    def expected(self, state: int) -> list[str]:
        """What may happen in a state, as its patterns say."""
        texts = self.machine.states[self._names[state]]
        return [text for text, target in texts.items() if target != VIOLATION]


class Program:
    """The machines of one kind of agent, compiled together."""

    __slots__ = ("_learnt", "fields", "has_messages", "has_sends", "letters", "machines")

    def __init__(self, machines: Sequence[Compiled]) -> None:
        self.machines = tuple(machines)
        self._learnt = 0
        self.letters: dict[Kind, dict[str, tuple[tuple[int, frozenset[int]], ...]]] = {
            kind: {} for kind in KINDS
        }
        """By kind and name of an event which machines it matters to, and as which letter."""
        kinds = {kind for one in machines for kind, _ in one.machine.patterns}
        self.has_messages = bool(kinds & {"message", "state"})
        self.has_sends = "send" in kinds
        self.fields = tuple(dict.fromkeys(field for one in machines for field in one.machine.fields))

    def learn(self, kind: Kind, name: str) -> tuple[tuple[int, frozenset[int]], ...]:
        """What an event means that was not seen before."""
        if self._learnt >= MOST_NAMES:
            self._learnt = 0
            for known in self.letters.values():
                known.clear()
        self._learnt += 1
        found = tuple(
            (place, letter) for place, one in enumerate(self.machines) if (letter := one.letter(kind, name))
        )
        self.letters[kind][name] = found
        return found
