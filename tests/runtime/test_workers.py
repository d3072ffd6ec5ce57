"""Agents in processes of their own: the same refs, supervision and bonds, and an end that hits only them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from observe.runtime import (
    Agent,
    AgentExited,
    BadChildSpec,
    ChildSpec,
    Down,
    Exit,
    InitFailed,
    Limits,
    MailboxFull,
    Node,
    NotSendable,
    Ref,
    Supervisor,
    WorkerDied,
)
from observe.runtime.ref import set_carrier
from observe.runtime.testing import eventually
from tests.runtime.worker_agents import Odd, Small

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the agents of the tests as we do."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node whose processes are all gone afterwards."""
    async with Node("workers-test", intensity=100) as node:
        yield node
        pids = [facts.os_pid for facts in node.workers()]
    assert [pid for pid in pids if is_alive(pid)] == []


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def isolated(node: Node, *args: Any, **options: Any) -> Ref:
    return await node.spawn(Odd, *args, isolation="process", **options)


class Watcher(Agent):
    """Keeps what it is told."""

    def init(self) -> None:
        self.told: list[Any] = []

    def handle(self, message: Any) -> Any:
        if message == "told":
            return self.told
        if isinstance(message, tuple):
            what, ref = message
            if what == "trap":
                self.trap_exits()
                self.link(ref)
            else:
                self.monitor(ref)
        else:
            self.told.append(message)
        return None


async def test_an_isolated_agent_takes_casts_and_calls_in_another_process(node: Node) -> None:
    ref = await isolated(node, 5, name="odd")
    ref.cast("one")
    assert await ref.call("two") == 7
    assert await node.ref("odd").call("heard") == ["one", "two"]
    assert await ref.call("pid") not in (0, os.getpid())


async def test_a_cast_within_a_trace_arrives_as_it_was_sent(node: Node) -> None:
    """The envelope that carries a trace context stays on this side."""
    ref = await isolated(node)
    set_carrier(lambda: lambda: None)
    try:
        ref.cast("one")
        assert await ref.call("heard") == ["one"]
    finally:
        set_carrier(None)


async def test_messages_keep_their_order(node: Node) -> None:
    ref = await isolated(node)
    for number in range(3000):
        ref.cast(number)
    assert await ref.call("heard") == list(range(3000))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("segfault", "worker died: SIGSEGV"),
        ("exit", "worker died: exit code 3"),
        ("crash", "ValueError: no"),
        ("allocate", "MemoryError"),
    ],
)
async def test_its_end_is_a_crash_of_it_alone_and_it_is_restarted(node: Node, how: str, reason: str) -> None:
    sibling = await isolated(node)
    ref = await isolated(node, 40, name="odd", restart="permanent", limits=Limits(memory_bytes=2**30))
    with pytest.raises(AgentExited) as ended:
        await ref.call(how, timeout=30)
    assert ended.value.reason.kind == "crash"
    assert str(ended.value.reason) == reason
    await eventually(lambda: node.whereis("odd") not in (None, ref))
    assert await node.ref("odd").call("x") == 41
    assert await sibling.call("x") == 1
    crash = node.lifecycle.crashes[-1]
    assert crash.message == how
    assert crash.name == "odd"


async def test_a_crash_has_the_traceback_of_the_other_process(node: Node) -> None:
    ref = await isolated(node)
    with pytest.raises(AgentExited):
        await ref.call("crash")
    assert 'raise ValueError("no")' in node.lifecycle.crashes[-1].traceback
    other = await isolated(node)
    with pytest.raises(AgentExited) as ended:
        await other.call("segfault", timeout=30)
    assert "worker_agents.py" in node.lifecycle.crashes[-1].traceback, "faulthandler says where it was"
    assert isinstance(ended.value.reason.error, WorkerDied)
    assert ended.value.reason.error.status == -signal.SIGSEGV


async def test_kill_nine_of_its_process_fails_calls_under_way_at_once(node: Node) -> None:
    ref = await isolated(node)
    pid = await ref.call("pid")
    calls = [asyncio.create_task(ref.call(what, timeout=None)) for what in ("wait", "x", "x")]
    await eventually(lambda: node.control.mailbox(node.agents[ref.pid], 9)[1] >= 2)
    os.kill(pid, signal.SIGKILL)
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, AgentExited)
        assert "SIGKILL" in str(result.reason)


async def test_too_much_processor_time_ends_it(node: Node) -> None:
    ref = await isolated(node, limits=Limits(cpu_s=1))
    with pytest.raises(AgentExited) as ended:
        await ref.call("spin", timeout=60)
    assert "SIGXCPU" in str(ended.value.reason)


async def test_a_kill_ends_a_c_call_and_what_the_process_has_started(node: Node) -> None:
    ref = await isolated(node)
    child = await ref.call("fork")
    ref.cast("c")
    ref.exit("killed")
    assert (await ref.wait_exit()).kind == "killed"
    await eventually(lambda: not is_alive(child))


