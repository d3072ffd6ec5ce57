"""What an agent in a process of its own can do to others: nothing. And what is left of it: nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from observe.runtime import AgentExited, InitFailed, Limits, Node, WorkerDied
from observe.runtime.testing import eventually
from tests.runtime.worker_agents import Forker, Odd

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the agents of the tests as we do."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("contained", intensity=100) as node:
        yield node


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("end", ["killed", "exit", "segfault"])
async def test_the_children_of_a_process_end_with_it_and_its_siblings_do_not(node: Node, end: str) -> None:
    """However it ends: thirty of them, each of which has a child as well."""
    sibling = await node.spawn(Odd, isolation="process")
    ref = await node.spawn(Forker, isolation="process")
    pids = await ref.call(30, timeout=30)
    assert len(pids) == 60
    if end == "killed":
        ref.exit("killed")
    else:
        ref.cast(end)
    await ref.wait_exit()
    await eventually(lambda: not any(map(is_alive, pids)), 20.0)
    assert await sibling.call("x") == 1


async def test_no_descriptor_and_no_process_is_left_behind(node: Node) -> None:
    first = await node.spawn(Odd, isolation="process")
    first.exit("killed")
    await first.wait_exit()
    await eventually(lambda: not node.workers())
    before = set(os.listdir("/proc/self/fd"))
    pids = []
    for how in ("killed", "shutdown", "exit", "segfault"):
        ref = await node.spawn(Odd, isolation="process")
        pids.append(await ref.call("pid"))
        if how in ("killed", "shutdown"):
            ref.exit(how)
        else:
            ref.cast(how)
        await ref.wait_exit()
    await eventually(lambda: not node.workers())
    await eventually(lambda: not any(map(is_alive, pids)))
    await eventually(lambda: len(set(os.listdir("/proc/self/fd")) - before) == 0)


async def test_a_process_that_cannot_be_started_is_said_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/nonexistent/python")
        with pytest.raises(InitFailed, match="no process could be started") as failed:
            await node.spawn(Odd, isolation="process")
    assert isinstance(failed.value.__cause__, WorkerDied)
    with pytest.raises(InitFailed, match="worker died") as failed:
        await node.spawn(Odd, isolation="process", limits=Limits(memory_bytes=2**20))
    assert isinstance(failed.value.__cause__, WorkerDied)
    assert await (await node.spawn(Odd, isolation="process")).call("x") == 1
    await eventually(lambda: len(node.workers()) == 1)


async def test_two_that_end_at_once_hit_nobody_else(node: Node) -> None:
    refs = [await node.spawn(Odd, isolation="process") for _ in range(4)]
    calls = [
        asyncio.create_task(ref.call(how, timeout=30))
        for ref, how in zip(refs, ("segfault", "exit"), strict=False)
    ]
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(ended, AgentExited)
    assert [await ref.call("x") for ref in refs[2:]] == [1, 1]
