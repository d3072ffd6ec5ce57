"""The whole pipe: a real service, its real probe, a client. What a person on call lives through at three in the morning."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from observe.probe.cards import list_cards, read_card
from observe.probe.client import ClientState, NodeClient, connect
from observe.probe.errors import NodeUnreachable, NoSuchNode, RemoteError
from observe.probe.wire import Vitals
from observe.probe.wire_agent import Value
from observe.probe.wire_table import Page, Query
from tests.probe.live import LiveService, eventually, is_gone, private_runtime, probes_of, until, wait_until

AGENTS = 7
"""Of a live service with three waiters: two supervisors, nasty and holder as well."""


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
def service(runtime: Path) -> Iterator[LiveService]:
    with LiveService(runtime) as service:
        yield service


@pytest.fixture(scope="module")
def standing() -> Iterator[LiveService]:
    """One for all tests that leave it as it was."""
    with (
        pytest.MonkeyPatch.context() as patch,
        private_runtime(patch) as path,
        LiveService(path) as service,
    ):
        yield service


@contextlib.asynccontextmanager
async def attached(*, reconnect: bool = False) -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=10.0, reconnect=reconnect) as node:
        await eventually(node.agents, lambda page: page.total == AGENTS)  # a tick after their start
        yield node


async def row(node: NodeClient, name: str) -> dict[str, object]:
    """The agent's row; empty when it has none."""
    page = await node.agents(Query(filter=f"name={name}"))
    return dict(zip(page.columns, page.rows[0], strict=True)) if page.rows else {}


def part(value: Value | None, key: str) -> Value:
    assert value is not None
    return next(item for name, item in value.items or [] if name == key)


async def hold(service: LiveService, where: str, amount: float) -> None:
    """Let an agent hold the scheduler, once the probe knows that agent."""
    async with attached():
        service.tell("cast", "holder", [where, amount])


async def held(node: NodeClient, where: str) -> Vitals:
    """The vital signs, once they say who holds the scheduler, where, and with which stack."""

    def good(vitals: Vitals) -> bool:
        return vitals.held is not None and vitals.held.where == where and bool(vitals.held.stack)

    return await eventually(node.vitals, good, "the holder's stack")


# -- looking -------------------------------------------------------------------------------------------------------------


async def test_attach_and_see_every_agent(standing: LiveService) -> None:
    """The first thing anybody does."""
    async with attached() as node:
        assert node.info.pid == standing.pid
        assert node.info.incarnation == standing.facts["incarnation"]
        page = await node.agents(Query(sort="pid", descending=False))
        assert [row[page.columns.index("name")] for row in page.rows] == [
            "root", "waiters", "waiter-0", "waiter-1", "waiter-2", "nasty", "holder",
        ]  # fmt: skip
        idle = await eventually(lambda: row(node, "waiter-1"), lambda found: found.get("status") == "idle")
        assert idle["class"] == "Waiter"
        assert idle["child"] == "w1"
        tree = await node.tree()
        assert [child.name for child in tree.children] == ["waiters", "nasty", "holder"]
        assert tree.children[0].strategy == "one_for_one"
        assert tree.children[0].by_status == {"idle": 3}
        assert (await node.vitals()).state == "up"


async def test_inspect_state_that_cannot_be_encoded(standing: LiveService) -> None:
    """Sockets, locks, cycles, a `__repr__` that raises or is ten megabytes long, secrets: real agents have all of it."""
    async with attached() as node:
        # A machine that is busy may spend the time that one look may take on the costly `__repr__`s alone.
        detail = await eventually(
            lambda: node.inspect("nasty"), lambda found: part(found.state, "cycle").items, "its state, opened"
        )
        state = detail.state
        assert detail.doc == "Holds what cannot be encoded. The second line of this docstring is not shown."
        assert part(state, "connection").type == "socket"
        assert part(state, "lock").text.startswith("<unlocked")
        assert part(part(state, "cycle"), "self").cut is True
        assert part(state, "raises").error == "RuntimeError: no repr today"
        huge = part(state, "huge")
        assert huge.cut or "took too long" in (huge.error or "")  # on a machine that is slow enough
        assert part(state, "api_key").masked is True
        assert "hunter22" not in detail.model_dump_json()
        assert part(state, "numbers").more == 999_975
        assert part(state, "text").size == 10_000_000
        assert detail.supervisor is not None
        assert detail.supervisor.name == "root"
        assert detail.note == ""
        assert standing.do("call", "waiter-0", "count") == {"answer": 1}  # no harm done


