"""A worker process that dies leaves no span without its end: the node sends them in its place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from observe.runtime import Node
from observe.runtime.testing import eventually
from observe.tracing import setup
from observe.tracing.far_spans import FarSpans
from tests.tracing.receiver import Receiver, attributes
from tests.tracing.traced_agents import Sleeper

ROOT = Path(__file__).parents[2]


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def test_spans_of_a_worker_that_is_killed_are_ended_by_the_node(
    backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    async with Node("far@localhost", workers=1) as node:
        with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05) as tracing:
            sleeper = await node.spawn(Sleeper, name="sleeper", isolation="worker")
            sleeper.cast("sleep")
            far = tracing.open_spans.far
            assert far is not None
            await eventually(lambda: len(far.news(100)[0]) or far._workers, 30.0)
            await eventually(lambda: sum(len(one.open) for one in far._workers.values()) == 2, 30.0)
            (process,) = node.lifecycle.workers.processes.values()  # type: ignore[union-attr]  # it has workers
            os.kill(process.os_pid, signal.SIGKILL)
            await eventually(lambda: len(backend.spans) == 2, 30.0)
            statistics = tracing.statistics()
            assert statistics["started"] == statistics["spans"].put == 2
            assert statistics["workers"]["spans"]["started"] == 0, "they are in our account now"
            pid = process.os_pid
        assert tracing.spans.is_closed
    run, sleep = backend.span("invoke_agent Sleeper"), backend.span("execute_tool sleep")
    assert (sleep.trace_id, sleep.parent_span_id) == (run.trace_id, run.span_id)
    for span in (run, sleep):
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert attributes(span)["error.type"] == "worker_death"
        assert "SIGKILL" in str(attributes(span)["observe.end_reason"])
        (event,) = span.events
        assert event.name == "observe.worker_death"
        assert attributes(event)["observe.signal"] == signal.SIGKILL
    assert {one["service.name"] for one in backend.resources} == {"far"}
    assert pid != os.getpid()


def test_what_was_told_is_told_again_and_ends_are_never_lost() -> None:
    """A probe that was started anew knows nothing."""
    spans = FarSpans()
    spans.told(3, [{"span": 1}, {"span": 2}], [], {"service.name": "shop"})
    opened, ended, processes = spans.news(1)
    assert [one["span"] for one in opened] == [1]
    assert processes == {"3": {"resource": {"service.name": "shop"}, "page": ""}}
    spans.told(3, [], [(1, 77, 2), (2, 88, 0), (2, 0, 0)], None)
    assert spans.news(10) == ([], [(1, 77, 2), (2, 88, 0)], {})
    spans.begin_anew()
    opened, ended, processes = spans.news(10)
    assert [one["span"] for one in opened] == [1]
    assert (ended, list(processes)) == ([(1, 77, 2)], ["3"])
    left, resource = spans.over(3, is_orderly=False)
    assert (left, resource) == ([(opened[0], (1, 77, 2))], {"service.name": "shop"})
    assert spans.news(10) == ([], [(1, 0, 0)], {})
    assert spans.over(3, is_orderly=False) == ([], {})
