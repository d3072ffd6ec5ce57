"""One agent: its messages, its state, its end."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from observe.runtime import (
    NORMAL,
    Agent,
    AgentExited,
    ExitReason,
    InitFailed,
    NameTaken,
    Node,
    NodeDown,
    NoSuchAgent,
    WrongThread,
    current_agent,
)
from observe.runtime.testing import Recorder, eventually, settled


class Keeper(Agent):
    """Keeps what it is sent; replies with all of it."""

    def init(self, *first: Any) -> Any:
        self.kept = list(first)

    def handle(self, message: Any) -> Any:
        self.kept.append(message)
        return self.kept


class AsyncKeeper(Keeper):
    async def handle(self, message: Any) -> list[Any]:
        self.kept.append(message)
        return self.kept


@pytest.mark.parametrize("kind", [Keeper, AsyncKeeper])
async def test_messages_are_handled_one_at_a_time_in_the_order_of_their_sending(
    node: Node, kind: type[Keeper]
) -> None:
    """The promise on which all state without locks stands."""
    ref = await node.spawn(kind, "first")
    for number in range(1000):
        ref.cast(number)
    assert await ref.call("last") == ["first", *range(1000), "last"]


async def test_a_step_that_waits_keeps_later_messages_waiting(node: Node) -> None:
    """One message at a time, also when a handler sleeps in the middle."""

    class Sleeper(Agent):
        def init(self) -> None:
            self.log: list[str] = []

        async def handle(self, message: str) -> list[str]:
            self.log.append(f"{message} begins")
            await asyncio.sleep(0)
            self.log.append(f"{message} ends")
            return self.log

    ref = await node.spawn(Sleeper)
    ref.cast("a")
    assert await ref.call("b") == ["a begins", "a ends", "b begins", "b ends"]


async def test_vars_of_an_agent_is_its_state_and_nothing_else(node: Node) -> None:
    """Anybody can look at any agent without having planned for it."""
    ref = await node.spawn(Keeper, 1)
    assert vars(node.control.find(ref.pid)) == {"kept": [1]}


async def test_a_handler_that_returns_nonsense_only_answers_with_it(node: Node) -> None:
    """The reply is whatever came back, for the caller to judge; a cast drops it."""

    class Odd(Agent):
        def handle(self, message: Any) -> Any:
            return NotImplemented

    ref = await node.spawn(Odd)
    ref.cast(1)
    assert await ref.call(2) is NotImplemented
    assert ref.is_alive


def test_a_handler_that_yields_is_refused_when_its_class_is_made() -> None:
    """It would never run; the mistake is told where it is made, with the right line."""
    with pytest.raises(TypeError, match="right: return answer"):

        class Yields(Agent):
            def handle(self, message: Any) -> Any:
                yield message


async def test_a_sync_handler_may_return_a_coroutine(node: Node) -> None:
    """A `def handle` that hands on to an `async def` is awaited like one."""

    class Handing(Agent):
        def handle(self, message: int) -> Any:
            return self.double(message)

        async def double(self, message: int) -> int:
            await asyncio.sleep(0)
            return 2 * message

    ref = await node.spawn(Handing)
    assert await ref.call(21) == 42


async def test_a_crash_ends_that_agent_alone_and_is_recorded(node: Node) -> None:
    """Reason, traceback and the message that did it, for whoever comes at 3 a.m."""

    class Fragile(Agent):
        async def handle(self, message: str) -> None:
            raise ValueError(f"cannot read {message}")

    recorder = Recorder.on(node)
    sibling = await node.spawn(Keeper)
    ref = await node.spawn(Fragile, name="fragile")
    with pytest.raises(AgentExited, match="ValueError: cannot read garbage") as caught:
        await ref.call("garbage")
    assert caught.value.reason.kind == "crash"
    assert not ref.is_alive
    crash = node.lifecycle.crashes[-1]
    assert (crash.pid, crash.name, crash.class_name) == (ref.pid, "fragile", "Fragile")
    assert (crash.message, crash.has_message, crash.kind) == ("garbage", True, "ValueError")
    assert "in handle" in crash.traceback
    assert "scheduler.py" not in crash.traceback
    assert [event.kind for event in recorder.of(ref.pid)] == ["spawn", "crash", "exit"]
    assert await sibling.call("still here") == ["still here"]


async def test_equal_crashes_have_equal_fingerprints(node: Node) -> None:
    """Four hundred crashes of one cause are one row, not four hundred."""

    class Fragile(Agent):
        def handle(self, message: Any) -> None:
            if message == "other line":
                raise ValueError(message)
            raise ValueError(message)

    for message in ("one", "two", "other line"):
        (await node.spawn(Fragile)).cast(message)
    await settled(node)
    one, two, other = (crash.fingerprint for crash in node.lifecycle.crashes)
    assert one == two != other


async def test_a_crash_lets_go_of_the_frames_once_its_traceback_is_read(node: Node) -> None:
    """A remembered crash must not keep sockets and documents alive."""

    class Document:
        pass

    seen: list[weakref.ref[Document]] = []

    class Fragile(Agent):
        def handle(self, message: Any) -> None:
            document = Document()
            seen.append(weakref.ref(document))
            raise ValueError("with a document in hand")

    ref = await node.spawn(Fragile)
    with pytest.raises(AgentExited):
        await ref.call(1)
    assert "with a document in hand" in node.lifecycle.crashes[-1].traceback
    gc.collect()
    assert seen[0]() is None


async def test_an_exception_that_cannot_be_printed_is_recorded_all_the_same(node: Node) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Fragile(Agent):
        def handle(self, message: Any) -> None:
            raise Broken

    ref = await node.spawn(Fragile)
    with pytest.raises(AgentExited, match="Broken"):
        await ref.call(1)
    assert "Broken" in node.lifecycle.crashes[-1].traceback


@pytest.mark.parametrize("where", ["sync", "async", "after a wait"])
async def test_an_init_that_raises_starts_nothing(node: Node, where: str) -> None:
    """No half-started agent stays in a table, and its name is free again."""

    class Unable(Agent):
        def init(self) -> Any:
            if where == "sync":
                raise OSError("no database")
            return self.connect()

        async def connect(self) -> None:
            if where == "after a wait":
                await asyncio.sleep(0)
            raise OSError("no database")

    with pytest.raises(InitFailed, match="OSError: no database") as caught:
        await node.spawn(Unable, name="unable")
    assert isinstance(caught.value.__cause__, OSError)
    assert node.whereis("unable") is None
    assert [type(agent).__name__ for agent in node.agents.values()] == ["Supervisor"]


async def test_messages_sent_during_an_async_init_wait_for_its_end(node: Node) -> None:
    class Slow(Keeper):
        async def init(self, *first: Any) -> None:
            ref = self.ref
            ref.cast("early")
            await asyncio.sleep(0)
            self.kept = []

    ref = await node.spawn(Slow)
    assert await ref.call("late") == ["early", "late"]


async def test_stop_ends_the_agent_after_the_message_in_hand(node: Node) -> None:
    """The caller of that message still gets its reply; `terminate` runs; the reason is normal."""
    ended: list[ExitReason] = []

    class Once(Agent):
        def handle(self, message: Any) -> str:
            self.stop()
            return "done"

        async def terminate(self, reason: ExitReason) -> None:
            await asyncio.sleep(0)
            ended.append(reason)

    ref = await node.spawn(Once)
    assert await ref.call(1) == "done"
    await eventually(lambda: ended)
    assert ended == [NORMAL]
    assert not ref.is_alive
    assert node.lifecycle.crashed == 0


async def test_terminate_runs_after_a_crash_and_its_own_failure_changes_nothing(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Agent):
        def handle(self, message: Any) -> None:
            raise ValueError("first")

        def terminate(self, reason: ExitReason) -> None:
            raise RuntimeError("second")

    ref = await node.spawn(Fragile)
    with pytest.raises(AgentExited, match="first"):
        await ref.call(1)
    await eventually(lambda: ref.pid not in node.agents)
    assert "terminate() of Fragile" in caplog.text


async def test_a_kill_needs_no_consent(node: Node) -> None:
    """`killed` skips `terminate` (OTP: exit(Pid, kill)) and cuts a waiting step short."""
    log: list[str] = []

    class Stubborn(Agent):
        async def handle(self, message: Any) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                log.append("cleaned up")

        def terminate(self, reason: ExitReason) -> None:
            log.append("terminated")

    ref = await node.spawn(Stubborn)
    waiting = asyncio.ensure_future(ref.call("wait", timeout=None))
    await eventually(lambda: node.control.stack(node.control.find(ref.pid)).status == "waiting")
    ref.exit("killed")
    with pytest.raises(AgentExited, match="killed"):
        await waiting
    assert log == ["cleaned up"]
    assert ref.pid not in node.agents


async def test_a_step_that_will_not_end_is_given_up(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that swallows its cancellation cannot hold its place in the tree."""
    monkeypatch.setattr("observe.runtime.lifecycle.KILL_GRACE_S", 0.02)
    release = asyncio.Event()

    class Deaf(Agent):
        async def handle(self, message: Any) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

    ref = await node.spawn(Deaf)
    ref.cast(1)
    await settled(node)
    ref.exit("killed")
    await eventually(lambda: ref.pid not in node.agents)
    assert "given up" in caplog.text
    release.set()