async def test_the_stack_of_a_waiting_agent(service: LiveService) -> None:
    """`Which line does it hang on` without having planned for the question."""
    service.do("cast", "waiter-0", 1000)
    async with attached() as node:
        waiting = await eventually(
            lambda: row(node, "waiter-0"), lambda found: found.get("status") == "waiting"
        )
        assert waiting["activity"] == "tool:search"
        stack = await node.stack("waiter-0")
        assert [frame.function for frame in stack.frames][:3] == ["handle", "wait_inside", "sleep"]
        assert stack.frames[1].source == "await asyncio.sleep(seconds)"
        detail = await node.inspect("waiter-0")
        assert [activity.name for activity in detail.activities] == ["tool:search"]
        assert detail.activities[0].attributes == {"query": "'mug'"}


async def test_messages_that_pile_up_are_seen(service: LiveService) -> None:
    """A mailbox grows while its agent waits: it gets no slice, and must still be looked at."""
    service.do("cast", "waiter-0", 1000)
    async with attached() as node:
        await eventually(lambda: row(node, "waiter-0"), lambda found: found.get("status") == "waiting")
        for count in (1, 5):
            for _ in range(count):
                service.do("cast", "waiter-0", "count")
        grown = await eventually(lambda: row(node, "waiter-0"), lambda found: found.get("mailbox") == 6)
        assert grown["mailbox_max"] == 6
        detail = await node.inspect("waiter-0", max_items=4)
        assert (detail.mailbox_total, [message.text for message in detail.mailbox]) == (6, ["'count'"] * 4)


async def test_a_crash_is_seen_with_all_that_led_to_it(service: LiveService) -> None:
    """Reason, traceback, the message that did it, and who took its place."""
    async with attached() as node:
        before = await eventually(lambda: row(node, "waiter-1"))
        events = await node.watch_events()
        service.do("cast", "waiter-1", "crash")
        crashes = await eventually(node.crashes, lambda found: found.crashes and found.crashes[0].restarted)
        crash = crashes.crashes[0]
        assert (crash.pid, crash.name, crash.reason) == (before["pid"], "waiter-1", "ValueError: asked to")
        assert 'raise ValueError("asked to")' in crash.traceback
        assert crash.message is not None
        assert crash.message.text == "'crash'"
        kinds: set[str] = set()
        async for push in events:
            kinds |= {event.kind for event in push.data.events}
            if {"crash", "restart", "exit"} <= kinds:
                break
        detail = await node.inspect("waiter-1")
        assert detail.last_crash is not None
        assert detail.last_crash.fingerprint == crash.fingerprint
        assert detail.agent["crashes"] == 1


# -- acting --------------------------------------------------------------------------------------------------------------


async def test_kill_one_and_its_supervisor_brings_it_back(service: LiveService) -> None:
    """The whole point of supervision, done from outside."""
    service.do("cast", "waiter-2", 1000)
    async with attached() as node:
        before = await eventually(
            lambda: row(node, "waiter-2"), lambda found: found.get("status") == "waiting"
        )
        outcome = await node.kill("waiter-2", reason="hangs")
        assert outcome.done
        assert outcome.pid == before["pid"]
        after = await eventually(
            lambda: row(node, "waiter-2"), lambda found: found and found["pid"] != before["pid"]
        )
        assert (after["child"], after["restarts"], after["crashes"]) == ("w2", 1, 0)
        with pytest.raises(RemoteError) as caught:
            await node.kill(before["pid"])
        assert caught.value.code == "no_such_agent"
        assert service.do("call", "waiter-0", "count") == {"answer": 1}


# -- a scheduler that is held ---------------------------------------------------------------------------------------------


async def test_an_endless_loop_is_named_with_its_stack(service: LiveService) -> None:
    """Nothing in the service answers, and still a person can attach and see which agent, since when, and where."""
    await hold(service, "python", 1000.0)
    async with attached() as node:
        vitals = await held(node, "python")
        assert vitals.state == "held"
        assert vitals.held is not None
        assert (vitals.held.name, vitals.held.class_name) == ("holder", "Holder")
        assert vitals.held.since_s > 0
        assert vitals.held.stack[-1].function == "spin_in_python"
        stack = await node.stack("holder")
        assert "spin_in_python" in [frame.function for frame in stack.frames]
        assert (await node.agents()).total == AGENTS
        page = await node.agents(Query(filter="name=holder", columns=["name", "status"]))
        assert page.rows == [["holder", "running"]]
        with pytest.raises(RemoteError) as caught:
            await node.inspect("waiter-0")
        assert caught.value.code == "scheduler_held"
        assert "holder" in str(caught.value)
        with pytest.raises(RemoteError) as caught:
            await node.kill("waiter-0")
        assert caught.value.code == "scheduler_held"
        pid = stack.pid
        outcome = await node.kill("holder", reason="it loops")
        assert (outcome.done, outcome.pid) == (True, pid)
        assert "it loops" in outcome.reason
        await eventually(node.vitals, lambda vitals: vitals.state == "up")


