"""The node diagnoses itself: each check with a node that has the illness, and silence about one that is healthy."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe.client import connect
from observe.probe.condition import Check, Condition
from observe.probe.config import Config
from observe.probe.diagnosis import checks
from observe.probe.frames import CrashFrame
from observe.probe.picture import Picture, monotonic_us
from observe.probe.standing import Standing
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire import Held
from observe.probe.wire_base import Frame
from tests.probe.live import LiveService, eventually, private_runtime

LIVE = {"holds_scheduler", "blocks", "one_cause", "restart_loop", "mailbox_grows"}
"""Illnesses that a test's service can have within seconds."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveService]:
    with private_runtime(monkeypatch) as runtime, LiveService(runtime) as service:
        yield service


async def of_check(node: Any, check: str) -> StandingFinding | None:
    found = await node.findings()
    return next((one for one in found.findings if one.check == check), None)


async def test_a_real_node_says_what_is_wrong_with_it_and_that_it_is_over(service: LiveService) -> None:
    """One after the other: it holds its scheduler, sleeps on it, crashes in a loop, does not keep up."""
    async with connect("shop", timeout_s=10.0) as node:
        events = await node.watch_events(interval_s=0.05)
        await eventually(node.agents, lambda page: page.total == 7)
        service.tell("cast", "holder", ["python", 4.0])
        held = await eventually(lambda: of_check(node, "holds_scheduler"))
        assert held is not None
        assert held.filter == f"pid={held.pid}"
        await eventually(
            lambda: of_check(node, "holds_scheduler"),
            lambda one: one is not None and any("spin_in_python" in frame for frame in one.evidence["stack"]),
        )
        service.read()
        told = [event async for push in _until(events, "over: ") for event in push if event.kind == "finding"]
        assert told[0].reason == "holds_scheduler"
        assert told[-1].text.startswith("over: ")
        await eventually(lambda: of_check(node, "holds_scheduler"), lambda one: one is None)

        for _ in range(6):
            service.do("cast", "waiter-0", "crash")
        loop = await eventually(lambda: of_check(node, "restart_loop"))
        cause = await eventually(lambda: of_check(node, "one_cause"))
        assert loop is not None
        assert cause is not None
        assert "asked to" in loop.cause
        assert (cause.cause, cause.count >= 5) == (loop.cause, True)

        service.do("cast", "waiter-1", 60)
        for _ in range(120):
            service.do("cast", "waiter-1", "count")
        grows = await eventually(lambda: of_check(node, "mailbox_grows"))
        assert grows is not None
        assert "waiter-1" in grows.text
        assert grows.advice


async def _until(watch: Any, text: str) -> Any:
    async for push in watch:
        yield push.data.events
        if any(text in event.text for event in push.data.events):
            return


async def test_c_code_that_keeps_the_lock_blocks(service: LiveService) -> None:
    async with connect("shop", timeout_s=10.0) as node:
        await eventually(node.agents, lambda page: page.total == 7)
        service.tell("cast", "holder", ["c", 4e8])
        blocks = await eventually(lambda: of_check(node, "blocks"))
        assert blocks is not None
        assert "holder" in blocks.text


async def test_a_healthy_node_has_nothing_to_say(service: LiveService) -> None:
    """Busy, with an agent that waits and one that crashed once: that is a usual day."""
    async with connect("shop", timeout_s=10.0) as node:
        await eventually(node.agents, lambda page: page.total == 7)
        service.do("cast", "waiter-0", 60)
        service.do("cast", "waiter-1", "crash")
        for _ in range(50):
            service.do("cast", "waiter-2", "count")
        await eventually(lambda: node.crashes(), lambda crashes: crashes.total == 1)
        begun = (await node.vitals()).at
        await eventually(node.vitals, lambda vitals: vitals.at > begun + 3)
        found = await node.findings()
        # A loaded machine may hold up the loop of any process; that would be no false alarm.
        assert [one.text for one in found.findings if one.check in LIVE | {"stuck", "orphan"}] == []


# -- illnesses that take a minute, and the rules, on a picture that the test fills -------------------------------------


class Patient:
    """A picture of a node, and its findings."""

    def __init__(self, *, made: list[Check] | None = None, allowed: tuple[str, ...] = ()) -> None:
        self.events: list[dict[str, Any]] = []
        config = Config(
            node="shop", host="h", incarnation="i", pid=1, feed="", control="", directory="", server_public="",
            server_secret="", client_public="", client_secret="",
        )  # fmt: skip
        self.picture = Picture(config, lambda items, _omitted: self.events.extend(items))
        self.picture.table.strings.add(1, ["Session", "tool:search", "wait:approval", "approval:tool:refund"])
        self.standing = Standing(checks=made or checks(), allowed=allowed)
        self.now = 0.0

    def agent(
        self, pid: int, *, supervisor: int = 0, activity: int = 0, for_s: float = 0.0, mailbox: int = 0
    ) -> None:
        table, now_us = self.picture.table, monotonic_us()
        if table.row_of(pid) is None:
            table.spawn(1, array("q", [pid, 1, 0, supervisor, 0, 0, 0]).tobytes(), now_us)
        row = [pid, 4, mailbox, mailbox, 0, 0, now_us, activity, now_us - int(for_s * 1e6)]
        table.update(1, array("q", row).tobytes(), now_us)

    def looks(self, times: int) -> list[str]:
        """The checks that stand after so many seconds."""
        for _ in range(times):
            self.now += 1.0
            self.standing.look(self.picture, self.now, time.time())
        return [one["check"] for one in self.standing.statement()["findings"]]