async def test_links_and_monitors_across_processes(node: Node) -> None:
    watcher = await node.spawn(Watcher)
    ref = await isolated(node)
    await watcher.call(("monitor", ref))
    await watcher.call(("trap", ref))
    ref.cast("exit")
    told = await eventually_told(watcher, 2)
    assert {type(one) for one in told} == {Down, Exit}
    assert {str(one.reason) for one in told} == {"worker died: exit code 3"}
    assert all(one.ref == ref for one in told)


async def eventually_told(ref: Ref, count: int) -> list[Any]:
    while len(told := await ref.call("told")) < count:  # noqa: ASYNC110  # it is in another process
        await asyncio.sleep(0.01)
    return list(told)


async def test_an_isolated_agent_monitors_traps_and_is_ended_by_links(node: Node) -> None:
    target = await node.spawn(Odd)
    watching, trapping, linked = [await isolated(node) for _ in range(3)]
    await watching.call(("monitor", target))
    await trapping.call(("trap", target))
    await linked.call(("link", target))
    with pytest.raises(AgentExited):
        await target.call("crash")
    (down,) = await heard(watching)
    assert isinstance(down, Down)
    assert str(down.reason) == "ValueError: no"
    (exit_,) = await heard(trapping)
    assert isinstance(exit_, Exit)
    assert exit_.ref.pid == target.pid
    assert (await linked.wait_exit()).root_pid == target.pid


async def heard(ref: Ref) -> list[Any]:
    """What it has been told, as text: monitors do not travel."""
    while True:
        found = await ref.call("heard_once")
        if found:
            return list(found)
        await asyncio.sleep(0.01)


async def test_refs_travel_and_agents_of_two_processes_call_each_other(node: Node) -> None:
    one, two = await isolated(node, 10), await isolated(node, 20, name="two")
    here = await node.spawn(Odd, 30)
    assert await one.call(("call", two, "x")) == 21
    assert await one.call(("call", node.ref("two"), "x")) == 22
    assert await one.call(("call", here, "x")) == 31
    assert await one.call("whoami") == one
    assert (await one.call(("spawn", 50))).pid in node.agents


async def test_what_cannot_be_sent_is_an_error_of_the_sender(node: Node) -> None:
    ref = await isolated(node)
    with pytest.raises(NotSendable, match="cannot be sent to another process"):
        ref.cast(lambda: None)
    with pytest.raises(NotSendable):
        await ref.call("lambda")
    assert await ref.call("x") == 1, "a reply that cannot be sent fails its caller, not the agent"


async def test_a_failing_init_tells_its_starter_why(node: Node) -> None:
    with pytest.raises(InitFailed, match="below zero") as failed:
        await isolated(node, -1)
    assert isinstance(failed.value.__cause__, ValueError)
    assert node.whereis("odd") is None


async def test_a_limit_of_its_mailbox_is_kept_by_the_sender(node: Node) -> None:
    ref = await node.spawn(Small, isolation="process")
    ref.cast("wait")
    await eventually(lambda: node.control.mailbox(node.agents[ref.pid], 9)[1] == 0)
    for number in range(3):
        ref.cast(number)
    with pytest.raises(MailboxFull):
        ref.cast(3)
    assert node.control.mailbox(node.agents[ref.pid], 9) == ([0, 1, 2], 3)
    ref.exit("killed")
    await ref.wait_exit()
    assert [letter.message for letter in node.dead_letters][-3:] == [0, 1, 2]


async def test_an_orderly_end_is_one(node: Node) -> None:
    ref = await isolated(node)
    assert await ref.call("stop") is None
    assert (await ref.wait_exit()).kind == "normal"
    assert not node.lifecycle.crashes


def test_what_cannot_run_in_another_process_is_refused() -> None:
    class Local(Agent):
        pass

    with pytest.raises(BadChildSpec, match="supervisor"):
        ChildSpec(Supervisor, isolation="process")
    with pytest.raises(BadChildSpec, match="limits"):
        ChildSpec(Odd, limits=Limits(cpu_s=1))
    with pytest.raises(BadChildSpec, match="whole number"):
        Limits(cpu_s=0)


async def test_a_local_class_is_refused_with_what_to_do(node: Node) -> None:
    class Local(Agent):
        pass

    with pytest.raises(BadChildSpec, match="top of a module"):
        await node.spawn(Local, isolation="process")