async def test_a_command_that_came_too_late_is_never_carried_out(service: LiveService) -> None:
    """Told that nothing was done, a person does something else; the old command must not strike later."""
    async with attached() as node:
        before = await eventually(lambda: row(node, "waiter-0"))
        service.tell("cast", "holder", ["python", 5.0])
        await eventually(node.vitals, lambda vitals: vitals.held is not None)
        with pytest.raises(RemoteError):
            await node.kill("waiter-0")
        await eventually(node.vitals, lambda vitals: vitals.held is None)
        await node.inspect("waiter-0")  # whatever waited for the scheduler has been looked at
        assert (await row(node, "waiter-0"))["pid"] == before["pid"]


async def test_a_c_call_that_keeps_the_interpreter_is_named_with_its_stack(service: LiveService) -> None:
    """No thread of the service can run: only shared memory and a signal tell what happens there."""
    await hold(service, "c", 10**10)
    async with attached() as node:
        vitals = await held(node, "c")
        assert vitals.held is not None
        assert vitals.held.name == "holder"
        assert [frame.function for frame in vitals.held.stack][-2:] == ["handle", "spin_in_c"]
        stack = await node.stack("holder")
        assert stack.frames[-1].source == "return sum(range(amount))"
        with pytest.raises(RemoteError) as caught:
            await node.kill("holder")
        assert caught.value.code == "scheduler_held"
        assert "C code cannot be interrupted" in caught.value.hint
        assert (await node.agents()).total == AGENTS


async def test_a_scheduler_that_is_free_again_says_so(service: LiveService) -> None:
    """The page says `held` as long as it is true, and no longer."""
    async with attached() as node:
        service.tell("cast", "holder", ["c", 10**8])
        await eventually(node.vitals, lambda vitals: vitals.held is not None)
        await eventually(node.vitals, lambda vitals: vitals.held is None and vitals.state == "up")
        await node.inspect("waiter-0")


# -- deaths --------------------------------------------------------------------------------------------------------------


async def test_a_killed_service_is_shown_dead_with_its_last_picture(service: LiveService) -> None:
    """What was it doing when it died? The probe is still there to tell."""
    async with attached() as node:
        await eventually(node.vitals, lambda vitals: vitals.memory > 0)
        service.kill()
        vitals = await eventually(node.vitals, lambda vitals: vitals.state == "dead")
        assert vitals.memory > 0
        assert (await node.agents()).total == AGENTS
        with pytest.raises(RemoteError) as caught:
            await node.kill("waiter-0")
        assert caught.value.code == "node_dead"
    async with attached() as late:
        assert late.info.state == "dead"
        assert (await row(late, "nasty"))["class"] == "Nasty"
    card = read_card("shop")
    assert card is not None
    assert card.state == "dead"


async def test_a_killed_service_can_be_started_again_at_once(service: LiveService, runtime: Path) -> None:
    """The lingering probe makes way, and a console that waited goes over to the next incarnation."""
    states: list[ClientState] = []
    async with connect("shop", timeout_s=10.0, reconnect=True, on_state=states.append) as node:
        first = node.info.incarnation
        watch = await node.watch_vitals(interval_s=0.1)
        service.kill()
        with LiveService(runtime) as successor:
            await until(lambda: node.info.incarnation != first and node.state == "up", "the next incarnation")
            assert node.info.pid == successor.pid
            async for push in watch:
                if push.data.state == "up":
                    break
            await until(lambda: is_gone(service.probe_pid), "the old probe")
            assert states[0].state == "lost"
            # Told when its watches are renewed as well, which may take until after their first push.
            await until(lambda: states[-1].state == "up", "to be told")


async def test_a_killed_probe_comes_back_and_no_agent_notices(service: LiveService) -> None:
    """The observer may die; the observed may not. The console finds the next probe by itself."""
    service.do("cast", "waiter-0", 1000)
    assert service.do("call", "waiter-1", "count") == {"answer": 1}
    async with attached(reconnect=True) as node:
        pids = await node.agents()
        watch = await node.watch_agents(Query(sort="pid", descending=False), interval_s=0.1)
        os.kill(service.probe_pid, signal.SIGKILL)
        await until(lambda: node.state == "lost", "the loss to be noticed")
        with pytest.raises(NodeUnreachable):
            await node.vitals()
        await until(lambda: node.state == "up", "the next probe")
        assert node.info.incarnation == service.facts["incarnation"]
        assert node.info.probe_pid != service.probe_pid
        again = await eventually(node.agents, lambda page: page.total == AGENTS)
        assert sorted(line[0] for line in again.rows) == sorted(line[0] for line in pids.rows)
        async for push in watch:
            if push.data.total == AGENTS:
                break
        waiting = await eventually(
            lambda: row(node, "waiter-0"), lambda found: found.get("status") == "waiting"
        )
        assert waiting["restarts"] == 0
        assert (await node.kill("waiter-1")).done  # the new probe's control link works, too
        facts = service.do("statistics")
        service.probe_pid = facts["probe_pid"]
        assert facts["probe_restarts"] == 1


