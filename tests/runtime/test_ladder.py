"""Restarts that learn: each further failure takes the next rung, and the ladder has an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.runtime import (
    Agent,
    Backoff,
    BadChildSpec,
    ChangeApproach,
    ChildSpec,
    Escalate,
    Failure,
    Ladder,
    MemoryStore,
    Node,
    Park,
    Ref,
    Restore,
    Retry,
    Rung,
    Supervisor,
    actions,
)
from observe.runtime.testing import Recorder, eventually, settled


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("test", intensity=0, store=MemoryStore()) as node:
        yield node


class Solver(Agent):
    """Solves a problem when its approach is the one that the problem wants."""

    def init(self, starts: list[str] | None = None) -> None:
        self.approach = "plain"
        self.solved: list[Any] = []
        self.told: list[Failure] = []
        if starts is not None:
            starts.append("init")

    def restored(self, starts: list[str] | None = None) -> None:
        if starts is not None:
            starts.append("restored")

    unsaved = ("told",)

    async def on_retry(self, failure: Failure) -> None:
        await asyncio.sleep(0)
        self.approach = "careful" if failure.attempt < 5 else "desperate"
        self.told = [failure]

    async def handle(self, message: Any) -> Any:
        match message:
            case ("needs", approach) if approach != self.approach:
                raise ValueError(f"{self.approach} does not do")
            case "save":
                await self.checkpoint()
            case "die":
                raise SystemError("die")
        self.solved.append(message)
        return self.solved


def rungs_of(recorder: Recorder) -> list[str]:
    return [str(event.what) for event in recorder.events if event.kind == "rung"]


async def solver(node: Node, *rungs: Rung, **options: Any) -> Ref:
    await node.spawn(
        Supervisor, [ChildSpec(Solver, name="s", ladder=Ladder(*rungs), **options)], name="sup", intensity=0
    )
    return node.ref("s")


async def test_each_failure_takes_the_next_rung_until_the_approach_fits(node: Node) -> None:
    """The same input fails the same way; the hook is told all it needs to try something else."""
    recorder = Recorder.on(node)
    starts: list[str] = []
    ref = await solver(node, Retry(times=2), Restore(), ChangeApproach(), Park(), args=(starts,))
    await ref.call("save")
    ref.cast(("needs", "careful"))
    done = [("needs", "careful")]
    await eventually(lambda: (s := node.registry.get("s")) and vars(s).get("solved", [])[-1:] == done)
    assert rungs_of(recorder) == ["Retry x2", "Retry x2", "Restore", "ChangeApproach"]
    assert starts == ["init", "init", "init", "restored", "restored"]
    (failure,) = node.control.find("s").told  # type: ignore[attr-defined]  # of a Solver
    assert (failure.attempt, failure.message, failure.has_message) == (4, ("needs", "careful"), True)
    assert str(failure.reason) == "ValueError: plain does not do"
    assert "does not do" in failure.traceback
    assert "test_ladder.py" in failure.traceback
    assert len(node.parked) == 0


async def test_a_ladder_can_end_with_a_parked_message(node: Node) -> None:
    """The agent goes on with what it can do; the message waits for somebody who understands it."""
    recorder = Recorder.on(node)
    ref = await solver(node, Retry(), ChangeApproach(), Park())
    for _ in range(2):  # the second one begins at the first rung again
        ref.cast(("needs", "magic"))
        await eventually(lambda: len(node.parked))
        await settled(node)
        (parked,) = node.parked
        assert parked.message == ("needs", "magic")
        node.parked.drop(parked.id)
        assert await ref.call("hello") == ["hello"]
    assert rungs_of(recorder) == ["Retry", "ChangeApproach", "Park"] * 2
    assert node.whereis("sup") is not None


@pytest.mark.parametrize("rungs", [(Retry(),), (Retry(), Escalate())])
async def test_the_end_of_a_ladder_is_the_supervisors_end(node: Node, rungs: tuple[Rung, ...]) -> None:
    """The supervisor above decides then, and sees why."""
    recorder = Recorder.on(node)
    ref = await solver(node, *rungs)
    supervisor = node.whereis("sup")
    assert supervisor is not None
    ref.cast("die")
    reason = await supervisor.wait_exit()
    assert str(reason) == "shutdown (child 's' escalated: SystemError: die)"
    assert rungs_of(recorder) == ["Retry", "Escalate"]


async def test_a_message_handled_begins_the_ladder_anew(node: Node) -> None:
    """Ten failures a day are not ten failures in a row."""
    recorder = Recorder.on(node)
    ref = await solver(node, Retry(), ChangeApproach())
    for _ in range(3):
        ref.cast(("needs", "careful"))
        await eventually(
            lambda: len(recorder.events) and (s := node.registry.get("s")) and vars(s).get("told")
        )
        await settled(node)
        agent = node.control.find("s")
        assert agent.solved == [("needs", "careful")]  # type: ignore[attr-defined]  # of a Solver
        agent.approach, agent.told = "plain", []  # type: ignore[attr-defined]  # of a Solver
    assert rungs_of(recorder) == ["Retry", "ChangeApproach"] * 3


async def test_a_while_without_failure_begins_it_anew(node: Node) -> None:
    recorder = Recorder.on(node)

    class Starter(Agent):
        fails = 2

        def init(self) -> None:
            if type(self).fails:
                type(self).fails -= 1
                raise OSError("not yet")

        def handle(self, message: Any) -> None:
            raise OSError(message)

    Starter.fails = 0
    ladder = Ladder(Retry(times=1), ChangeApproach(times=9), reset_s=0.05)
    await node.spawn(Supervisor, [ChildSpec(Starter, name="x", ladder=ladder, in_hand="drop")], name="sup")
    node.ref("x").exit("killed")
    await settled(node)
    await asyncio.sleep(0.06)
    node.ref("x").exit("killed")
    await settled(node)
    assert rungs_of(recorder) == ["Retry", "Retry"]


async def test_failures_of_init_climb_too_and_an_empty_place_can_be_filled(node: Node) -> None:
    """With no message to put aside, the place is: until somebody has looked."""
    recorder = Recorder.on(node)
    broken = [False]

    class Starter(Agent):
        def init(self) -> None:
            if broken[0]:
                raise OSError("no database")

        def handle(self, message: Any) -> Any:
            return "well"

    spec = ChildSpec(Starter, name="x", ladder=Ladder(Retry(times=2), Park()))
    supervisor = await node.spawn(Supervisor, [spec], name="sup", intensity=0)
    broken[0] = True
    node.ref("x").exit("killed")
    await settled(node)
    assert rungs_of(recorder) == ["Retry x2", "Retry x2", "Park"]
    assert [ref for _, ref, _ in supervisor.which_children()] == [None]
    broken[0] = False
    await supervisor.restart_child("x")
    assert await node.ref("x").call("how are you") == "well"


async def test_a_hook_that_fails_is_a_failure_of_its_own(node: Node) -> None:
    class Worse(Solver):
        async def on_retry(self, failure: Failure) -> None:
            if failure.attempt < 3:
                raise RuntimeError("the hook")
            await super().on_retry(failure)

    spec = ChildSpec(Worse, name="s", ladder=Ladder(Retry(), ChangeApproach(times=3)))
    await node.spawn(Supervisor, [spec], name="sup")
    node.ref("s").cast(("needs", "careful"))
    solver = await eventually(
        lambda: (a := node.registry.get("s")) is not None and vars(a).get("solved") and a
    )
    (failure,) = solver.told
    assert (str(failure.reason), failure.attempt) == ("RuntimeError: the hook", 3)
    assert failure.message == ("needs", "careful")


async def test_restore_where_nothing_is_saved_is_one_more_retry(node: Node) -> None:
    """A ladder does not break off because one of its rungs has nothing to stand on."""
    spec = ChildSpec(Solver, ladder=Ladder(Retry(), Restore(), ChangeApproach()))
    supervisor = await node.spawn(Supervisor, [spec])
    recorder = Recorder.on(node)
    ((_, ref, _),) = supervisor.which_children()
    assert ref is not None
    ref.cast(("needs", "careful"))
    await settled(node)
    assert rungs_of(recorder) == ["Retry", "Restore", "ChangeApproach"]
    assert supervisor.count_children()["active"] == 1


async def test_a_rung_may_wait(node: Node) -> None:
    """Nobody is in the place meanwhile, and the end of the supervisor ends the wait."""
    ref = await solver(
        node, Retry(backoff=Backoff(first_s=0.02, jitter=0)), Retry(backoff=Backoff(first_s=30))
    )
    ref.cast(("needs", "careful"))
    await settled(node)
    assert node.whereis("s") is None
    await eventually(lambda: node.lifecycle.crashed == 2)
    await settled(node)
    assert node.whereis("s") is None
    supervisor = node.whereis("sup")
    assert supervisor is not None
    supervisor.exit("shutdown")
    await settled(node)
    assert node.whereis("sup") is None


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_siblings_come_back_with_it_as_the_strategy_says(node: Node, strategy: Any) -> None:
    """A ladder decides whether and when; the strategy decides who."""
    specs = [
        ChildSpec(Solver, name="a"),
        ChildSpec(Solver, name="s", ladder=Ladder(Retry(), ChangeApproach())),
        ChildSpec(Solver, name="b"),
    ]
    await node.spawn(Supervisor, specs, name="sup", strategy=strategy, intensity=0)
    before = {name: node.ref(name).pid for name in "asb"}
    node.ref("s").cast(("needs", "careful"))
    await eventually(lambda: (a := node.registry.get("s")) is not None and vars(a).get("solved"))
    await settled(node)
    assert (node.ref("a").pid == before["a"]) is (strategy == "rest_for_one")
    assert node.ref("b").pid != before["b"]


async def test_an_orderly_end_is_no_failure(node: Node) -> None:
    recorder = Recorder.on(node)
    await node.spawn(
        Supervisor,
        [ChildSpec(Solver, name="s", restart="transient", ladder=Ladder(Retry()))],
        name="sup",
    )
    node.ref("s").exit("shutdown")
    await settled(node)
    assert node.whereis("s") is None
    assert rungs_of(recorder) == []


async def test_the_ladder_is_there_to_be_seen(node: Node) -> None:
    """The console shows how an agent is treated, and how far its ladder has been climbed."""
    ref = await solver(node, Retry(times=2), Park(), checkpoint="each_message", restore=True)
    await ref.call("hello")
    ref.cast(("needs", "magic"))
    await eventually(lambda: len(node.parked))
    await settled(node)
    spec = node.control.relations(node.control.find("s")).spec
    assert (
        spec
        | {
            "checkpoint": "each_message",
            "restore": True,
            "in_hand": "ladder",
            "ladder": "Retry x2 > Park",
            "failures": 0,
            "rung": "Park",
            "generation": 1,
        }
        == spec
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ladder(),
        lambda: Ladder(Retry),  # type: ignore[arg-type]  # the class, not a rung
        lambda: Ladder(Rung()),
        lambda: Ladder(Park(), Retry()),
        lambda: Ladder(Retry(), reset_s=0),
        lambda: Retry(times=0),
        lambda: Park(times=2),
        lambda: Escalate(backoff=Backoff()),
        lambda: ChildSpec(Solver, restart="temporary", ladder=Ladder(Retry())),
        lambda: ChildSpec(Supervisor, ladder=Ladder(Retry())),
    ],
)
def test_a_ladder_that_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(BadChildSpec):
        make()


climbing = st.lists(
    st.one_of(
        st.builds(Retry, times=st.integers(1, 4)),
        st.builds(Restore, times=st.integers(1, 3)),
        st.builds(ChangeApproach, times=st.integers(1, 3)),
    ),
    max_size=5,
)


@given(climbing, st.sampled_from([None, Park(), Escalate()]))
def test_a_ladder_takes_its_rungs_in_order_and_ends(climbing: list[Rung], last: Rung | None) -> None:
    """Each rung as often as it says, none skipped, none again; and then the end, for ever."""
    rungs = [*climbing, last] if last is not None else climbing
    if not rungs:
        return
    ladder = Ladder(*rungs)
    expected = [(rung, nth) for rung in climbing for nth in range(1, rung.times + 1)]
    taken = [ladder.rung_after(n) for n in range(1, len(expected) + 1)]
    assert taken == expected
    end = last if last is not None else Escalate()
    assert [ladder.rung_after(len(expected) + n)[0] for n in (1, 2, 9)] == [end] * 3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["good", "bad", "kill"])), max_size=25))
async def test_whatever_fails_the_tree_stays_whole(events: list[tuple[int, str]]) -> None:
    """Random failures of three agents with ladders that end in a parking lot: all live on, and each bad message is parked
    exactly once."""

    class Fragile(Agent):
        def init(self) -> None:
            self.good = 0

        def handle(self, message: tuple[str, int]) -> int:
            if message[0] == "bad":
                raise ValueError(message)
            self.good += 1
            return self.good

    async with Node("test", intensity=0, store=MemoryStore()) as node:
        specs = [
            ChildSpec(
                Fragile,
                name=str(n),
                restore=True,
                checkpoint="each_message",
                ladder=Ladder(Retry(), Restore(), Park(), reset_s=1000),
            )
            for n in range(3)
        ]
        await node.spawn(Supervisor, specs, name="sup", intensity=0)
        bad: list[Any] = []
        good = [0, 0, 0]
        for number, (who, what) in enumerate(events):
            if what == "kill":
                node.ref(str(who)).exit("killed")
                await settled(node)
                what = "good"  # so that no place is emptied by kills alone
            node.ref(str(who)).cast((what, number))
            if what == "bad":
                bad.append((what, number))
            good[who] += what == "good"
            await settled(node)
        assert sorted(parked.message for parked in node.parked) == bad
        assert [node.control.find(str(n)).good for n in range(3)] == good  # type: ignore[attr-defined]  # of a Fragile
        assert node.whereis("sup") is not None


async def test_an_asked_for_rung_that_nobody_takes_is_told_in_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor ends in the same moment: the answer says so, and nothing is waited for any longer."""
    monkeypatch.setattr(actions, "RUNG_S", 0.05)
    ref = await solver(node, Retry(), args=([],))
    agent = node.registry.get("s")
    assert agent is not None
    node.ref("sup").exit("killed")
    acting = actions.next_rung(node, agent)
    assert not isinstance(acting, actions.Acted)
    acted = await asyncio.wait_for(acting, 10)
    assert (acted.done, acted.facts["rung"]) == (False, "")
    assert "no rung" in acted.what
    assert not ref.is_alive
