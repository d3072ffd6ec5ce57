"""Commands: each at most once, never late, never for another incarnation, never without a record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from observe.audit.log import AuditLog
from observe.audit.reading import read
from observe.probe.commands import DENIALS_PER_MINUTE, KEPT_S, MAX_REMEMBERED, VIEW_S, CommandGate
from observe.probe.errors import Refusal
from observe.probe.keys import KeyHolder, new_key_pair
from observe.probe.scribe import MAX_WAITING, Scribe
from observe.probe.wire_agent import KillArgs

NOW = 1000.0
OPERATOR = KeyHolder("ann", new_key_pair()[0], "operator")
VIEWER = KeyHolder("bob", new_key_pair()[0], "viewer")
DONE = {"done": True, "what": "killed", "pid": 7, "reason": "killed", "took_s": 0.1}


class Scene:
    """A gate with its log, and somebody who carries out what it lets through."""

    def __init__(self, path: Path, sync: Callable[[int], None] = lambda _: None) -> None:
        self.path = path
        self.audit = AuditLog(path, node="shop@host", sync=sync)
        self.now = NOW
        """What the gate's own clock says."""
        self.scribe = Scribe(self.audit)
        self.gate = CommandGate(self.scribe, "i", wall=lambda: self.now)
        self.carried_out: list[Callable[[Any], None]] = []
        self.answers: list[Any] = []
        self.records_when_carried_out: list[list[str]] = []

    def submit(
        self,
        holder: KeyHolder = OPERATOR,
        now: float = NOW,
        verb: str = "kill",
        settle: bool = True,
        **changes: Any,
    ) -> None:
        facts = {
            "agent": 7,
            "incarnation": "i",
            "expires_at": now + 10,
            "command_id": "c1",
            "reason": "stuck",
        }
        args = KillArgs.model_validate(facts | changes)
        self.now = max(now, self.now)
        self.gate.submit(verb, args, holder, {"pid": 7}, now, self._carry_out, self.answers.append)
        if settle:
            self.settle()

    def settle(self) -> None:
        """Let the disk finish."""
        assert self.scribe.settle(20.0)

    def _carry_out(self, done: Callable[[Any], None]) -> None:
        def answer(outcome: Any) -> None:
            done(outcome)
            self.settle()

        self.carried_out.append(answer)
        if len(self.records_when_carried_out) < 10:
            self.records_when_carried_out.append(self.phases())

    def phases(self) -> list[str]:
        return [record.phase for record in read(self.path)[0]]

    def refusal(self) -> Refusal:
        answer = self.answers.pop()
        assert isinstance(answer, Refusal)
        return answer


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "audit.jsonl")
    yield made
    made.scribe.close()


def test_a_command_is_recorded_before_it_is_carried_out_and_after(scene: Scene) -> None:
    """If the machine stops in between, the intent is known."""
    scene.submit()
    assert scene.records_when_carried_out == [["requested"]]
    assert scene.answers == []
    scene.carried_out[0](DONE)
    assert scene.answers == [DONE]
    records, _ = read(scene.path)
    assert [record.phase for record in records] == ["requested", "completed"]
    last = records[-1]
    assert (last.what, last.target, last.reason, last.outcome) == ("kill", {"pid": 7}, "stuck", DONE)
    assert (last.who.key, last.who.name, last.who.role) == (OPERATOR.fingerprint, "ann", "operator")
    assert last.incarnation == "i"


def test_a_repeated_command_is_answered_and_not_carried_out(scene: Scene) -> None:
    """A client that lost the reply asks again, perhaps with a later expiry; the agent must not die twice."""
    scene.submit()
    scene.submit(expires_at=NOW + 20)
    assert len(scene.carried_out) == 1
    scene.carried_out[0](DONE)
    assert scene.answers == [DONE, DONE]
    scene.submit(now=NOW + 100, expires_at=NOW)
    assert scene.answers == [DONE, DONE, DONE]
    assert scene.phases() == ["requested", "completed"]