def test_an_activity_of_more_than_a_minute_is_stuck_but_not_one_that_is_meant_to_wait() -> None:
    patient = Patient()
    patient.agent(1, activity=3, for_s=3600)
    patient.agent(2, activity=2, for_s=59)
    assert patient.looks(5) == []
    patient.agent(2, activity=2, for_s=75)
    assert patient.looks(5) == ["stuck"]
    assert "tool:search for 75 s" in patient.standing.statement()["findings"][0]["text"]
    patient.agent(2)
    assert patient.looks(5) == []


def test_who_waits_for_a_person_for_more_than_a_minute_is_told_and_is_not_stuck() -> None:
    patient = Patient()
    patient.agent(1, activity=4, for_s=50)
    assert patient.looks(5) == []
    patient.agent(1, activity=4, for_s=75)
    patient.agent(2, activity=4, for_s=61)
    assert patient.looks(5) == ["awaits_approval"]
    [found] = patient.standing.statement()["findings"]
    assert (found["count"], found["pid"], found["filter"]) == (2, 1, "pid=1,2")
    assert "2 agents wait for a person's approval, longest" in found["text"]
    assert "tool:refund for 75 s" in found["text"]


def test_an_agent_without_its_supervisor_is_an_orphan() -> None:
    patient = Patient()
    patient.agent(1)
    patient.agent(2, supervisor=1)
    assert patient.looks(10) == []
    patient.picture.table.exit(1, array("q", [1]).tobytes())
    assert patient.looks(3) == []  # its supervisor may just be ending it
    assert patient.looks(7) == ["orphan"]


def test_a_mailbox_on_its_way_down_does_not_grow() -> None:
    patient = Patient()
    for mailbox in (1000, 900, 800, 700, 600, 500, 400, 300, 200, 150):
        patient.agent(1, mailbox=mailbox)
        assert patient.looks(1) == []


def test_a_sleep_that_is_not_awaited_blocks() -> None:
    patient = Patient()
    frame = Frame(file="shop.py", line=3, function="handle", source="time.sleep(5)")
    patient.picture.held = Held.from_wire(
        {"pid": 7, "class": "Session", "since_s": 1.0, "where": "python", "stack": [frame.to_wire()]}
    )
    assert patient.looks(1) == ["blocks"]


def test_few_crashes_of_one_kind_or_many_of_different_kinds_have_no_one_cause() -> None:
    patient = Patient()

    def crash(fingerprint: str) -> None:
        fields = {
            "at": time.time(),
            "pid": 1,
            "class": "Session",
            "child": "",
            "supervisor": 0,
            "reason": "E",
        }
        frame = CrashFrame.model_validate(
            fields | {"seq": 1, "kind": "E", "traceback": "", "fingerprint": fingerprint}
        )
        patient.picture.crashed(frame, 100)

    for number in range(20):
        crash(str(number))
    for _ in range(4):
        crash("same")
    assert patient.looks(2) == []
    crash("same")
    assert patient.looks(1) == ["one_cause"]


def test_a_finding_lasts_is_told_once_and_cleared_and_flicker_is_not_told_again() -> None:
    state = {"ill": False}
    check = Check("ill", lambda _picture, _now: Condition("ill") if state["ill"] else None, 2.0, "rest")
    patient = Patient(made=[check])
    state["ill"] = True
    assert patient.looks(2) == []
    assert patient.looks(1) == ["ill"]
    state["ill"] = False
    assert patient.looks(2) == ["ill"]
    assert patient.looks(1) == []
    assert [event["text"] for event in patient.events] == ["ill", "over: ill"]
    state["ill"] = True
    assert patient.looks(3) == ["ill"]
    statement = patient.standing.statement()
    assert (statement["begun"], statement["untold"], len(patient.events)) == (2, 1, 2)


def test_a_check_on_the_allow_list_is_silent_and_one_that_fails_leaves_the_others_alone() -> None:
    def fails(_picture: Picture, _now: float) -> Condition | None:
        raise ZeroDivisionError

    made = [Check(name, lambda _p, _n: Condition("x"), 0.0, "") for name in ("quiet", "loud")]
    patient = Patient(made=[Check("broken", fails, 0.0, ""), *made], allowed=("quiet",))
    assert patient.looks(2) == ["loud"]


def test_every_check_is_in_the_document() -> None:
    text = (Path(__file__).parents[2] / "docs" / "findings.md").read_text()
    for check in checks():
        assert f"| `{check.name}` |" in text
        assert check.advice