async def test_agents_spread_over_the_workers_of_a_node() -> None:
    async with Node("spread", workers=2, intensity=100) as node:
        refs = [await node.spawn(Odd, number, restart="permanent") for number in range(6)]
        pids = [await ref.call("pid") for ref in refs]
        assert len(set(pids)) == 2
        assert all(pids.count(pid) == 3 for pid in pids)
        here = await node.spawn(Odd, isolation="none")
        assert await here.call("pid") == os.getpid()
        pinned = await node.spawn(Odd, worker=2)
        assert await pinned.call("pid") == node.workers()[1].os_pid
        os.kill(pids[0], signal.SIGKILL)  # and its agents come back, in a new process
        await eventually(lambda: sum(ref.is_alive for ref in refs) == 3)
        await eventually(lambda: len(node.workers()) == 2 and sum(f.agents for f in node.workers()) >= 6)
        assert await refs[1].call("x") == 2


async def test_the_end_of_a_worker_counts_once_for_its_supervisor() -> None:
    async with Node("shared", workers=1) as node:
        specs = [ChildSpec(Odd, name=f"odd-{number}") for number in range(5)]
        tree = await node.spawn(Supervisor, specs, intensity=1)
        before = [node.whereis(f"odd-{number}") for number in range(5)]
        os.kill(node.workers()[0].os_pid, signal.SIGKILL)
        await eventually(lambda: not any(ref is not None and ref.is_alive for ref in before))
        assert [await node.ref(f"odd-{number}").call("x", timeout=30) for number in range(5)] == [1] * 5
        assert tree.is_alive


async def test_a_spinning_agent_of_a_shared_worker_is_killed_and_its_siblings_go_on() -> None:
    async with Node("shared", workers=1) as node:
        spinning, sibling = await node.spawn(Odd), await node.spawn(Odd)
        spinning.cast("spin")
        waiting = asyncio.create_task(sibling.call("x", timeout=None))
        await eventually(lambda: node.control.stack(node.agents[spinning.pid]).status == "running")
        spinning.exit("killed")
        assert await waiting == 1


KILLED_NODE = """
import asyncio, sys
from observe.runtime import Node
from tests.runtime.worker_agents import Odd

async def main():
    node = await Node("doomed", workers=1).start()
    odd = await node.spawn(Odd, isolation="process")
    shared = await node.spawn(Odd)
    pids = [await odd.call("pid"), await shared.call("pid"), await odd.call("fork")]
    odd.cast("c")
    print(*pids, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_processes_do_not_outlive_a_node_that_is_killed() -> None:
    """One of them in a C call, which no thread of its own can end, and one started by an agent."""
    service = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs here
        [sys.executable, "-c", KILLED_NODE], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert service.stdout is not None
    pids = [int(part) for part in service.stdout.readline().split()]
    assert len(pids) == 3
    service.kill()
    service.wait()
    service.stdout.close()
    await eventually(lambda: not any(map(is_alive, pids)))


def test_workers_run_on_uvloop_when_the_node_does() -> None:
    async def main() -> None:
        async with Node("fast", intensity=100) as node:
            ref = await node.spawn(Odd, isolation="process")
            assert await ref.call("x") == 1
            with pytest.raises(AgentExited, match="SIGSEGV"):
                await ref.call("segfault", timeout=30)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_main_module_that_runs_when_it_is_imported_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio
        from observe.runtime import Agent, InitFailed, Node

        class Mine(Agent):
            pass

        async def main():
            async with Node("mine") as node:
                try:
                    await node.spawn(Mine, isolation="process")
                except InitFailed as error:
                    print(error)

        asyncio.run(main())
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert 'if __name__ == "__main__":' in done.stdout


def test_classes_of_the_main_module_are_the_same_in_each_process(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio, os
        from dataclasses import dataclass
        from observe.runtime import Agent, AgentExited, Node

        @dataclass
        class Where:
            process: int

        class Wrong(Exception):
            pass

        class Mine(Agent):
            def handle(self, message):
                if isinstance(message, Wrong):
                    raise message
                return message or Where(os.getpid())

        class Between(Agent):
            async def handle(self, other):
                where = await self.node.ref(other).call(None)
                return await self.node.ref(other).call(where)

        async def main():
            async with Node("mine", intensity=5) as node:
                ref = await node.spawn(Mine, name="mine", isolation="process", restart="permanent")
                where = await ref.call(None)
                print(type(where) is Where, where.process != os.getpid())
                print(await ref.call(where) == where)
                between = await node.spawn(Between, isolation="process")
                print(await between.call("mine") == where)
                try:
                    await ref.call(Wrong("of the main module"))
                except AgentExited as error:
                    print(type(error.reason.error) is Wrong)

        if __name__ == "__main__":
            asyncio.run(main())
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\nTrue\nTrue\nTrue\n"


def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "observe.examples.isolated"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "picture: done, elsewhere",
        "bad picture: worker died: SIGSEGV",
        "picture: done, elsewhere",
        "huge picture: MemoryError",
        "picture: done, elsewhere",
    ]


def test_without_workers_nothing_of_them_is_loaded() -> None:
    code = "import sys, observe.runtime; print('observe.runtime.workers.pool' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