def test_one_id_for_two_commands_is_a_mistake(scene: Scene) -> None:
    """Answering the second with the first's outcome would be a lie."""
    scene.submit()
    scene.submit(agent=8)
    assert scene.refusal().code == "bad_request"
    assert len(scene.carried_out) == 1


def test_ids_of_different_keys_do_not_meet(scene: Scene) -> None:
    """Or anybody could keep an operator's command from being carried out by using its id first."""
    other = KeyHolder("eve", new_key_pair()[0], "operator")
    scene.submit(other)
    scene.submit()
    assert len(scene.carried_out) == 2


@pytest.mark.parametrize(
    ("changes", "code", "phase"),
    [
        ({"incarnation": "another"}, "stale", "denied"),
        ({"expires_at": NOW - 0.1}, "expired", "expired"),
        ({"expires_at": NOW + 31}, "bad_request", "denied"),
        ({"holder": VIEWER}, "forbidden", "denied"),
        ({"holder": VIEWER, "incarnation": "another"}, "forbidden", "denied"),
    ],
)
def test_what_may_not_be_done_is_refused_and_recorded(
    scene: Scene, changes: dict[str, Any], code: str, phase: str
) -> None:
    """Who tried is as interesting as who did."""
    scene.submit(**changes)
    assert scene.refusal().code == code
    assert scene.carried_out == []
    assert scene.phases() == ["requested", phase]
    outcome = read(scene.path)[0][-1].outcome
    assert outcome is not None
    assert outcome["code"] == code


def test_a_refused_id_can_be_used_again(scene: Scene) -> None:
    """It was not carried out, so the retry with the right incarnation is not a repetition."""
    scene.submit(incarnation="another")
    scene.submit()
    assert len(scene.carried_out) == 1


def test_a_failure_is_recorded_as_one(scene: Scene) -> None:
    scene.submit()
    scene.carried_out[0](Refusal("no_such_agent", "gone"))
    assert scene.refusal().code == "no_such_agent"
    assert scene.phases() == ["requested", "failed"]
    scene.submit(command_id="c2")
    scene.carried_out[1](DONE | {"done": False})
    assert scene.phases()[2:] == ["requested", "failed"]


def test_an_answer_after_the_time_out_is_recorded_too(scene: Scene) -> None:
    """The log must not say "failed" of an agent that was killed after all."""
    scene.submit()
    scene.carried_out[0](Refusal("node_timeout", "no answer"))
    scene.carried_out[0](DONE)
    assert len(scene.answers) == 1
    records, _ = read(scene.path)
    assert [record.phase for record in records] == ["requested", "failed", "completed"]
    assert records[-1].outcome == DONE | {"late": True}
    scene.submit()
    assert scene.answers[-1] == DONE


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    """No action without a record."""

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    scene = Scene(tmp_path / "audit.jsonl", broken)
    scene.submit()
    refusal = scene.refusal()
    assert refusal.code == "refused"
    assert "No space left" in refusal.message
    assert scene.carried_out == []
    scene.scribe.close()


def test_without_a_log_nothing_is_done(scene: Scene) -> None:
    scribe = Scribe(None)
    scene.gate = CommandGate(scribe, "i")
    scene.submit()
    assert scene.refusal().code == "refused"
    assert scene.carried_out == []
    scribe.close()


def test_an_outcome_that_cannot_be_recorded_is_still_told(tmp_path: Path) -> None:
    """The agent is dead: telling the operator otherwise would be worse than a log without its second half."""
    full = False

    def sync(_: int) -> None:
        if full:
            raise OSError(28, "No space left on device")

    scene = Scene(tmp_path / "audit.jsonl", sync)
    scene.submit()
    full = True
    scene.carried_out[0](DONE)
    assert scene.answers == [DONE]
    scene.scribe.close()


