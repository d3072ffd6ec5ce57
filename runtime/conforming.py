"""Runs the machines of `observe.runtime.conformance` on the agents of a node, and says who deviates.

    activities, approvals --> Conforming.event --> one step of each machine that the event matters to
    messages, fields      -->   (a tap)             |
    sends                 -->   (the guard)         +--> a violation: told, denied, or the agent is contained

Where an agent stands belongs to its *place* in the tree: who is restarted into it goes on from there, for a crash must not be a way
to be forgiven.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.clock import now_ns
from observe.runtime.conformance import Compiled, Kind, Machine, Program
from observe.runtime.containment import contain_at_least
from observe.runtime.decisions import ALLOW, Attempt, Decision, deny
from observe.runtime.errors import ActionRefused
from observe.runtime.instrument import Instrument
from observe.runtime.taps import Handled, Tap, tap, untap

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.exits import ExitReason
    from observe.runtime.governing import Governing

SEQUENCE: Final = 8
"""Events of an agent that are kept to be shown with a violation."""

MOST_KEYS: Final = 256
"""Conversations of one agent and machine that are told apart; the one that is longest ago is forgotten, and counted."""

TEXT_LENGTH: Final = 100

NOTHING: Final[Mapping[str, Any]] = {}


class Track:
    """Where one agent stands."""

    __slots__ = ("announced", "fields", "keyed", "program", "recent", "since", "states", "tapped")

    def __init__(self, program: Program) -> None:
        self.program = program
        count = len(program.machines)
        self.states = [0] * count
        """Of each machine without keys."""
        self.since = [0] * count
        """When that state was entered, where it expires."""
        self.keyed: list[OrderedDict[str, tuple[int, int]] | None] = [
            OrderedDict() if one.is_keyed else None for one in program.machines
        ]
        """Of the others, state and time by key; what stands at the start is not kept."""
        self.recent: deque[tuple[Kind, str]] = deque(maxlen=SEQUENCE)
        self.fields: dict[str, str] = {}
        self.announced: Activity | None = None
        """What was said about it as it was judged need not be said again as it begins."""
        self.tapped: Listener | None = None


class Conforming(Instrument):
    """Of one node. Belongs to the scheduler's thread. A judge as well."""

    depends_on_time = False

    def __init__(self, governing: Governing, machines: Sequence[Machine]) -> None:
        self._governing = governing
        self.machines = tuple(machines)
        self._compiled = [Compiled(one) for one in machines]
        self._programs: dict[tuple[int, ...], Program | None] = {}
        self._tracks: dict[Child, Track] = {}
        self.violations: Counter[str] = Counter()
        """By policy."""
        self.denied: Counter[str] = Counter()
        self.forgotten = 0
        """Conversations that were forgotten because there were too many. Above 0, some may not have been followed to their end."""
        kinds = {kind for one in machines for kind, _ in one.patterns}
        self.sees_sends = "send" in kinds
        self.judges = self.sees_sends or any(one.effect != "report" for one in machines)

    # -- Which agents

    def begin(self, before: Conforming | None) -> None:
        """Follow the agents that there are, and those to come. Machines that stay go on from where they were."""
        node = self._governing.node
        if before is not None:
            self.violations.update(
                {
                    name: n
                    for name, n in before.violations.items()
                    if any(one.policy == name for one in self.machines)
                }
            )
            before.end()
        node.instruments.add(self)
        for agent in list(node.agents.values()):
            self.on_spawn(agent)
            if before is not None:
                self._go_on(agent, before)

    def end(self) -> None:
        """Follow nobody any more."""
        self._governing.node.instruments.remove(self)
        for child, track in self._tracks.items():
            if track.tapped is not None and child.agent is not None:
                untap(child.agent, track.tapped)

    def _go_on(self, agent: Agent, before: Conforming) -> None:
        old, new = before._tracks.get(agent._o_child), self._tracks.get(agent._o_child)
        if old is None or new is None:
            return
        places = {one.machine.policy: place for place, one in enumerate(old.program.machines)}
        for place, one in enumerate(new.program.machines):
            known = places.get(one.machine.policy)
            if known is not None and old.program.machines[known].machine == one.machine:
                new.states[place], new.since[place] = old.states[known], old.since[known]
                new.keyed[place] = old.keyed[known]
        new.recent = old.recent

    def _program(self, agent: Agent) -> Program | None:
        whose = (type(agent).__name__, agent._o_child.name or "")
        places = tuple(
            place
            for place, machine in enumerate(self.machines)
            if any(fnmatchcase(one, pattern) for one in whose for pattern in machine.agents)
        )
        if (
            places not in self._programs
        ):  # at most as many as there are ways to choose among the machines, in practice few
            self._programs[places] = Program([self._compiled[one] for one in places]) if places else None
        return self._programs[places]

    def on_spawn(self, agent: Agent) -> None:
        """It may be one to be followed."""
        if agent._o_system or agent._o_away is not None:
            return
        track = self._tracks.get(agent._o_child)
        if track is None:
            program = self._program(agent)
            if program is None:
                return
            track = self._tracks[agent._o_child] = Track(program)
        if track.program.has_messages:
            track.tapped = Listener(self, track)
            try:
                tap(agent, track.tapped)
            except ActionRefused:  # it is ending already
                track.tapped = None

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        """Its place may be given up with it."""
        if agent._o_child in self._tracks:
            agent._o_scheduler.post(self._prune, agent._o_child)

    def _prune(self, child: Child) -> None:
        supervisor = child.supervisor
        if supervisor is None or supervisor._o_children.get(child.id) is not child:
            self._tracks.pop(child, None)

    # -- Events

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        """An event."""
        track = self._tracks.get(agent._o_child)
        if track is not None:
            is_announced, track.announced = track.announced is activity, None
            self.event(agent, track, "begin", activity.name, activity.said, quiet=is_announced)

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        """An event."""
        track = self._tracks.get(agent._o_child)
        if track is not None:
            self.event(agent, track, "end" if error is None else "fail", activity.name, activity.said)

    def decided(self, agent: Agent, name: str, said: Mapping[str, Any], is_granted: bool) -> None:
        """A person has granted or refused an activity, or nobody has answered."""
        track = self._tracks.get(agent._o_child)
        if track is not None:
            self.event(agent, track, "approved" if is_granted else "refused", name, said)

    def event(
        self,
        agent: Agent,
        track: Track,
        kind: Kind,
        name: str,
        said: Mapping[str, Any],
        *,
        quiet: bool = False,
    ) -> None:
        """One step of each machine that it matters to."""
        program = track.program
        letters = program.letters[kind].get(name)
        if letters is None:
            letters = program.learn(kind, name)
        if not letters:
            return
        track.recent.append((kind, name))
        for place, letter in letters:
            machine = program.machines[place]
            keyed = track.keyed[place]
            if keyed is None:
                state = track.states[place]
                if machine.lifetimes[state] and now_ns() - track.since[place] > machine.lifetimes[state]:
                    state = track.states[place] = 0
                to = machine.table[state][letter]
                if to == state:
                    continue
                if to >= 0:
                    track.states[place] = to
                    if machine.lifetimes[to]:
                        track.since[place] = now_ns()
                    continue
            else:
                key = _key(machine, name, said)
                state = _state_of(machine, keyed, key)
                to = machine.table[state][letter]
                if to == state:
                    continue
                if to >= 0:
                    self._enter(machine, keyed, key, to)
                    continue
            if not quiet:
                self._violated(agent, track, machine, state, kind, name)
                self._contain(agent, machine)

    def _enter(
        self, machine: Compiled, keyed: OrderedDict[str, tuple[int, int]], key: str, state: int
    ) -> None:
        keyed.pop(key, None)
        if state == 0:
            return
        keyed[key] = state, now_ns() if machine.lifetimes[state] else 0
        if len(keyed) > MOST_KEYS:
            keyed.popitem(last=False)
            self.forgotten += 1

    # -- Judging what is about to begin

    def judge(self, attempt: Attempt) -> Decision:
        """What machines that deny or contain say of an attempt. Of a send it is the event itself."""
        if attempt.is_open:
            return ALLOW
        agent = attempt.agent
        track = self._tracks.get(agent._o_child)
        if track is None:
            return ALLOW
        kind: Kind = "begin" if attempt.activity is not None else "send"
        names = [attempt.name]
        if attempt.target is not None and type(attempt.target).__name__ != attempt.name:
            names.append(type(attempt.target).__name__)
        for name in names:
            decision = self._judge(agent, track, kind, name, attempt)
            if decision is not ALLOW:
                return decision
        if kind == "send" and track.program.has_sends:
            for name in names:
                self.event(agent, track, kind, name, attempt.arguments)
        return ALLOW

    def _judge(self, agent: Agent, track: Track, kind: Kind, name: str, attempt: Attempt) -> Decision:
        program = track.program
        letters = program.letters[kind].get(name)
        for place, letter in program.learn(kind, name) if letters is None else letters:
            machine = program.machines[place]
            if machine.machine.effect == "report":
                continue
            keyed = track.keyed[place]
            if keyed is None:
                state = track.states[place]
                if machine.lifetimes[state] and now_ns() - track.since[place] > machine.lifetimes[state]:
                    state = track.states[place] = 0
            else:
                state = _state_of(machine, keyed, _key(machine, name, attempt.arguments))
            if machine.table[state][letter] >= 0:
                continue
            track.announced = attempt.activity
            why = self._violated(agent, track, machine, state, kind, name)
            policy = machine.machine.policy
            if machine.machine.effect == "contain":
                return Decision("contain", why, policy, level=machine.machine.level)
            self.denied[policy] += 1
            return deny(why, policy)
        return ALLOW

    # -- Violations

    def _violated(
        self, agent: Agent, track: Track, machine: Compiled, state: int, kind: Kind, name: str
    ) -> str:
        """Tell of it. Returns why, for people."""
        policy = machine.machine
        self.violations[policy.policy] += 1
        actual = f"{kind} {name[:TEXT_LENGTH]}"
        expected = " or ".join(machine.expected(state)) or "nothing of the kind"
        sequence = [f"{one} {text[:TEXT_LENGTH]}" for one, text in track.recent]
        if not sequence or sequence[-1] != actual:
            sequence.append(actual)
        where = f"in {machine.name_of(state)!r}: {actual}, expected {expected}"
        why = f"{policy.reason}; {where}" if policy.reason else where
        facts = {
            "expected": expected,
            "actual": actual,
            "state": machine.name_of(state),
            "sequence": ", ".join(sequence[-SEQUENCE:]),
        }
        self._governing.report(agent, "violation", actual, "", why, policy.policy, facts)
        return why

    def _contain(self, agent: Agent, machine: Compiled) -> None:
        policy = machine.machine
        if policy.level is not None:
            contain_at_least(agent, policy.level, policy.reason or "it deviates", f"policy {policy.policy}")