async def test_a_dead_agent_turns_messages_into_dead_letters(node: Node) -> None:
    """Nothing is lost without a trace: what nobody will handle is counted and kept for a while."""
    ref = await node.spawn(Keeper, name="keeper")
    ref.exit("shutdown")
    ref.cast("too late")
    node.ref("nobody").cast("no such name")
    assert node.snapshot_vitals().dead_letters == 2
    assert [letter.message for letter in node.dead_letters] == ["too late", "no such name"]
    with pytest.raises(AgentExited, match="shutdown"):
        await ref.call("too late")
    with pytest.raises(NoSuchAgent, match="nobody"):
        await node.ref("nobody").call("no such name")


async def test_messages_left_in_the_mailbox_become_dead_letters_and_their_callers_are_answered(
    node: Node,
) -> None:
    class Fragile(Agent):
        def handle(self, message: Any) -> None:
            raise ValueError("at once")

    ref = await node.spawn(Fragile)
    ref.cast(1)
    ref.cast(2)
    with pytest.raises(AgentExited, match="ValueError: at once"):
        await ref.call(3, timeout=None)
    assert [letter.message for letter in node.dead_letters] == [2]


async def test_names_are_unique_and_free_again_after_the_end(node: Node) -> None:
    first = await node.spawn(Keeper, name="keeper")
    with pytest.raises(NameTaken, match="keeper"):
        await node.spawn(Keeper, name="keeper")
    first.exit("shutdown")
    second = await node.spawn(Keeper, name="keeper")
    assert node.whereis("keeper") == second != first
    assert node.ref("keeper").pid == second.pid


