"""Links, exit signals, monitors, timers and process groups, as OTP has them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.runtime import Agent, Down, Exit, ExitReason, Monitor, Node, NoSuchAgent, Ref, Timer
from observe.runtime.testing import eventually, settled


class Member(Agent):
    """Keeps what it hears, and does what it is told with the others it is told about."""

    def init(self) -> None:
        self.heard: list[Any] = []

    def handle(self, message: Any) -> Any:
        match message:
            case ("link", ref):
                self.link(ref)
            case ("unlink", ref):
                self.unlink(ref)
            case ("trap", flag):
                self.trap_exits(flag)
            case ("monitor", ref):
                return self.monitor(ref)
            case ("demonitor", monitor):
                self.demonitor(monitor)
            case ("after", delay_s, text, to):
                return self.send_after(delay_s, text, to)
            case "crash":
                raise ValueError("crashed")
            case "stop":
                self.stop()
            case "heard":
                return self.heard
            case _:
                self.heard.append(message)
        return None


async def members(node: Node, count: int) -> list[Ref]:
    return [await node.spawn(Member) for _ in range(count)]


async def test_a_crash_goes_through_links_to_all_that_do_not_trap(node: Node) -> None:
    """OTP: linked processes share their fate; the signal carries the first one's reason all the way."""
    refs = await members(node, 4)
    bystander = refs.pop()
    for one, other in itertools.pairwise(refs):
        await one.call(("link", other))
    refs[0].cast("crash")
    await settled(node)
    assert [ref.is_alive for ref in (*refs, bystander)] == [False, False, False, True]
    reason = await refs[2].wait_exit()
    assert (reason.text, reason.root_pid) == ("ValueError: crashed", refs[0].pid)
    assert [crash.pid for crash in node.lifecycle.crashes] == [refs[0].pid]


async def test_a_normal_end_does_not_take_linked_agents_along(node: Node) -> None:
    one, other = await members(node, 2)
    await one.call(("link", other))
    one.cast("stop")
    await settled(node)
    assert not one.is_alive
    assert other.is_alive


async def test_an_agent_that_traps_exits_receives_them_as_messages(node: Node) -> None:
    """Also normal ones (OTP: process_flag(trap_exit, true))."""
    watcher, stops, crashes = await members(node, 3)
    await watcher.call(("trap", True))
    for ref in (stops, crashes):
        await watcher.call(("link", ref))
    stops.cast("stop")
    crashes.cast("crash")
    await settled(node)
    first, second = await watcher.call("heard")
    assert isinstance(first, Exit)
    assert (first.ref, first.reason.kind) == (stops, "normal")
    assert (second.ref, second.reason.text) == (crashes, "ValueError: crashed")


async def test_an_unlinked_agent_hears_nothing(node: Node) -> None:
    one, other = await members(node, 2)
    await one.call(("link", other))
    await one.call(("unlink", other))
    other.cast("crash")
    await settled(node)
    assert one.is_alive


async def test_linking_to_a_dead_agent_is_an_exit_signal_noproc(node: Node) -> None:
    trapping, plain, dead = await members(node, 3)
    dead.exit("killed")
    await trapping.call(("trap", True))
    await trapping.call(("link", dead))
    await plain.call(("link", dead))
    await settled(node)
    (heard,) = await trapping.call("heard")
    assert (heard.ref, heard.reason.kind) == (dead, "noproc")
    assert not plain.is_alive


async def test_exit_signals_from_outside_follow_otps_rules(node: Node) -> None:
    """`killed` always ends; `normal` is ignored; others end those that do not trap."""
    plain, trapping, victim = await members(node, 3)
    await trapping.call(("trap", True))
    plain.exit("normal")
    trapping.exit("out of budget")
    victim.exit("out of budget")
    trapping.exit("normal")
    await settled(node)
    assert plain.is_alive
    heard = await trapping.call("heard")
    assert [signal.reason.text or signal.reason.kind for signal in heard] == ["out of budget", "normal"]
    assert str(await victim.wait_exit()) == "shutdown (out of budget)"
    trapping.exit("killed")
    assert (await trapping.wait_exit()).kind == "killed"


async def test_a_monitor_tells_once_and_only_its_owner(node: Node) -> None:
    """OTP: one 'DOWN' for each monitor, and monitors are one-directional."""
    watcher, watched = await members(node, 2)
    first: Monitor = await watcher.call(("monitor", watched))
    second: Monitor = await watcher.call(("monitor", watched))
    watched.cast("crash")
    await settled(node)
    heard = await watcher.call("heard")
    assert [(down.monitor, down.ref, down.reason.kind) for down in heard] == [
        (first, watched, "crash"),
        (second, watched, "crash"),
    ]
    assert all(isinstance(down, Down) for down in heard)
    watcher.exit("killed")