class Listener(Tap):
    """Hears the messages of an agent, and looks at its fields after each."""

    def __init__(self, conforming: Conforming, track: Track) -> None:
        self._conforming = conforming
        self._track = track

    def on_begin(self, agent: Agent, message: Any) -> None:
        """It begins to handle a message."""
        said = message if isinstance(message, dict) else getattr(message, "__dict__", NOTHING)
        self._conforming.event(agent, self._track, "message", name_of(message), said)

    def on_end(self, agent: Agent, handled: Handled) -> None:
        """Fields may have other values now."""
        track = self._track
        for name in track.program.fields:
            text = str(getattr(agent, name, None))[:TEXT_LENGTH]
            if track.fields.get(name) != text:
                track.fields[name] = text
                self._conforming.event(
                    agent, track, "state", f"{name}={text}", getattr(agent, "__dict__", NOTHING)
                )


def name_of(message: Any) -> str:
    """What a message is called: a text by itself, a tuple by the text that it begins with, a dict by its `type`, others by their class."""
    if isinstance(message, str):
        return message[:TEXT_LENGTH]
    if isinstance(message, tuple) and message and isinstance(message[0], str):
        return message[0][:TEXT_LENGTH]
    if isinstance(message, dict) and isinstance(message.get("type"), str):
        return str(message["type"])[:TEXT_LENGTH]
    return type(message).__name__


def _key(machine: Compiled, name: str, said: Mapping[str, Any]) -> str:
    per = machine.machine.per
    return name if per == "name" else str(said.get(per, ""))[:TEXT_LENGTH]


def _state_of(machine: Compiled, keyed: OrderedDict[str, tuple[int, int]], key: str) -> int:
    state, since = keyed.get(key, (0, 0))
    if machine.lifetimes[state] and now_ns() - since > machine.lifetimes[state]:
        keyed.pop(key, None)
        return 0
    return state
