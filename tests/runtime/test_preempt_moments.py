"""Preemption: moments at which a step must not be frozen."""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    Node,
    Supervisor,
    no_preempt,
)
from observe.runtime.testing import eventually
from tests.runtime.preempting import KINDS, AwaitsFirst, Runs, frozen, preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with preempting_node() as node:
        yield node


async def never_frozen_in(node: Node, function: Callable[[], Any], *names: str) -> None:
    """Run `function`, and see that it is never frozen while a frame of these modules or functions is on its stack."""
    ref = await node.spawn(Runs)
    preempter = node.scheduler.preempter
    assert preempter is not None
    call = asyncio.ensure_future(ref.call(function, timeout=50))
    freezes = 0
    while not call.done():
        for one in preempter.frozen:
            if one.is_parked:
                freezes += 1
                for frame in preempter.frames_of(one):
                    assert str(frame.f_globals["__name__"]).partition(".")[0] not in names
                    assert frame.f_code.co_name not in names
        await asyncio.sleep(0)
    await call
    assert freezes


def until(seconds: float, function: Callable[[], Any]) -> None:
    """Call `function` again and again for a while."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        function()


async def test_never_inside_logging(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Another agent that logs would find the handler's lock taken by its own thread, and the record half-written."""
    logger = logging.getLogger("test.preempt")
    with caplog.at_level(logging.INFO, "test.preempt"):
        await never_frozen_in(node, lambda: until(0.2, lambda: logger.info("line")), "logging")


async def test_never_inside_asyncio_threading_queue_or_contextlib(node: Node) -> None:
    loop = asyncio.get_running_loop()
    condition = threading.Condition()
    items: queue.Queue[int] = queue.Queue()

    @contextmanager
    def manager() -> Iterator[None]:
        yield

    def work() -> None:
        loop.call_later(100, print).cancel()
        with condition:
            condition.notify_all()
        items.put(1)
        items.get()
        with manager():
            pass

    await never_frozen_in(node, lambda: until(0.2, work), "asyncio", "threading", "queue", "contextlib")


async def test_never_inside_an_import(node: Node, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports hold locks per module, and a module half-executed would be seen by the next importer."""
    (tmp_path / "slow_module_for_preempt.py").write_text(
        "import time\nend = time.thread_time() + 0.05\nwhile time.thread_time() < end:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def work() -> None:
        import slow_module_for_preempt  # type: ignore[import-not-found]  # written above

        del sys.modules["slow_module_for_preempt"], slow_module_for_preempt
        spin()

    await never_frozen_in(node, work, "importlib", "slow_module_for_preempt")


async def test_never_inside_with_lock(node: Node) -> None:
    """An RLock belongs to the thread, so that two agents would be inside at once; a Lock would stop the sibling."""
    inside = [0]
    most = [0]
    for lock in (threading.RLock(), threading.Lock(), threading.Condition()):

        def work(lock: Any = lock) -> None:
            for _ in range(5):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    spin()
                    inside[0] -= 1
                spin()

        refs = [await node.spawn(kind) for kind in (*KINDS, *KINDS)]
        await asyncio.gather(*(ref.call(work, timeout=50) for ref in refs))
    assert most == [1]


async def test_never_inside_a_lock_class_of_ones_own(node: Node) -> None:
    class Own:
        def __enter__(self) -> None:
            spin()

        def __exit__(self, *error: object) -> None:
            spin()

    def work() -> None:
        for _ in range(3):
            with Own():
                pass
            spin()

    await never_frozen_in(node, work, "__enter__", "__exit__")


async def test_inside_an_activity_it_may_be_frozen(node: Node) -> None:
    """A tool call that computes is what preemption is for."""

    class Acts(Agent):
        def handle(self, message: Any) -> None:
            with self.activity("tool:compute"):
                while True:
                    pass

    ref = await node.spawn(Acts)
    ref.cast(1)
    await frozen(node, ref)
    stack = node.control.stack(node.agents[ref.pid])
    assert stack.frames[-1].function == "handle"
    ref.exit("killed")
    await ref.wait_exit()


async def test_never_inside_no_preempt_and_never_a_class_that_opts_out(node: Node) -> None:
    order: list[str] = []

    class OptsOut(Runs):
        preemptible = False

    def guarded() -> None:
        with no_preempt():
            spin(3)
            order.append("guarded")

    def plain() -> None:
        spin(3)
        order.append("opted out")

    echo = await node.spawn(Runs)
    for cls, work in ((Runs, guarded), (AwaitsFirst, guarded), (OptsOut, plain)):
        order.clear()
        ref = await node.spawn(cls)
        ref.cast(work)
        await eventually(lambda: node.scheduler.current is None)
        echo.cast(lambda: order.append("echo"))
        await eventually(lambda: len(order) == 2)
        assert order[0] != "echo" or cls is AwaitsFirst
    assert node.scheduler.preempter is not None
    assert node.scheduler.preempter.frozen == []


async def test_an_init_is_not_frozen_but_watched(node: Node) -> None:
    """It runs in the middle of its supervisor's work. Documented; it can be killed from another thread."""

    class Starts(Agent):
        def init(self) -> None:
            spin(2)

    supervisor = await node.spawn(Supervisor)
    await supervisor.start_child(_spec(Starts))
    assert node.scheduler.preempter is not None
    assert node.scheduler.preempter.frozen == []


def _spec(cls: type[Agent]) -> Any:
    from observe.runtime import ChildSpec

    return ChildSpec(cls)
