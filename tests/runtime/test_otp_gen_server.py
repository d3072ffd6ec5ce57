"""What OTP's own tests ask of `gen_server`, asked of agents. Differences are listed in docs/runtime.md, "Beside OTP".

What `test_agent.py`, `test_calls.py`, `test_mailbox.py` and `test_bonds.py` ask is not asked again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from observe.runtime import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    Agent,
    AgentExited,
    CallTimeout,
    Down,
    Exit,
    ExitReason,
    InitFailed,
    NameTaken,
    Node,
    NoSuchAgent,
    Ref,
)
from observe.runtime.testing import eventually, settled

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()


class Server(Agent):
    """Does to itself what the message says."""

    def init(self, how: str = "") -> None:
        if how == "fail":
            raise ValueError("init fails")
        self.heard: list[Any] = []

    async def handle(self, message: Any) -> Any:
        match message:
            case ExitReason():
                self.stop(message)
            case ("sleep", seconds):
                await asyncio.sleep(seconds)
            case "crash":
                raise ValueError("crashed")
            case ("link", ref):
                self.link(ref)
            case ("monitor", ref):
                self.monitor(ref)
            case "trap":
                self.trap_exits()
            case "heard":
                return self.heard
            case _:
                self.heard.append(message)
        return message

    def terminate(self, reason: ExitReason) -> None:
        LOG.append(str(reason))


# -- Starts


async def test_a_second_start_under_a_name_tells_who_has_it(node: Node) -> None:
    first = await node.spawn(Server, name="server")
    with pytest.raises(NameTaken) as caught:
        await node.spawn(Server, name="server")
    assert caught.value.pid == first.pid
    assert await node.ref("server").call("still there") == "still there"
    first.exit("killed")
    assert (await node.spawn(Server, name="server")).is_alive


async def test_a_name_is_never_left_behind_by_a_start_that_fails(node: Node) -> None:
    """A hundred times, since it would be a matter of moments."""
    for _ in range(100):
        with pytest.raises(InitFailed, match="init fails"):
            await node.spawn(Server, "fail", name="server")
        assert node.whereis("server") is None
    assert node.lifecycle.crashed == 100


@pytest.mark.parametrize("obeys", [True, False])
async def test_an_init_that_is_told_to_end_has_not_crashed(node: Node, obeys: bool) -> None:
    """OTP's {stop, shutdown} from init: the starter hears it, and nothing is on record. One that does not listen is given up."""
    entered = asyncio.Event()

    class Unwanted(Agent):
        async def init(self) -> None:
            entered.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if not obeys:
                    await asyncio.sleep(0.1)
                raise

    starting = asyncio.ensure_future(node.spawn(Unwanted, name="unwanted", shutdown_s=0.01))
    await entered.wait()
    node.ref("unwanted").exit("shutdown")
    with pytest.raises(InitFailed) as caught:
        await starting
    assert caught.value.reason.kind == "shutdown"
    assert not node.lifecycle.crashes
    assert node.whereis("unwanted") is None


# -- Ends


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, ExitReason("shutdown", "why")], ids=str)
async def test_an_orderly_end_is_no_crash_and_everybody_hears_the_reason(
    node: Node, reason: ExitReason
) -> None:
    """Callers behind it, who waits for the end, who is linked and who monitors hear the same."""
    server, watcher = await node.spawn(Server), await node.spawn(Server)
    await watcher.call("trap")
    for what in ("link", "monitor"):
        await watcher.call((what, server))
    last = asyncio.ensure_future(server.call(reason))
    behind = asyncio.ensure_future(server.call("too late"))
    assert await last == reason
    with pytest.raises(AgentExited) as caught:
        await behind
    assert caught.value.reason == await server.wait_exit() == reason
    await settled(node)
    heard = await watcher.call("heard")
    assert {type(message) for message in heard} == {Exit, Down}
    assert len(heard) == 2
    assert {message.reason for message in heard} == {reason}
    assert [str(reason)] == LOG
    assert not node.lifecycle.crashes


async def test_a_crash_is_on_record_once_however_many_hear_of_it(node: Node) -> None:
    server = await node.spawn(Server, name="server")
    callers = [asyncio.ensure_future(server.call("crash")) for _ in range(3)]
    linked = await node.spawn(Server)
    await linked.call(("link", server))
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error.reason) for error in results if isinstance(error, AgentExited)] == [
        "ValueError: crashed"
    ] * 3
    await settled(node)
    (crash,) = node.lifecycle.crashes
    assert (crash.name, crash.message) == ("server", "crash")
    assert not linked.is_alive


async def test_stopping_from_outside_runs_terminate_with_the_reason_given(node: Node) -> None:
    """OTP's gen_server:stop/1,3: ask, and wait for the end. Asking one that is gone is no error, calling it is."""
    server = await node.spawn(Server, name="server")
    server.exit(ExitReason("shutdown", "other reason"))
    assert str(await server.wait_exit()) == "shutdown (other reason)"
    assert LOG == ["shutdown (other reason)"]
    server.exit("shutdown")
    assert str(await server.wait_exit()) == "shutdown (other reason)"
    with pytest.raises(AgentExited, match="other reason"):
        await server.call("anybody?")
    with pytest.raises(NoSuchAgent):
        await node.ref("server").call("anybody?")