class SlowDisk:
    """A disk that writes nothing until it is told to."""

    def __init__(self, path: Path) -> None:
        self.writes = threading.Event()
        self.scene = Scene(path, self._sync)

    def _sync(self, _: int) -> None:
        self.writes.wait(20.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writes.set()
        self.scene.scribe.close(20.0)


def test_a_slow_disk_delays_the_command_and_not_its_caller(tmp_path: Path) -> None:
    """The probe's loop goes on serving everybody else; the order of intent and deed stays."""
    with SlowDisk(tmp_path / "audit.jsonl") as disk:
        scene = disk.scene
        scene.submit(settle=False)
        scene.submit(settle=False)
        scene.submit(VIEWER, settle=False, command_id="c2")
        scene.scribe.deliver()
        assert (scene.carried_out, scene.answers) == ([], [])
        assert scene.scribe.statistics() == {"records_waiting": 2}
        disk.writes.set()
        scene.settle()
        assert len(scene.carried_out) == 1
        assert scene.refusal().code == "forbidden"
        scene.carried_out[0](DONE)
        assert scene.answers == [DONE, DONE]


def test_a_command_that_expired_while_the_disk_was_slow_is_not_carried_out(tmp_path: Path) -> None:
    """Whoever sent it has been told long since that nobody answered, and does something else."""
    with SlowDisk(tmp_path / "audit.jsonl") as disk:
        scene = disk.scene
        scene.submit(settle=False)
        scene.now = NOW + 11
        disk.writes.set()
        scene.settle()
        assert scene.refusal().code == "expired"
        assert scene.carried_out == []
        assert scene.phases() == ["requested", "expired"]


def test_intents_that_wait_for_the_disk_are_bounded(tmp_path: Path) -> None:
    with SlowDisk(tmp_path / "audit.jsonl") as disk:
        for number in range(MAX_WAITING + 1):
            disk.scene.submit(settle=False, command_id=f"c{number}")
        assert disk.scene.refusal().code == "refused"
        assert disk.scene.scribe.statistics() == {"records_waiting": MAX_WAITING}


def test_denials_of_one_key_cannot_fill_the_disk(scene: Scene) -> None:
    for number in range(DENIALS_PER_MINUTE + 10):
        scene.submit(VIEWER, command_id=f"c{number}")
    assert scene.refusal().code == "busy"
    assert len(scene.phases()) == 2 * DENIALS_PER_MINUTE
    scene.submit(OPERATOR)
    assert len(scene.carried_out) == 1
    scene.submit(VIEWER, now=NOW + 61)
    assert scene.refusal().code == "forbidden"


def test_a_command_is_never_forgotten_before_it_has_expired(scene: Scene) -> None:
    """Forgetting one early would let its repetition be carried out."""
    for number in range(MAX_REMEMBERED):
        scene.submit(command_id=f"c{number}")
        scene.carried_out.pop()(DONE)
    scene.answers.clear()
    scene.submit(command_id="one more")
    assert scene.refusal().code == "busy"
    scene.submit(command_id="c0")
    assert scene.answers == [DONE]
    scene.submit(command_id="one more", now=NOW + 60)
    assert len(scene.carried_out) == 1


def test_what_has_long_expired_is_forgotten_without_need(scene: Scene) -> None:
    """A node that is commanded now and then must not remember the commands of days; one that still runs stays."""
    scene.submit(command_id="runs on")
    for number in range(10):
        scene.submit(command_id=f"c{number}")
        scene.carried_out.pop()(DONE)
    scene.submit(command_id="c0", now=NOW + KEPT_S)  # it expired ten minutes ago, not longer
    assert scene.answers.pop() == DONE
    for number in range(3):
        scene.submit(command_id=f"later {number}", now=NOW + KEPT_S + 20)
    assert scene.gate.statistics() == {"remembered": 4, "running": 4, "looks": 0}
    assert len(scene.carried_out) == 4


def test_who_looked_at_what_is_remembered_for_ten_minutes(scene: Scene) -> None:
    for pid in range(20):
        scene.gate.viewed("inspect", OPERATOR, {"pid": pid}, NOW)
    for pid in range(100, 104):
        scene.gate.viewed("inspect", OPERATOR, {"pid": pid}, NOW + VIEW_S)
    assert scene.gate.statistics()["looks"] == 4
