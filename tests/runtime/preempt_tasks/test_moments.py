"""Moments at which a step is not frozen."""

from __future__ import annotations

import asyncio
import importlib
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from observe.runtime import Node, no_preempt
from tests.runtime.preempt_tasks.looking import is_frozen
from tests.runtime.preempting import spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


def never_frozen_in(on: Any, work: Callable[[], Any], *names: str) -> None:
    """Run `work` in a task, and see that it is never frozen inside these modules and functions, and is elsewhere."""

    async def runs() -> None:
        for _ in range(6):
            for _ in range(200):
                work()
            spin()

    async def body(node: Node) -> None:
        preempter = node.scheduler.preempter
        assert preempter is not None
        task = asyncio.create_task(runs())
        freezes = 0
        while not task.done():
            one = preempter.holds_task(task)
            if one is not None and one.is_parked:
                freezes += 1
                for frame in preempter.frames_of(one):
                    assert str(frame.f_globals["__name__"]).partition(".")[0] not in names
                    assert frame.f_code.co_name not in names
            await asyncio.sleep(0)
        await task
        assert freezes

    on(body)


def test_never_inside_logging_queue_threading_asyncio_or_contextlib(on: Any, caplog: Any) -> None:
    logger = logging.getLogger("test.preempt")
    condition = threading.Condition()
    items: queue.Queue[int] = queue.Queue()

    @contextmanager
    def manager() -> Iterator[None]:
        yield

    def work() -> None:
        logger.debug("line")
        asyncio.get_running_loop().call_later(100, print).cancel()
        with condition:
            condition.notify_all()
        items.put(1)
        items.get()
        with manager():
            pass

    with caplog.at_level(logging.DEBUG, "test.preempt"):
        never_frozen_in(on, work, "logging", "asyncio", "threading", "queue", "contextlib")


def test_never_inside_an_import(on: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module_for_tasks.py").write_text(
        "import time\nend = time.thread_time() + 0.01\nwhile time.thread_time() < end:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    times = [0]

    def work() -> None:
        times[0] += 1
        if times[0] % 200 == 1:
            import slow_module_for_tasks  # type: ignore[import-not-found]  # written above

            del sys.modules["slow_module_for_tasks"], slow_module_for_tasks

    never_frozen_in(on, work, "importlib", "slow_module_for_tasks")


def test_never_inside_with_lock_and_never_in_no_preempt(on: Any) -> None:
    """An RLock belongs to the thread, so that two tasks would be inside at once; a Lock would stop the loop."""
    inside, most = [0], [0]

    async def work(guard: Any) -> None:
        for _ in range(2):
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                spin()
                inside[0] -= 1
            spin()
            await asyncio.sleep(0)

    async def body(node: Node) -> None:
        for guard in (threading.RLock(), threading.Lock(), threading.Condition(), no_preempt()):
            await asyncio.gather(work(guard), work(guard))

    on(body)
    assert most == [1]


def test_asyncios_own_locks_keep_others_out_over_a_freeze(on: Any) -> None:
    """Whoever waits for them waits in turn, so their holders may be frozen."""
    inside, most = [0], [0]

    async def work(lock: asyncio.Lock) -> None:
        for _ in range(2):
            async with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                spin()
                inside[0] -= 1

    async def body(node: Node) -> None:
        lock = asyncio.Lock()
        tasks = [asyncio.create_task(work(lock)) for _ in range(4)]
        await is_frozen(node, tasks[0])
        await asyncio.gather(*tasks)

    on(body)
    assert most == [1]


LIBRARY = """
async def awaits(function):
    return await function()

def calls(function):
    return function()
"""


@pytest.fixture
def library(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installed package."""
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "library_for_tasks.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(place))
    yield importlib.import_module("library_for_tasks")
    del sys.modules["library_for_tasks"]


def test_what_a_library_awaits_may_be_frozen_and_what_it_calls_may_not(on: Any, library: Any) -> None:
    """A web framework that awaits a handler is at an await: nothing of its own is half-done. One that calls a function
    may be in the middle of anything."""
    functions: list[str] = []

    async def endless() -> None:
        spin(4)

    async def body(node: Node) -> None:
        task = asyncio.create_task(library.awaits(endless))
        await is_frozen(node, task)
        await task
        task = asyncio.create_task(around())
        preempter = node.scheduler.preempter
        assert preempter is not None
        while not task.done():
            one = preempter.holds_task(task)
            if one is not None and one.is_parked:
                functions.extend(frame.f_code.co_name for frame in preempter.frames_of(one))
            await asyncio.sleep(0)

    async def around() -> None:
        library.calls(lambda: spin(4))

    on(body)
    assert "calls" not in functions