# -- ends ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("raise", 1), ("sys.exit", 7), ("SIGINT", 130)])
async def test_a_service_that_ends_leaves_no_process(service: LiveService, how: str, status: int) -> None:
    """However it ends while consoles are attached: the probe says good-bye and goes with it."""
    async with attached() as node:
        watch = await node.watch_vitals(interval_s=0.1)
        if how == "SIGINT":
            service.process.send_signal(signal.SIGINT)
        else:
            service.tell(how)
        with pytest.raises(NodeUnreachable):
            async for _ in watch:
                pass
    code, complaints = await asyncio.to_thread(service.wait)
    assert code == status or (how == "SIGINT" and code == -signal.SIGINT)
    assert "observe" not in complaints.replace("/observe", "") or how != "return", complaints
    await until(lambda: is_gone(service.probe_pid), "the probe to end")
    assert list_cards() == []
    with pytest.raises(NoSuchNode):
        await connect("shop").open()


def test_a_service_told_to_terminate_leaves_no_process_for_long(runtime: Path) -> None:
    """SIGTERM without a handler ends Python on the spot: the probe shows the dead node, lingers and goes."""
    with LiveService(runtime, linger_s=0.5) as service:
        service.process.terminate()
        service.process.wait(30)
        wait_until(lambda: is_gone(service.probe_pid), "the probe to end")
    assert list_cards() == []


async def test_a_forked_child_does_not_disturb(service: LiveService) -> None:
    """Libraries fork. The child's end must not take the parent's probe with it, nor may it speak for the parent."""
    async with attached() as node:
        child = service.do("fork", 0.3)["child"]
        await until(lambda: psutil.Process(child).status() == psutil.STATUS_ZOMBIE, "the child to end")
        assert [probe.pid for probe in probes_of(service.pid)] == [service.probe_pid]
        assert (await node.kill("waiter-0")).done
        assert (await node.vitals()).state == "up"
        assert (await node.inspect("waiter-1")).state is not None
        assert service.do("statistics")["probe_restarts"] == 0


async def test_a_forked_child_that_outlives_the_service_does_not_keep_it_alive(service: LiveService) -> None:
    """The child has inherited the sockets; the node is dead nevertheless."""
    async with attached() as node:
        child = service.do("fork", 60.0)["child"]
        try:
            service.kill()
            await eventually(node.vitals, lambda vitals: vitals.state == "dead")
        finally:
            os.kill(child, signal.SIGKILL)


async def test_two_nodes_with_one_name(service: LiveService, runtime: Path) -> None:
    """The second is refused with a sentence; the first does not notice."""
    second = LiveService(runtime)
    try:
        code, complaints = await asyncio.to_thread(second.wait)
    finally:
        second.process.kill()
    assert code == 1
    assert "a node named shop is running already" in complaints
    assert "NodeNameTaken" in complaints
    async with attached() as node:
        assert node.info.pid == service.pid
        assert (await node.inspect("waiter-0")).state is not None


async def test_a_table_keeps_its_order_and_window_while_agents_come_and_go(standing: LiveService) -> None:
    """A console shows a window; the node does the sorting."""
    async with attached() as node:
        watch = await node.watch_agents(Query(sort="name", descending=False, limit=2), interval_s=0.05)
        seen: list[Page] = []
        async for push in watch:
            seen.append(push.data)
            if len(seen) == 2:
                await watch.requery(Query(filter="waiter-", sort="pid", limit=5))
            if len(seen) > 2 and push.data.matched == 3:
                break
        await watch.close()
        assert [line[1] for line in seen[-1].rows] == ["waiter-2", "waiter-1", "waiter-0"]


def test_the_probe_costs_an_idle_service_little(standing: LiveService) -> None:
    """Telemetry adapts: an idle service pays for beats only."""
    began = time.monotonic()
    before = standing.do("statistics")["cost_us"]
    wait_until(lambda: standing.do("statistics")["frames"] > 20)
    spent = standing.do("statistics")["cost_us"] - before
    assert spent < 0.2e6 * (time.monotonic() - began) + 50_000


async def test_what_observing_costs_is_told_with_its_budget(standing: LiveService) -> None:
    """Both halves: what telemetry takes from the scheduler, and what the probe takes beside it."""
    async with connect("shop", timeout_s=10.0) as node:
        vitals = await eventually(node.vitals, lambda vitals: vitals.probe_cpu > 0 and vitals.probe_cost > 0)
        assert vitals.probe_budget == 0.02
        assert vitals.probe_tick_s >= 0.225  # a beat early at most
        assert len((await node.vitals(history_s=60)).history["probe_cpu"]) > 0