async def test_a_cast_from_another_thread_is_refused_and_cast_threadsafe_arrives(node: Node) -> None:
    """Silent corruption is the alternative."""
    ref = await node.spawn(Keeper)
    faults: list[BaseException] = []

    def work() -> None:
        try:
            ref.cast("wrong")
        except WrongThread as fault:
            faults.append(fault)
        for number in range(100):
            ref.cast_threadsafe(number)

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "cast_threadsafe" in str(faults[0])
    kept = vars(node.control.find(ref.pid))["kept"]
    await eventually(lambda: len(kept) >= 100)
    assert kept == list(range(100))


async def test_current_agent_tells_in_whose_step_code_runs(node: Node) -> None:
    """Libraries ask this to say on whose behalf they work."""
    seen: list[Agent | None] = []

    class Asks(Agent):
        async def handle(self, message: Any) -> None:
            seen.append(current_agent())
            await asyncio.sleep(0)
            seen.append(current_agent())

    ref = await node.spawn(Asks)
    await ref.call(1)
    agent = node.control.find(ref.pid)
    assert seen == [agent, agent]
    assert current_agent() is None


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_end_the_process_ends_the_agent_and_then_the_loop(fault: type[BaseException]) -> None:
    """As in asyncio itself, these two leave the event loop; the agent's crash is on record first."""
    crashes: list[str] = []

    class Ends(Agent):
        def handle(self, message: Any) -> None:
            raise fault

    async def main() -> None:
        async with Node("ending") as node:
            try:
                ref = await node.spawn(Ends)
                ref.cast("end")
                await asyncio.sleep(3600)
            finally:
                crashes.extend(crash.kind for crash in node.lifecycle.crashes)

    with pytest.raises(fault):
        asyncio.run(main())
    assert crashes == [fault.__name__]


async def test_a_stopped_node_refuses_work_and_says_so() -> None:
    async with Node("short") as node:
        ref = await node.spawn(Keeper)
    with pytest.raises(NodeDown):
        await node.spawn(Keeper)
    assert not ref.is_alive
    with pytest.raises(AgentExited):
        await ref.call(1)


@pytest.mark.parametrize("name", ["", "a/b", "../etc", "-x", "x" * 64, "a b", "shop\n"])
def test_a_node_name_that_could_be_a_path_is_refused(name: str) -> None:
    """It becomes part of file names."""
    with pytest.raises(ValueError, match="node's name"):
        Node(name)
