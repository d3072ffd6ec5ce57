"""Preemption: blocking calls and C code, and the hazards that stay (docs/preemption.md)."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import (
    AgentExited,
    Node,
)
from observe.runtime.testing import eventually
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


class Writer:
    """Writes to a database by transactions that take longer than a quantum."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=0.0)

    def run(self) -> int:
        for _ in range(3):
            self.begin()
            spin()
            self.connection.execute("INSERT INTO numbers VALUES (1)")
            spin()
            self.connection.execute("COMMIT")
        self.connection.close()
        return 3

    def begin(self) -> None:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            raise AssertionError("another step was frozen in its transaction") from None


async def test_nobody_is_frozen_in_a_transaction_and_locks_the_others_out(node: Node, tmp_path: Path) -> None:
    """SQLite waits by stopping the thread, which would have to go on with the one that is waited for."""
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (number INTEGER)")
    writers = [Writer(path) for _ in range(3)]
    refs = [await node.spawn(Runs) for _ in writers]
    calls = (ref.call(writer.run, timeout=50) for ref, writer in zip(refs, writers, strict=True))
    assert await asyncio.gather(*calls) == [3, 3, 3]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (9,)


async def test_a_step_between_two_transactions_is_frozen(node: Node) -> None:
    """A connection by itself is no reason, nor is one that has been closed."""

    def between(connection: sqlite3.Connection) -> str:
        connection.execute("BEGIN")
        connection.execute("COMMIT")
        connection.execute("SELECT 1").fetchone()
        spin()
        connection.close()
        spin()
        return "done"

    echo = await node.spawn(Echo)
    ref = await node.spawn(Runs)
    call = asyncio.ensure_future(ref.call(lambda: between(sqlite3.connect(":memory:")), timeout=50))
    await frozen(node, ref)
    while not call.done():
        assert await echo.call(1) == 1
    assert call.result() == "done"


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


async def test_hazard_a_generator_that_agents_share_is_theirs_one_at_a_time(node: Node) -> None:
    """As documented: half of it is frozen with its first caller, and Python refuses the second."""

    def numbers() -> Iterator[int]:
        while True:
            yield spin(3)

    shared = numbers()
    refs = [await node.spawn(Runs) for _ in range(2)]
    results = await asyncio.gather(
        *(ref.call(lambda: next(shared), timeout=50) for ref in refs), return_exceptions=True
    )
    refused = [str(result) for result in results if isinstance(result, AgentExited)]
    assert len(refused) == 1
    assert "generator already executing" in refused[0]


async def test_hazard_a_read_and_a_write_with_a_freeze_between_lose_an_update(node: Node) -> None:
    """As documented: what agents share without a lock is as safe as with threads. Between agents, send messages."""
    shared = {"count": 0}

    def add() -> None:
        before = shared["count"]
        spin(2)
        shared["count"] = before + 1

    refs = [await node.spawn(Runs) for _ in range(4)]
    await asyncio.gather(*(ref.call(add, timeout=50) for ref in refs))
    assert shared["count"] < 4


async def test_each_agent_has_the_whole_recursion_limit(node: Node) -> None:
    """Frozen frames of others are not counted: three agents as deep as two thirds of the limit."""

    def descend(left: int) -> int:
        return spin(2) if not left else descend(left - 1)

    refs = [await node.spawn(Runs) for _ in range(3)]
    depth = sys.getrecursionlimit() * 2 // 3
    assert all(await asyncio.gather(*(ref.call(lambda: descend(depth), timeout=50) for ref in refs)))


async def test_a_wait_for_another_thread_leaves_siblings_their_turn(node: Node) -> None:
    """A queue, a future, a thread's end and an event: each is frozen where it waits and holds nothing."""
    items: queue.Queue[str] = queue.Queue()
    event = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(event.wait)
        thread = threading.Thread(target=event.wait)
        thread.start()
        works: list[Callable[[], Any]] = [
            lambda: items.get(timeout=50),
            lambda: future.result(timeout=50),
            lambda: thread.join() or "joined",  # type: ignore[func-returns-value]  # for the `or`
            lambda: event.wait(timeout=50),
        ]
        echo = await node.spawn(Echo)
        refs = [await node.spawn(Runs) for _ in works]
        calls = [
            asyncio.ensure_future(ref.call(work, timeout=50)) for ref, work in zip(refs, works, strict=True)
        ]
        preempter = node.scheduler.preempter
        assert preempter is not None
        await eventually(lambda: len(preempter.frozen) == len(works))
        assert await echo.call("meanwhile") == "meanwhile"
        items.put("item")
        event.set()
        assert await asyncio.gather(*calls) == ["item", True, "joined", True]


async def test_a_wait_for_another_thread_is_not_frozen_with_a_lock_in_hand(node: Node) -> None:
    """The wait holds nothing, but the agent that waits does: nobody else may run until it has let go."""
    lock = threading.Lock()
    items: queue.Queue[str] = queue.Queue()
    threading.Timer(0.1, items.put, ["item"]).start()
    inside: list[bool] = []

    def work() -> str:
        with lock:
            return items.get(timeout=50)

    ref = await node.spawn(Runs)
    sibling = await node.spawn(Runs)
    got = asyncio.ensure_future(ref.call(work, timeout=50))
    await asyncio.sleep(0)
    while not got.done():
        inside.append(await sibling.call(lock.locked, timeout=50))
    assert await got == "item"
    assert not any(inside)


async def test_who_is_killed_while_it_waits_for_another_thread_leaves_the_queue_usable(node: Node) -> None:
    items: queue.Queue[str] = queue.Queue()
    ref, other = await node.spawn(Runs), await node.spawn(Runs)
    ref.cast(items.get)
    await frozen(node, ref)
    ref.exit("killed")
    assert (await ref.wait_exit()).kind == "killed"
    items.put("item")
    assert await other.call(items.get) == "item"


async def test_a_handler_of_the_event_loops_signals_goes_on_beside_a_frozen_step(node: Node) -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    try:
        ref = await node.spawn(Runs)
        ref.cast(lambda: spin(10_000))
        await frozen(node, ref)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.wait_for(heard.wait(), 20)
        ref.exit("killed")
        assert (await ref.wait_exit()).kind == "killed"
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