async def test_a_monitor_of_a_dead_agent_tells_at_once(node: Node) -> None:
    watcher, dead = await members(node, 2)
    dead.exit("killed")
    await watcher.call(("monitor", dead))
    await settled(node)
    (down,) = await watcher.call("heard")
    assert down.reason.kind == "noproc"


async def test_a_demonitored_agent_dies_unheard(node: Node) -> None:
    watcher, watched = await members(node, 2)
    monitor = await watcher.call(("monitor", watched))
    await watcher.call(("demonitor", monitor))
    watched.exit("killed")
    await settled(node)
    assert await watcher.call("heard") == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["monitor", "demonitor", "crash", "kill", "stop"]),
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        max_size=30,
    )
)
def test_exactly_one_down_for_each_monitor_that_stands(actions: list[tuple[str, int, int]]) -> None:
    """Whatever happens in whatever order: no Down is lost, doubled, or sent after `demonitor`."""

    async def main() -> None:
        async with Node("downs") as node:
            watcher = await node.spawn(Member)
            refs = await members(node, 4)
            standing: list[Monitor] = []
            expected: list[Monitor] = []
            for action, which, other in actions:
                ref = refs[which]
                if action == "monitor":
                    monitor = await watcher.call(("monitor", ref))
                    (standing if ref.is_alive else expected).append(monitor)
                elif action == "demonitor" and standing:
                    await watcher.call(("demonitor", standing.pop(other % len(standing))))
                else:
                    if action == "kill":
                        ref.exit("killed")
                    else:
                        ref.cast("crash" if action == "crash" else "stop")
                    await settled(node)
                    expected += [monitor for monitor in standing if not monitor.ref.is_alive]
                    standing = [monitor for monitor in standing if monitor.ref.is_alive]
            await settled(node)
            told = [down.monitor for down in await watcher.call("heard")]
            assert len(told) == len(set(told))
            assert set(told) == set(expected)

    asyncio.run(main())


async def test_a_timer_sends_its_message_once(node: Node) -> None:
    one, other = await members(node, 2)
    await one.call(("after", 0.001, "to myself", None))
    await one.call(("after", 0.001, "to another", other))
    await eventually(
        lambda: vars(node.control.find(one.pid))["heard"] and vars(node.control.find(other.pid))["heard"]
    )
    assert await one.call("heard") == ["to myself"]
    assert await other.call("heard") == ["to another"]


async def test_a_cancelled_timer_sends_nothing(node: Node) -> None:
    (ref,) = await members(node, 1)
    timer: Timer = await ref.call(("after", 0.005, "never", None))
    later: Timer = await ref.call(("after", 0.01, "later", None))
    assert timer.is_pending
    assert timer.left_s > 0
    assert timer.cancel() is True
    assert timer.cancel() is False
    await eventually(lambda: not later.is_pending)
    assert await ref.call("heard") == ["later"]


async def test_timers_die_with_their_agent(node: Node) -> None:
    """A message meant for one life must not reach the next, nor wake the event loop for nobody."""
    owner, other = await members(node, 2)
    timers: list[Timer] = [await owner.call(("after", 0.005, "late", to)) for to in (None, other)]
    owner.exit("killed")
    assert [timer.is_pending for timer in timers] == [False, False]
    assert await other.call("heard") == []


async def test_a_group_is_published_to_in_one_go(node: Node) -> None:
    refs = await members(node, 10_000)
    for ref in refs:
        node.groups.join("all", ref)
    assert node.groups.publish("all", "hello") == 10_000
    await settled(node)
    assert all([await ref.call("heard") == ["hello"] for ref in refs])
    assert node.groups.publish("nobody", "hello") == 0


async def test_membership_is_counted_and_ends_with_the_agent(node: Node) -> None:
    """OTP's pg: who joins twice is a member twice and must leave twice; the dead leave by themselves."""
    one, other = await members(node, 2)
    for ref in (one, one, other):
        node.groups.join("g", ref)
    assert node.groups.members("g") == [one, one, other]
    assert node.groups.leave("g", one) is True
    assert node.groups.members("g") == [one, other]
    other.exit("killed")
    assert node.groups.members("g") == [one]
    assert node.groups.leave("g", one) is True
    assert node.groups.leave("g", one) is False
    assert node.groups.which_groups() == []
    with pytest.raises(NoSuchAgent):
        node.groups.join("g", other)


async def test_whoever_waits_for_an_end_is_told_the_reason(node: Node) -> None:
    """From plain asyncio code, without an agent of one's own."""
    (ref,) = await members(node, 1)
    waiting = asyncio.ensure_future(ref.wait_exit())
    await asyncio.sleep(0)
    ref.cast("stop")
    reason: ExitReason = await waiting
    assert reason.kind == "normal"
    assert await ref.wait_exit() == reason
