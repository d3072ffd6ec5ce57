"""Preemption: blocking calls and C code, and the hazards that stay (docs/preemption.md)."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from observe.runtime import (
    Node,
)
from tests.runtime.preempting import KINDS, Echo, Runs, frozen, preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with preempting_node() as node:
        yield node


# -- Blocking calls and C code


async def test_a_blocking_call_is_frozen_and_resumed_where_it_waits(node: Node) -> None:
    event = threading.Event()
    works: list[Callable[[], Any]] = [
        lambda: time.sleep(0.1) or "slept",  # type: ignore[func-returns-value]  # for the `or`
        lambda: re.match(r"(a+)+$", "a" * 24 + "b") or "matched",
        lambda: len(json.loads(json.dumps(list(range(300_000))))),
        lambda: subprocess.run([sys.executable, "-c", "pass"], check=True).returncode,
    ]
    expected = ["slept", "matched", 300_000, 0]
    echo = await node.spawn(Echo)
    refs = [await node.spawn(Runs) for _ in works]
    calls = [asyncio.ensure_future(ref.call(work, timeout=50)) for ref, work in zip(refs, works, strict=True)]
    while not all(call.done() for call in calls):
        assert await echo.call(1) == 1
        await asyncio.sleep(0.002)
    assert [call.result() for call in calls] == expected
    event.set()


async def test_a_catastrophic_pattern_can_be_killed(node: Node) -> None:
    """It keeps the interpreter lock for hours, so that no thread could end it."""
    ref = await node.spawn(Runs)
    ref.cast(lambda: re.match(r"(a+)+$", "a" * 60 + "b"))
    await frozen(node, ref)
    ref.exit("killed")
    assert (await ref.wait_exit()).kind == "killed"


async def test_callbacks_from_c_are_frozen_and_resumed(node: Node) -> None:
    """sqlite, sort and ctypes call Python from the middle of C code: the C stack is put aside as well."""

    def database() -> int:
        connection = sqlite3.connect(":memory:")
        connection.create_function("slow", 1, lambda number: (spin(), number)[1])
        total = connection.execute("select slow(1) + slow(2) + slow(3)").fetchone()[0]
        connection.close()
        return int(total)

    def sort() -> list[int]:
        return sorted([3, 1, 2], key=lambda number: (spin(), number)[1])

    def quick_sort() -> list[int]:
        compare_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
        )

        def compare(a: Any, b: Any) -> int:
            spin()
            return int(a[0] - b[0])

        values = (ctypes.c_int * 3)(3, 1, 2)
        ctypes.CDLL(None).qsort(values, 3, ctypes.sizeof(ctypes.c_int), compare_type(compare))
        return list(values)

    works: list[Callable[[], Any]] = [database, sort, quick_sort] * 2
    refs = [await node.spawn(Runs) for _ in works]
    results = await asyncio.gather(
        *(ref.call(work, timeout=50) for ref, work in zip(refs, works, strict=True))
    )
    assert results == [6, [1, 2, 3], [1, 2, 3]] * 2


async def test_garbage_is_collected_while_steps_are_frozen(node: Node) -> None:
    def work() -> int:
        kept = [object() for _ in range(100)]
        spin(3)
        return len(kept)

    refs = [await node.spawn(kind) for kind in KINDS]
    calls = [asyncio.ensure_future(ref.call(work, timeout=50)) for ref in refs]
    while not all(call.done() for call in calls):
        gc.collect()
        await asyncio.sleep(0)
    assert [call.result() for call in calls] == [100, 100]


# -- Hazards that stay (docs/preemption.md)


async def test_hazard_thread_locals_are_shared_between_agents(node: Node) -> None:
    """As documented: what is per thread is not per agent. Use context variables."""
    local = threading.local()

    def work(name: str) -> bool:
        local.name = name
        for _ in range(5):
            spin()
            if local.name != name:
                return False
        return True

    refs = [await node.spawn(Runs) for _ in range(2)]
    results = await asyncio.gather(
        *(ref.call(lambda n=n: work(str(n)), timeout=50) for n, ref in enumerate(refs))
    )
    assert False in results


async def test_hazard_an_rlock_taken_by_acquire_keeps_no_agent_out(node: Node) -> None:
    """As documented: only `with` is seen."""
    lock = threading.RLock()
    inside = [0]
    most = [0]

    def work() -> None:
        lock.acquire()
        try:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            spin(3)
            inside[0] -= 1
        finally:
            lock.release()

    refs = [await node.spawn(Runs) for _ in range(3)]
    await asyncio.gather(*(ref.call(work, timeout=50) for ref in refs))
    assert most[0] > 1


async def test_hazard_a_lock_taken_by_acquire_makes_the_sibling_wait_frozen(node: Node) -> None:
    """As documented: it costs time, and nobody waits for ever."""
    lock = threading.Lock()
    inside = [0]
    most = [0]

    def work() -> None:
        lock.acquire()
        try:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            spin(2)
            inside[0] -= 1
        finally:
            lock.release()

    refs = [await node.spawn(Runs) for _ in range(3)]
    await asyncio.gather(*(ref.call(work, timeout=50) for ref in refs))
    assert most == [1]
