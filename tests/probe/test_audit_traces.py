"""From a trace to the audit log and back: records name the trace, and its spans name the records."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from observe.audit.reading import read
from observe.audit.record import Record
from observe.console.cli import main
from observe.probe import Probe, connect
from observe.runtime import Agent, Node
from observe.runtime.decisions import ALLOW, Attempt, Decision, deny
from observe.runtime.errors import Denied
from observe.tracing import setup
from observe.tracing.far import _OF
from tests.probe.live import eventually, private_runtime, until
from tests.tracing.receiver import Receiver, attributes


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Clerk(Agent):
    """Pays, and then waits for long."""

    audited = ("paid",)
    paid: int = 0

    async def handle(self, message: Any) -> None:
        with contextlib.suppress(Denied):
            async with self.activity(f"tool:{message}"):
                self.paid += 1
                if message == "wait":
                    await asyncio.sleep(60)


class Holder(Agent):
    """Waits long enough for its span to be told of, then lets nobody else run."""

    async def handle(self, message: Any) -> None:
        async with self.activity("tool:hold"):
            await asyncio.sleep(1.0)
            time.sleep(60)  # noqa: ASYNC251  # it holds its worker: that is the point


class Refunds:
    """Allows one thing by name and denies another."""

    sees_sends = False
    depends_on_time = False

    def judge(self, attempt: Attempt) -> Decision:
        if attempt.name == "tool:refund":
            return deny("more than 100", "refunds")
        return Decision("allow", policy="payments") if attempt.name == "tool:pay" else ALLOW


def events_of(backend: Receiver) -> dict[tuple[str, str], str]:
    """Which span has which event, by the event and the records that it names."""
    return {
        (event.name, attributes(event)["observe.audit.command_id"]): span.trace_id.hex()
        for span in backend.spans
        for event in span.events
        if "observe.audit.command_id" in attributes(event)
    }


async def test_records_name_the_trace_and_its_spans_name_the_records(tmp_path: Path) -> None:
    audit = tmp_path / "audit"

    def found(what: str, phase: str = "completed") -> list[Record]:
        return [one for one in read(audit)[0] if (one.what, one.phase) == (what, phase)]

    with Receiver() as backend:
        async with Node("shop") as node, Probe(node, audit=audit):
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05):
                node.govern().set_judges((Refunds(),))
                await node.spawn(Clerk, name="clerk")
                node.ref("clerk").cast("pay")
                await until(lambda: found("governed_activity"))
                node.ref("clerk").cast("refund")
                await until(lambda: found("governed_activity", "denied"))
                node.ref("clerk").cast("wait")
                async with connect("shop", timeout_s=20.0) as client:
                    await eventually(client.agents, lambda page: page.matched > 1)
                    await until(lambda: _waits(node))
                    acted = await client.send("clerk", "pay", reason="looks odd")
                    await client.kill("clerk", "ends it")
                    await until(lambda: found("kill") and found("state"))
        events = events_of(backend)
        [allowed], [sent], [killed] = found("governed_activity"), found("send"), found("kill")
        [denied] = found("governed_activity", "denied")
        assert (acted.trace, len(acted.span)) == (sent.trace, 16)
        assert killed.trace == sent.trace != allowed.trace
        assert events[("observe.governed", allowed.command_id)] == allowed.trace
        for name, record in (("observe.command", sent), ("observe.command", killed)):
            assert events[(name, record.command_id)] == record.trace
        # Denied before anything had begun: there was no span, and the next one tells of it.
        assert events[("observe.denied", denied.command_id)] == killed.trace
        spans = {(span.trace_id.hex(), span.span_id.hex()) for span in backend.spans}
        for one in (allowed, sent, killed, *found("state")):
            assert one.outcome is not None
            assert (one.trace, one.outcome["span"]) in spans
        search = ["audit", "search", str(audit), "--trace", sent.trace[:12], "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, main, search)  # it has a loop of its own
        records = [Record.from_line(line.encode()) for line in done.stdout.splitlines()]
        assert [(one.what, one.phase) for one in records if one.what in ("send", "kill")] == [
            (what, phase) for what in ("send", "kill") for phase in ("requested", "completed")
        ]
        assert all(one.trace in ("", sent.trace) for one in records)


async def test_so_it_is_with_agents_in_worker_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their spans are made and exported there. One that holds its worker answers nobody; its trace is known all the same."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))  # a worker imports its agents as we do
    audit = tmp_path / "audit"

    def found(what: str, name: str) -> list[Record]:
        records = read(audit)[0] if audit.exists() else []
        return [
            one for one in records
            if (one.what, one.phase, one.target.get("name")) == (what, "completed", name)
        ]  # fmt: skip

    with Receiver() as backend:
        async with Node("shop", workers=1) as node, Probe(node, audit=audit):
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05):
                await node.spawn(Clerk, name="far", isolation="worker")
                await node.spawn(Holder, name="holder", isolation="process")
                async with connect("shop", timeout_s=20.0) as client:
                    await eventually(client.agents, lambda page: page.matched > 2)
                    await client.contain("far", "monitored")
                    node.ref("far").cast("wait")
                    await until(lambda: found("governed_begin", "far") and _is_told(node, "Clerk"))
                    acted = await client.send("far", "pay", reason="looks odd")
                    await until(lambda: found("send", "far"))
                    await client.kill("far", "ends it")
                    node.ref("holder").cast("hold")
                    await until(lambda: _is_told(node, "Holder"))
                    await client.kill("holder", "holds its worker")
                    await until(lambda: found("kill", "far") and found("kill", "holder"))
                    [sent] = found("send", "far")
                    name = ("observe.command", sent.command_id)
                    await until(lambda: events_of(backend).get(name) == sent.trace)
        [begun], [killed] = found("governed_begin", "far"), found("kill", "far")
        assert begun.trace == sent.trace == killed.trace == acted.trace != ""
        [held] = found("kill", "holder")
        spans = {(span.trace_id.hex(), span.span_id.hex()) for span in backend.spans}
        for one in (begun, sent, killed, held):
            assert one.outcome is not None
            assert (one.trace, one.outcome["span"]) in spans


def _is_told(node: Node, class_name: str) -> bool:
    """Whether a worker has told that an agent of this class has an open span: however busy it is, that is known from then on."""
    workers = _OF[node]._spans._workers.values()
    return any(
        span["name"] == f"invoke_agent {class_name}" for worker in workers for span in worker.open.values()
    )


def _waits(node: Node) -> bool:
    return any(one.name == "tool:wait" for one in node.control.find("clerk")._o_activities or ())