async def test_a_stop_that_takes_too_long_is_the_callers_to_end(node: Node) -> None:
    """A time-out of waiting changes nothing for the agent, which has its `shutdown_s`."""

    class Slow(Agent):
        async def terminate(self, reason: ExitReason) -> None:
            await asyncio.sleep(3600)

    server = await node.spawn(Slow, shutdown_s=30)
    server.exit("shutdown")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server.wait_exit()
    assert server.pid in node.agents
    server.exit("killed")
    assert (await server.wait_exit()).kind == "killed"


async def test_an_end_while_it_waits_ends_the_wait(node: Node) -> None:
    """A receive inside of a callback is ended by an exit signal; so is an `await`."""
    server = await node.spawn(Server)
    waiting = asyncio.ensure_future(server.call(("sleep", 3600), timeout=None))
    await eventually(lambda: node.control.stack(node.control.find(server.pid)).status == "waiting")
    server.exit("shutdown")
    with pytest.raises(AgentExited, match="shutdown"):
        await waiting
    assert LOG == ["shutdown"]


# -- Calls and casts


async def test_a_delayed_answer_comes_in_time_or_is_dropped(node: Node) -> None:
    """The reply that comes too late goes to nobody: not to the caller's next call, and not to its mailbox."""

    class Caller(Server):
        async def handle(self, message: Any) -> Any:
            if not isinstance(message, Ref):
                return await super().handle(message)
            with pytest.raises(CallTimeout):
                await message.call(("sleep", 0.03), timeout=0.01)
            return [await message.call(number) for number in range(3)]

    server, caller = await node.spawn(Server), await node.spawn(Caller)
    assert await server.call(("sleep", 0.001)) == ("sleep", 0.001)
    assert await caller.call(server) == [0, 1, 2]
    assert await caller.call("heard") == []


async def test_a_call_is_answered_beside_a_mailbox_full_of_messages(node: Node) -> None:
    """OTP reads its replies past a huge message queue; ours do not go through the mailbox at all."""

    class Busy(Server):
        async def handle(self, message: Any) -> Any:
            if isinstance(message, Ref):
                for number in range(10_000):
                    self.ref.cast(number)
                return [await message.call(number) for number in range(10)]
            return await super().handle(message)

    server, busy = await node.spawn(Server), await node.spawn(Busy)
    assert await busy.call(server) == list(range(10))
    assert len(await busy.call("heard")) == 10_000


async def test_a_cast_to_nobody_is_fine_and_a_call_is_not(node: Node) -> None:
    server = await node.spawn(Server)
    server.exit("killed")
    server.cast("x")
    node.ref("nobody").cast("y")
    assert [letter.message for letter in node.dead_letters] == ["x", "y"]
    assert node.dead_letter_count == 2
    with pytest.raises(AgentExited):
        await server.call("x")
    with pytest.raises(NoSuchAgent, match="nobody"):
        await node.ref("nobody").call("y")


async def test_an_agent_without_a_handler_crashes_with_what_is_missing(node: Node) -> None:
    """OTP: undef_handle_call and its like."""

    class Mute(Agent):
        pass

    server = await node.spawn(Mute)
    with pytest.raises(AgentExited, match=r"Mute does not override handle\(\)"):
        await server.call("x")


# -- Links


async def test_a_kill_goes_on_through_links_as_a_reason_that_can_be_trapped(node: Node) -> None:
    """OTP: exit(Pid, kill) cannot be trapped; what linked processes get is `killed`, and can."""
    victim, plain, trapping = [await node.spawn(Server) for _ in range(3)]
    await trapping.call("trap")
    for ref in (plain, trapping):
        await ref.call(("link", victim))
    victim.exit("killed")
    await settled(node)
    assert (await plain.wait_exit()).kind == "killed"
    (told,) = await trapping.call("heard")
    assert (told.ref, told.reason) == (victim, KILLED)


async def test_two_links_are_one_and_two_monitors_are_two(node: Node) -> None:
    watched, watcher = await node.spawn(Server), await node.spawn(Server)
    await watcher.call("trap")
    for what in ("link", "monitor") * 2:
        await watcher.call((what, watched))
    await watched.call(NORMAL)
    await settled(node)
    assert [type(message).__name__ for message in await watcher.call("heard")].count("Exit") == 1
    assert [type(message).__name__ for message in await watcher.call("heard")].count("Down") == 2


async def test_links_in_a_ring_end_all_once(node: Node) -> None:
    refs = [await node.spawn(Server) for _ in range(50)]
    for number, ref in enumerate(refs):
        await ref.call(("link", refs[number - 1]))
    refs[17].cast("crash")
    await settled(node)
    assert not any(ref.is_alive for ref in refs)
    assert LOG == ["ValueError: crashed"] * 50
    assert len(node.lifecycle.crashes) == 1
