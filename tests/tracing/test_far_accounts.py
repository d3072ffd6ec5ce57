"""The account of spans has those of worker processes as well, and closes when the backend goes away and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Node
from observe.runtime.testing import eventually
from observe.tracing import Tracing, setup
from observe.tracing.open_spans import account_of
from tests.tracing.receiver import Receiver, attributes
from tests.tracing.traced_agents import Baker, Clerk, Sleeper

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the agents of the tests as we do."""
    monkeypatch.syspath_prepend(str(ROOT))


def closes(account: dict[str, Any]) -> bool:
    parts = account["open"] + account["waiting"] + account["exported"] + sum(account["dropped"].values())
    return bool(account["started"] == parts)


def far(tracing: Tracing) -> dict[str, Any]:
    """The workers' account of spans."""
    account: dict[str, Any] = tracing.statistics()["workers"]["spans"]
    assert closes(account)
    return account


async def test_it_closes_over_all_processes_when_the_backend_refuses_for_a_while() -> None:
    with Receiver() as backend:
        async with Node("accounts@localhost", workers=1) as node:
            tracing = setup(node, endpoint=backend.url, set_global=False, delay_s=0.02)
            baker = await node.spawn(Baker, name="baker", isolation="worker")
            clerk = await node.spawn(Clerk, baker, name="clerk", isolation="none")

            async def bake(until: Callable[[dict[str, Any]], bool]) -> None:
                """Have some baked, two spans in the worker each, until its account says so."""
                for _ in range(5):
                    await clerk.call("order", timeout=30)
                await eventually(lambda: until(far(tracing)), 30.0)

            await bake(lambda account: account["exported"] == 10)
            backend.status = 503
            await bake(lambda account: bool(account["dropped"]))
            backend.status = 200
            await bake(lambda account: account["exported"] > 10 and not account["waiting"])
            sleeper = await node.spawn(Sleeper, name="sleeper", isolation="worker")
            sleeper.cast("sleep")  # open when the worker ends
            await eventually(lambda: far(tracing)["open"] == 2, 30.0)
            told = account_of(node)
            assert told is not None
            assert closes(told)
            assert told["started"] == 2 * 30 + 2
        tracing.shutdown()
    ours, theirs = tracing.spans, far(tracing)
    assert (theirs["started"], theirs["open"], theirs["waiting"]) == (32, 0, 0)
    assert ours.is_closed
    assert len(backend.spans) == ours.exported + theirs["exported"]
    assert set(ours.dropped) | set(theirs["dropped"]) == {"export_failed"}
    # A worker that ends in order ends and sends what is open itself, and the node does not do it once more.
    assert attributes(backend.span("execute_tool sleep"))["error.type"] == "shutdown"
    assert not any(one.name == "observe.worker_death" for span in backend.spans for one in span.events)


async def test_what_a_worker_that_is_killed_had_not_sent_is_dropped_by_that_reason() -> None:
    with Receiver() as backend:
        async with Node("accounts@localhost", workers=1) as node:
            with setup(node, endpoint=backend.url, set_global=False, delay_s=60.0) as tracing:
                baker = await node.spawn(Baker, name="baker", isolation="worker")
                for _ in range(3):
                    await baker.call("order", timeout=30)
                await eventually(lambda: far(tracing)["waiting"] == 6, 30.0)
                (process,) = node.lifecycle.workers.processes.values()  # type: ignore[union-attr]  # it has workers
                os.kill(process.os_pid, signal.SIGKILL)
                await eventually(lambda: far(tracing)["waiting"] == 0, 30.0)
                lost, adopted = far(tracing)["dropped"]["worker_death"], tracing.statistics()["started"]
                assert lost + adopted == 6
    assert len(backend.spans) == tracing.spans.exported == adopted
