"""The watchdog: who overruns its slice is named while it does, once, and cleared when it is over."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from observe.runtime import Agent, Finding, Instrument, Node
from observe.runtime.findings import BURST, QUIET_S, Findings
from observe.runtime.testing import Recorder, eventually


class Holds(Agent):
    """Holds the scheduler until it is let go."""

    go = threading.Event()

    def handle(self, message: Any) -> None:
        self.inner(message)

    def inner(self, message: Any) -> None:
        while not self.go.wait(0.001):
            pass


class Lets(Instrument):
    """Lets the agent go as soon as somebody has been told of it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.threads: list[str] = []

    def on_finding(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.threads.append(threading.current_thread().name)
        Holds.go.set()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    Holds.go.clear()
    async with Node("test", watchdog_s=0.02) as node:
        yield node


async def test_an_overrun_is_named_with_its_live_stack_while_it_lasts(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """At 3 a.m.: which agent, in which line, and since when; told although the scheduler can tell nothing."""
    lets = Lets()
    node.instruments.add(lets)
    ref = await node.spawn(Holds, name="holder")
    with caplog.at_level(logging.INFO, "observe.runtime"):
        await ref.call(1, timeout=30)
        await eventually(lambda: len(lets.findings) == 2)
    told, cleared = lets.findings
    assert (told.kind, told.pid, told.name, told.class_name) == (
        "holds_scheduler",
        ref.pid,
        "holder",
        "Holds",
    )
    assert told.text.startswith(f"Holds {ref.pid} (holder) has held the scheduler for ")
    assert [frame.function for frame in told.stack][:2] == ["handle", "inner"]
    assert (told.count, told.cleared, cleared.cleared) == (1, False, True)
    assert cleared.since == told.since
    assert "is free again" in cleared.text
    assert set(lets.threads) == {"observe:watchdog"}
    assert node.findings.standing == []
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "in inner, " in warnings[0] or "in wait, " in warnings[0]


async def test_a_hosted_step_is_watched_too(node: Node) -> None:
    """A step that has waited before runs from the event loop, not from a drain."""

    class Waits(Holds):
        async def handle(self, message: Any) -> None:  # type: ignore[override]  # the base's is a plain function
            await asyncio.sleep(0)
            self.inner(message)

    lets = Lets()
    node.instruments.add(lets)
    ref = await node.spawn(Waits)
    await ref.call(1, timeout=30)
    assert lets.findings[0].pid == ref.pid


async def test_an_init_is_watched_too(node: Node) -> None:
    class Starts(Holds):
        def init(self) -> None:
            self.inner(0)

    lets = Lets()
    node.instruments.add(lets)
    ref = await node.spawn(Starts)
    assert lets.findings[0].pid == ref.pid


async def test_a_busy_node_whose_agents_keep_to_their_slices_has_no_findings(node: Node) -> None:
    """A scheduler may be busy for ever; what counts is one slice."""

    class Works(Agent):
        def init(self) -> None:
            self.count = 0

        def handle(self, message: Any) -> int:
            self.count += 1
            return self.count

    recorder = Recorder.on(node)
    refs = [await node.spawn(Works) for _ in range(10)]
    end = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < end:
        for ref in refs:
            for _ in range(20):
                ref.cast(1)
        await asyncio.sleep(0)
    # A machine that stops for 20 ms stops our slice as well; that it is the rule would be the fault.
    assert recorder.kinds.count("finding") <= 4


async def test_a_node_without_a_watchdog_has_no_thread() -> None:
    async with Node("quiet", watchdog_s=None):
        assert "observe:watchdog" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("wrong", [0, -1.0])
def test_a_wrong_limit_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="watchdog_s must be more than 0"):
        Node("wrong", watchdog_s=wrong)


async def test_the_thread_ends_with_the_node_and_with_its_loop() -> None:
    """Nodes come and go in tests; a service that forgets to stop its node leaves no thread either."""

    def watchdogs() -> int:
        return sum(thread.name == "observe:watchdog" for thread in threading.enumerate())

    before = watchdogs()
    async with Node("brief", watchdog_s=0.01):
        assert watchdogs() == before + 1
    assert watchdogs() == before

    def forgetful() -> None:
        async def main() -> None:
            await Node("forgotten", watchdog_s=0.01).start()

        asyncio.run(main())

    await asyncio.to_thread(forgetful)
    await eventually(lambda: watchdogs() == before)


class Hears(Instrument):
    def __init__(self) -> None:
        self.heard: list[tuple[int, int, bool]] = []

    def on_finding(self, finding: Finding) -> None:
        self.heard.append((finding.pid, finding.count, finding.cleared))


async def test_what_comes_back_again_and_again_is_told_once_and_counted(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that overruns at each message is one line in ten seconds, with a number."""
    now = [1_000_000_000_000]
    monkeypatch.setattr("observe.runtime.findings.now_ns", lambda: now[0])
    hears = Hears()
    node.instruments.add(hears)
    agent = node.agents[(await node.spawn(Holds)).pid]
    findings = Findings(node.instruments)
    for _ in range(5):
        for _ in range(3):
            findings.observe("holds_scheduler", agent, "it holds", 0.0)
        findings.clear("holds_scheduler", agent, "over")
    pid = agent.ref.pid
    assert hears.heard == [(pid, 1, False), (pid, 1, True)]
    now[0] += int((QUIET_S + 1) * 1e9)
    findings.observe("holds_scheduler", agent, "it holds", 0.0)
    assert hears.heard[2:] == [(pid, 6, False)]


async def test_an_overrun_that_began_in_the_quiet_time_is_told_when_that_is_over(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rate limiting must not hide an endless loop for ever."""
    now = [1_000_000_000_000]
    monkeypatch.setattr("observe.runtime.findings.now_ns", lambda: now[0])
    hears = Hears()
    node.instruments.add(hears)
    agent = node.agents[(await node.spawn(Holds)).pid]
    findings = Findings(node.instruments)
    findings.observe("holds_scheduler", agent, "it holds", 0.0)
    findings.clear("holds_scheduler", agent, "over")
    assert not findings.observe("holds_scheduler", agent, "it holds", 0.0)
    now[0] += int((QUIET_S + 1) * 1e9)
    assert findings.observe("holds_scheduler", agent, "it holds", 0.0)
    assert hears.heard[-1] == (agent.ref.pid, 2, False)


async def test_a_thousand_agents_that_overrun_at_once_are_a_few_lines_and_a_count(node: Node) -> None:
    hears = Hears()
    node.instruments.add(hears)
    findings = Findings(node.instruments)
    for _ in range(BURST + 30):
        findings.observe("holds_scheduler", node.agents[(await node.spawn(Holds)).pid], "it holds", 0.0)
    assert len(hears.heard) == BURST
    assert findings.suppressed == 30
