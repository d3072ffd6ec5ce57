"""Findings about what only the service can see, with a real service that falls ill; and leaks, by a clock of the test's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.allowed import Allowed
from observe.probe.buckets import bucket, bucket_end_us
from observe.probe.checks_waiting import find_circles
from observe.probe.client import connect
from observe.probe.diagnosis import checks
from observe.probe.doings import Doings
from observe.probe.finding_names import NAMES
from observe.probe.frames import ConcernFrame, CrashFrame, DurationsFrame, FindingFrame, VitalsFrame
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire import Held
from observe.probe.wire_base import Frame
from observe.runtime import Node
from tests.probe.fake_service import FakeService
from tests.probe.live import LiveService, eventually, private_runtime
from tests.probe.patience import eventually as soon
from tests.probe.test_findings import Patient, of_check


@pytest.fixture
def ward(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveService]:
    with (
        private_runtime(monkeypatch) as runtime,
        LiveService(runtime, "ward", script="ailing_service.py", tick_s=0.05) as service,
    ):
        yield service


async def begins(node: Any, check: str) -> StandingFinding:
    found = await eventually(lambda: of_check(node, check), what=check)
    assert found is not None
    assert found.advice
    return found


async def ends(node: Any, check: str) -> None:
    await eventually(lambda: of_check(node, check), lambda one: one is None, f"the end of {check}")


async def test_agents_that_call_each_other_are_a_cycle_that_is_shown_until_one_is_killed(
    ward: LiveService,
) -> None:
    async with connect("ward", timeout_s=10.0) as node:
        ward.do("cast", "left", ["right", "left"])  # right is to call left, which waits for right
        found = await begins(node, "waiting_cycle")
        left, right = (await node.inspect("left")).agent["pid"], (await node.inspect("right")).agent["pid"]
        assert found.text == (
            f"2 agents wait for each other: left (pid {left}) → right (pid {right}) → left (pid {left})"
        )
        assert found.evidence["cycle"] == [f"left (pid {left})", f"right (pid {right})"]
        shown = await node.agents(filter=found.filter)
        assert {row["name"] for row in shown.as_dicts()} == {"left", "right"}
        ward.do("kill", "left")
        await ends(node, "waiting_cycle")


async def test_same_calls_spending_large_checkpoints_and_dead_letters_are_told_and_over(
    ward: LiveService,
) -> None:
    async with connect("ward", timeout_s=10.0) as node:
        ward.do("cast", "repeater", 4)
        ward.do("cast", "spender", 799)
        ward.do("cast", "keeper", 1000)
        ward.do("letters", 19)
        await eventually(node.vitals, lambda vitals: vitals.rate > 0)
        ward.do("cast", "repeater", 3)
        call = await begins(node, "same_call")
        assert "repeater" in call.text
        assert call.evidence == {"call": "tool:search {'query': 'mug', 'page': [1]}", "times": 7}
        assert {one.check for one in (await node.findings()).findings} == {"same_call"}

        ward.do("cast", "spender", 21)
        ward.do("cast", "keeper", 2_000_000)
        ward.do("letters", 5)
        spending = await begins(node, "budget_nearly_spent")
        assert spending.evidence == {"limit": "tokens", "used": 820.0, "allowed": 1000.0}
        large = await begins(node, "checkpoint_large")
        assert large.evidence["bytes"] >= 2_000_000
        letters = await begins(node, "dead_letters")
        assert (letters.count, letters.evidence["to"]) == (24, {"nobody": 5})

        ward.do("cast", "keeper", 10)
        ward.do("kill", "spender")
        ward.do("kill", "repeater")
        for check in ("checkpoint_large", "budget_nearly_spent", "same_call"):
            await ends(node, check)


async def test_what_takes_many_times_as_long_as_usual_is_stuck_long_before_a_minute(
    ward: LiveService,
) -> None:
    async with connect("ward", timeout_s=10.0) as node:
        for _ in range(120):
            ward.do("cast", "quick", 0)
        ward.do("cast", "quick", 60)
        stuck = await begins(node, "stuck")
        assert "tool:lookup" in stuck.text
        assert stuck.evidence["seconds"] < 60
        assert stuck.evidence["p99_s"] < 1.0


async def test_what_is_on_the_allow_list_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    allow = ["same_call:tool:search", "budget_nearly_spent:Spender", "checkpoint_large"]
    with (
        private_runtime(monkeypatch) as runtime,
        LiveService(runtime, "ward", script="ailing_service.py", tick_s=0.05, findings_allow=allow) as ward,
    ):
        async with connect("ward", timeout_s=10.0) as node:
            ward.do("cast", "repeater", 7)
            ward.do("cast", "spender", 900)
            ward.do("cast", "keeper", 2_000_000)
            ward.do("letters", 30)  # of what is told last, the others are known
            await begins(node, "dead_letters")
            assert [one.check for one in (await node.findings()).findings] == ["dead_letters"]


def test_a_subscriber_that_does_not_read_is_a_slow_consumer_until_it_goes_on() -> None:
    with FakeService() as service:
        service.start()
        service.shop()
        service.vitals(agents=4)
        client, slow = service.synced_client(), service.client()
        sub = slow.ok("watch", {"what": "agents", "interval_s": 0.05, "credit": 1})["sub"]

        def told() -> list[dict[str, Any]]:
            found = client.ok("findings")["findings"]
            return [one for one in found if one["check"] == "slow_consumer"]

        (found,) = soon(told, "a slow consumer")
        assert "(agents)" in found["text"]
        assert found["evidence"]["left_out"] >= 10
        slow.ok("credit", {"sub": sub, "n": 1000})
        soon(lambda: not told(), "its end")


# -- by a clock of the test's -------------------------------------------------------------------------------------------


def vitals(**facts: int) -> VitalsFrame:
    told = [name for name, one in VitalsFrame.model_fields.items() if one.default is not None]
    return VitalsFrame.model_validate(dict.fromkeys(told, 0) | {"seq": 1} | facts)


def test_memory_that_only_grows_while_the_agents_do_not_is_a_leak() -> None:
    patient = Patient()
    patient.agent(1)
    stands = []
    for second in range(600):
        patient.picture.vitals.memory = 100_000_000 + second * 1_000_000
        stands.append("leaks_memory" in patient.looks(1))
    assert (stands[359], stands[-1]) == (False, True)
    found = next(one for one in patient.standing.statement()["findings"] if one["check"] == "leaks_memory")
    assert found["evidence"]["bytes_a_minute"] == 60_000_000
    patient.picture.vitals.memory = 100_000_000
    assert "leaks_memory" not in patient.looks(4)


@pytest.mark.parametrize("growth", ["comes and goes", "with the agents", "a little"])
def test_memory_that_grows_for_a_reason_is_no_leak(growth: str) -> None:
    patient = Patient()
    for second in range(600):
        memory = 500_000_000
        if growth == "comes and goes":
            memory += (second % 100) * 5_000_000
        elif growth == "with the agents":
            memory += second * 1_000_000
            patient.agent(second + 1)
        else:
            memory += second * 10_000
        patient.picture.vitals.memory = memory
        assert patient.looks(1) == []


def test_tasks_that_only_grow_are_a_leak() -> None:
    patient = Patient()
    patient.agent(1)
    for second in range(480):
        patient.picture.vitals.take(vitals(tasks=100 + 5 * second))
        patient.looks(1)
    (found,) = patient.standing.statement()["findings"]
    assert (found["check"], found["evidence"]["before"]) == ("leaks_tasks", 400)


def test_one_failure_that_led_to_others_is_named_as_their_cause() -> None:
    """A circle of waiting agents fills a mailbox of one of them; another mailbox is full for a reason of its own."""
    patient = Patient()
    patient.agent(1, mailbox=500)
    patient.agent(2, mailbox=400)
    patient.picture.waits = {1: 2, 2: 1}
    patient.looks(8)
    found = {one["check"]: one for one in patient.standing.statement()["findings"]}
    assert found["mailbox_grows"]["cause"].startswith("waiting_cycle: 2 agents wait for each other")
    assert found["waiting_cycle"]["cause"] == ""

    patient = Patient()
    patient.agent(1)
    patient.agent(2)
    patient.agent(3, mailbox=500)
    patient.picture.waits = {1: 2, 2: 1}
    patient.looks(8)
    found = {one["check"]: one for one in patient.standing.statement()["findings"]}
    assert found["mailbox_grows"]["cause"] == ""


def test_agents_that_are_stuck_for_reasons_of_their_own_are_told_apart() -> None:
    """The cause of some is not told as that of all, and how they wait is told of each kind."""
    patient = Patient()
    patient.agent(1, activity=2, for_s=100)
    patient.agent(2, activity=2, for_s=90)
    patient.agent(3, activity=1, for_s=500)
    patient.picture.waits = {1: 2, 2: 1}
    patient.looks(8)
    found = {one["check"]: one for one in patient.standing.statement()["findings"]}
    assert found["stuck"]["evidence"]["kinds"] == {"Session in tool:search": 2, "Session in Session": 1}
    assert "they are in 2 kinds of wait" in found["stuck"]["text"]
    assert found["stuck"]["cause"].startswith("of 2 of 3: waiting_cycle: 2 agents wait")


def test_a_scheduler_that_was_held_for_a_moment_is_not_why_somebody_has_waited_for_a_minute() -> None:
    patient = Patient()
    patient.agent(1, activity=2, for_s=90)
    frame = Frame(file="shop.py", line=3, function="handle", source="while True:")
    patient.picture.held = Held.from_wire(
        {"pid": 7, "class": "Session", "since_s": 1.0, "where": "python", "stack": [frame.to_wire()]}
    )
    patient.looks(4)
    found = {one["check"]: one["cause"] for one in patient.standing.statement()["findings"]}
    assert found == {"holds_scheduler": "", "stuck": ""}
    patient.looks(50)
    found = {one["check"]: one["cause"] for one in patient.standing.statement()["findings"]}
    assert found["stuck"].startswith("holds_scheduler:")


def test_what_the_runtime_has_found_itself_is_in_the_same_list_until_it_is_over() -> None:
    patient = Patient()
    patient.agent(1)
    fields = {
        "seq": 1,
        "at": 5.0,
        "kind": "long_step",
        "pid": 1,
        "text": "it computes",
        "stack": ["spin a.py:1"],
    }
    patient.picture.troubles.found(FindingFrame.model_validate(fields))
    assert patient.looks(1) == ["long_step"]
    assert patient.standing.statement()["findings"][0]["evidence"] == {"stack": ["spin a.py:1"]}
    assert patient.events == []  # the service has told that already
    patient.picture.troubles.found(FindingFrame.model_validate(fields | {"cleared": True}))
    assert patient.looks(4) == []


def test_a_concern_of_an_agent_that_is_gone_is_none() -> None:
    patient = Patient()
    patient.agent(1)
    frame = {"seq": 1, "at": 0.0, "kind": "same_call", "pid": 1, "amount": 7.0, "text": "tool:search {}"}
    patient.picture.troubles.concern(ConcernFrame.model_validate(frame))
    assert patient.looks(1) == ["same_call"]
    patient.picture.table.exit(1, (1).to_bytes(8, "little"))
    assert patient.looks(4) == []


def test_circles_are_found_whoever_waits_for_them() -> None:
    waits = {9: 1, 1: 2, 2: 3, 3: 1, 5: 5, 7: 8}
    assert sorted(find_circles(waits)) == [[1, 2, 3], [5]]
    assert find_circles({number: number + 1 for number in range(5000)}) == []


def test_the_usual_duration_needs_a_hundred_and_fades() -> None:
    doings = Doings()

    def took(duration_us: int, times: int) -> None:
        entry = {"class": "A", "activity": "tool:x", "counts": [bucket(duration_us), times]}
        doings.take(DurationsFrame.model_validate({"seq": 1, "entries": [entry]}))

    took(1000, 99)
    assert doings.p99_s("A", "tool:x") is None
    took(1_000_000, 1)
    assert doings.p99_s("A", "tool:x") == pytest.approx(0.001024)
    took(1_000_000, 1)
    assert doings.p99_s("A", "tool:x") == pytest.approx(1.048576)
    took(10, 100_000)
    assert doings.p99_s("A", "tool:x") == pytest.approx(12e-6)


def test_every_duration_lies_within_its_bucket() -> None:
    for duration in [*range(1, 3000), 10**6, 10**9, 2**40 + 12345]:
        number = bucket(duration)
        assert bucket_end_us(number - 1) <= duration < bucket_end_us(number)


def test_the_allow_list_names_checks_that_exist() -> None:
    assert sorted(check.name for check in checks()) == sorted(NAMES)
    with pytest.raises(ValueError, match=r"'stukc' names no check"):
        Probe(Node("shop"), findings_allow=["stukc"])
    allowed = Allowed(["stuck", "mailbox_grows: Import*"])
    assert allowed.checks == {"stuck"}
    assert allowed.names("mailbox_grows", None, "Importer")
    assert not allowed.names("stuck", "Importer")


def test_an_agent_of_a_class_on_the_list_is_left_out_of_the_count() -> None:
    patient = Patient()
    patient.agent(1, mailbox=1000)
    patient.picture.allowed = Allowed(["mailbox_grows:Session"])
    assert patient.looks(8) == []


def crashed(pid: int, name: str) -> CrashFrame:
    fields = {"at": time.time(), "pid": pid, "name": name, "class": "Payer", "child": name, "supervisor": 0}
    text = {"reason": "ValueError: no", "kind": "ValueError", "traceback": "", "fingerprint": "f"}
    return CrashFrame.model_validate(fields | text | {"seq": 1})


@pytest.mark.parametrize(
    ("target", "because"), [("payer", "one_cause: ValueError: no"), ("Payer 7", "one_cause"), ("nobody", "")]
)
def test_dead_letters_follow_from_crashes_of_whom_they_were_for_and_from_no_others(
    target: str, because: str
) -> None:
    patient = Patient()
    for pid in range(5):
        patient.picture.crashed(crashed(pid, "payer"), 100)
    letters = {"kind": "letters", "amount": 40.0, "text": target, "evidence": {"to": {target: 40}}}
    patient.picture.troubles.concern(ConcernFrame.model_validate({"seq": 1, "at": 0.0, "pid": 0} | letters))
    patient.looks(3)
    found = {one["check"]: one for one in patient.standing.statement()["findings"]}
    assert found["dead_letters"]["cause"].startswith(because)
    assert bool(found["dead_letters"]["cause"]) == bool(because)
