"""No trace stays without a root: spans that were open when their node died are ended, once, whoever comes to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from observe.probe.client import NodeClient, connect
from observe.probe.past import Past
from observe.probe.recording import Segment
from observe.probe.taped_traces import read_traces
from tests.probe.live import LiveService, eventually, is_gone, private_runtime, until, wait_until
from tests.tracing.receiver import Receiver, attributes

NAMES = ["chat m", "execute_tool look-up", "invoke_agent Asker"]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def service(runtime: Path, backend: Receiver | str, **settings: Any) -> LiveService:
    endpoint = backend if isinstance(backend, str) else backend.url
    chosen: dict[str, Any] = {"endpoint": endpoint, "tick_s": 0.05, "linger_s": 5.0} | settings
    return LiveService(runtime, script="traced_service.py", **chosen)


@contextlib.asynccontextmanager
async def attached() -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=20.0) as node:
        yield node


async def ask(live: LiveService) -> None:
    """Let the agent ask, until the probe has been told of the call that is open, and knows where spans go."""
    live.do("cast", "asker", "hello")
    await asyncio.sleep(1.0)  # it is not told earlier
    wait_until(lambda: "chat m" in live.do("open")["told"], "the open call is told")
    live.do("cast", "bystander", "what is told comes in order")
    async with attached() as node:
        await eventually(lambda: node.agents(filter="name=bystander handled=1"), lambda page: page.matched)
        await node.inspect("asker")  # answers come in order, too


def kinds(runtime: Path, pattern: str) -> list[str]:
    """Of files below the runtime directory: how their names end."""
    return [path.suffix for path in runtime.rglob(pattern)]


def recorded(directory: Path) -> bool:
    """Whether the flight recorder has the open call."""
    (path,) = directory.glob("*.obsrec")
    return any(b"chat m" in record.payload for record in Segment(path))


def names(backend: Receiver) -> list[str]:
    return sorted(span.name for span in backend.spans)


def check(backend: Receiver, incarnation: str, cause: str) -> None:
    """All spans of one request have arrived, once, and make one whole trace."""
    assert names(backend) == NAMES
    by_name = {span.name: span for span in backend.spans}
    root, chat, tool = (by_name[name] for name in ("invoke_agent Asker", "chat m", "execute_tool look-up"))
    assert not root.parent_span_id
    assert {chat.trace_id, tool.trace_id} == {root.trace_id}
    assert {chat.parent_span_id, tool.parent_span_id} == {root.span_id}
    assert tool.status.code == Status.STATUS_CODE_UNSET
    for span in (root, chat):
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert cause in span.status.message
        assert attributes(span)["error.type"] == "node_death"
        assert attributes(span)["gen_ai.conversation.id"] == "c-17"
        assert span.end_time_unix_nano > span.start_time_unix_nano + 500_000_000
        (event,) = span.events
        assert event.name == "observe.node_death"
    assert chat.kind == Span.SPAN_KIND_CLIENT
    assert attributes(chat)["gen_ai.request.model"] == "m"
    assert {one["service.name"] for one in backend.resources} == {"shop"}
    assert {one["service.instance.id"] for one in backend.resources} == {incarnation}


async def test_after_kill_nine_the_probe_ends_what_was_open(runtime: Path, backend: Receiver) -> None:
    with service(runtime, backend) as live:
        await ask(live)
        wait_until(lambda: names(backend) == ["execute_tool look-up"], "the child that ended is sent")
        async with attached() as node:
            watch = await node.watch_events()
            live.kill()
            await until(lambda: len(backend.spans) == 3, "the others are ended")
            async for push in watch:
                if any("2 spans of the node that died were ended" in one.text for one in push.data.events):
                    break
            (death,) = (await node.deaths()).deaths
            assert [one.name for one in death.open_spans] == ["invoke_agent Asker", "chat m"]
            assert {one.trace_id for one in death.open_spans} == {backend.span("chat m").trace_id.hex()}
            assert death.open_spans[0].agent == "asker"
        check(backend, live.facts["incarnation"], "SIGKILL")
        (event,) = backend.span("chat m").events
        assert attributes(event)["observe.signal"] == signal.SIGKILL


async def test_a_span_that_waited_to_be_sent_keeps_the_end_that_it_had(
    runtime: Path, backend: Receiver
) -> None:
    """The outbox dies with its process."""
    with service(runtime, backend, delay_s=600.0) as live:
        await ask(live)
        assert backend.spans == []
        live.kill()
        wait_until(lambda: len(backend.spans) == 3)
        check(backend, live.facts["incarnation"], "SIGKILL")
        tool, chat = backend.span("execute_tool look-up"), backend.span("chat m")
        assert tool.end_time_unix_nano <= chat.start_time_unix_nano
        assert not kinds(runtime, "ends-*")


async def test_what_the_backend_did_not_take_is_ended_by_the_next_start(
    runtime: Path, backend: Receiver
) -> None:
    with service(runtime, backend) as live:
        await ask(live)
        wait_until(lambda: names(backend) == ["execute_tool look-up"])
        backend.status = 503
        incarnation = live.facts["incarnation"]
        live.kill()
        wait_until(lambda: list(runtime.rglob(f"orphans/{incarnation}.json")), "they are written down")
        backend.status = 200
        os.kill(live.probe_pid, signal.SIGTERM)
        wait_until(lambda: is_gone(live.probe_pid))
        left = kinds(runtime, "orphans/*")
        with service(runtime, backend):
            wait_until(lambda: len(backend.spans) == 3)
            wait_until(lambda: not kinds(runtime, "orphans/*"))
            check(backend, incarnation, "SIGKILL")
        assert left in ([".json"], [])  # the lingering probe may have tried once more in between


async def test_when_the_probe_dies_too_the_flight_recorder_knows(
    runtime: Path, backend: Receiver, tmp_path: Path
) -> None:
    """As when a container is killed whole."""
    with service(runtime, backend, record=str(tmp_path)) as live:
        await ask(live)
        wait_until(lambda: names(backend) == ["execute_tool look-up"])
        wait_until(lambda: recorded(tmp_path), "the recorder has it")
        incarnation = live.facts["incarnation"]
        os.kill(live.probe_pid, signal.SIGSTOP)  # it sees nothing any more
        live.kill()
        os.kill(live.probe_pid, signal.SIGKILL)
        wait_until(lambda: is_gone(live.probe_pid))
        assert names(backend) == ["execute_tool look-up"]
    for _ in range(2):  # and the one after finds nothing more to do
        with service(runtime, backend, record=str(tmp_path)) as next_one:
            wait_until(lambda: len(backend.spans) == 3)
            async with attached() as node:
                await eventually(node.agents, lambda page: page.total)
            next_one.tell("return")
            next_one.wait()
    check(backend, incarnation, "together with its probe")
    taped = read_traces(tmp_path)
    by_name = {span.name: span for span in taped.spans}
    assert sorted(by_name) == NAMES
    assert by_name["chat m"].parent == by_name["invoke_agent Asker"].span_id
    assert by_name["execute_tool look-up"].end is not None
    assert by_name["chat m"].end is None
    past = Past(tmp_path)
    assert any("together with its probe" in mark.text for mark in past.deaths)


async def test_an_end_on_purpose_leaves_nothing_to_be_ended(runtime: Path, backend: Receiver) -> None:
    """The service ends its spans itself."""
    with service(runtime, backend) as live:
        await ask(live)
        live.tell("return")
        live.wait()
        wait_until(lambda: is_gone(live.probe_pid))
    assert names(backend) == NAMES
    assert {attributes(span).get("error.type") for span in backend.spans} != {"node_death"}
    assert not kinds(runtime, "orphans/*")
    assert not kinds(runtime, "ends-*")


async def test_spans_of_its_workers_are_ended_with_a_node_that_dies(runtime: Path, backend: Receiver) -> None:
    """They die with it, and each says of which process it was."""
    with service(runtime, backend, workers=1) as live:
        live.do("cast", "sleeper", "sleep")

        def told() -> Any:
            return "execute_tool sleep" in live.do("open")["far"]

        wait_until(told, "the node has told of the worker's open call")
        live.do("cast", "bystander", "what is told comes in order")
        async with attached() as node:
            await eventually(
                lambda: node.agents(filter="name=bystander handled=1"), lambda page: page.matched
            )
            await node.inspect("sleeper")
        live.kill()
        wait_until(lambda: len(backend.spans) == 2, "they are ended")
        run, sleep = backend.span("invoke_agent Sleeper"), backend.span("execute_tool sleep")
        assert (sleep.trace_id, sleep.parent_span_id) == (run.trace_id, run.span_id)
        assert {attributes(span)["error.type"] for span in (run, sleep)} == {"node_death"}
        assert {one["service.instance.id"] for one in backend.resources} == {live.facts["incarnation"]}
        wait_until(lambda: not kinds(runtime, "orphans/*"))
        assert not kinds(runtime, "ends-*")
