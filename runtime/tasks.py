"""The asyncio tasks of a node's event loop, whether they belong to agents or not: listed, described, cancelled.

    asyncio.all_tasks(loop) ----> Tasks.look() ----> facts of each: state, awaits, tasks that it waits for
    loop.create_task ---> factory (only with Node(tasks=True)) ---> who created it, where, when

Nothing runs in here until somebody looks. asyncio itself keeps a weak set of its tasks, so that listing them needs no
preparation; what it does not keep is who created a task, and when. `Node(tasks=True)` keeps that too: a task factory in
front of the one that is there notes it on each new task.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.clock import now_ns
from observe.runtime.errors import NoSuchTask
from observe.runtime.exits import ExitReason
from observe.runtime.moments import is_of_runtime, shown_frames
from observe.runtime.preempt import PREEMPTERS, Preempter
from observe.runtime.preemptible import preemptible
from observe.runtime.stacks import Frame, cut, frame_of
from observe.runtime.step import Host
from observe.runtime.task_facts import TaskFacts, TaskStack, age_by_name, birth_of, name_of_task
from observe.runtime.task_view import (
    AnyTask,
    Standing,
    awaits,
    coroutine_of,
    is_ours,
    module_of,
    name_of,
    place_text,
    rings,
    standing_of,
)

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.frozen import Frozen
    from observe.runtime.node import Node

MOST_LOOKED_AT: Final = 50_000
"""Tasks of which facts are gathered in one go: about half a second of another thread's time. Those above are counted."""

AT_A_TIME: Final = 64
"""Tasks between two moments at which the interpreter lock is let go, when another thread looks: about a millisecond."""

NOT_CREATORS: Final = frozenset({"asyncio", "anyio", "uvloop"})
"""Packages whose functions create tasks for others: the creator is whoever called them."""


class Tasks:
    """The tasks of one node's loop: `node.tasks`. `open` and `close` belong to the loop's thread, the rest to any."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop: AbstractEventLoop | None = None
        self._thread_id = 0
        self._main: weakref.ref[AnyTask] | None = None
        self._before: Any = None
        self._is_factory = False
        self._preempts = False
        self.are_recorded = False
        """Whether it is noted who creates a task."""

    def open(self, *, record: bool, preempt: bool = False) -> None:
        """Begin with the running loop; note who creates tasks, and let their steps be frozen, as these say."""
        self._loop = loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        current = asyncio.current_task(loop)
        if current is not None:
            self._main = weakref.ref(current)
            birth_of(current)
        if record or preempt:
            self._before = loop.get_task_factory()
            loop.set_task_factory(self._make)  # type: ignore[arg-type]  # typeshed wants it generic
            self.are_recorded = record
            self._preempts = preempt
            self._is_factory = True

    def close(self) -> None:
        """Put the task factory back that was there before."""
        loop = self._loop
        if self._is_factory and loop is not None and loop.get_task_factory() == self._make:
            loop.set_task_factory(self._before)
        self.are_recorded = self._preempts = self._is_factory = False

    # -- Recording

    def _make(
        self, loop: AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        """The task factory: the one before, or asyncio's own, and a note."""
        before = self._before
        if self._preempts and not is_ours(coroutine) and asyncio.iscoroutine(coroutine):
            coroutine = preemptible(coroutine)
        made: asyncio.Future[Any]
        if before is None:
            made = asyncio.Task(coroutine, loop=loop, **options)
        else:
            made = before(loop, coroutine, **options)
        if self.are_recorded and isinstance(made, asyncio.Task) and not made.done():
            self._note(made, sys._getframe(1), loop)
        return made

    def _note(self, task: AnyTask, frame: FrameType | None, loop: AbstractEventLoop) -> None:
        creator = asyncio.current_task(loop)
        if creator is not None:
            birth_of(creator)  # numbered before what it creates
        birth = birth_of(task)  # an eager task may have been numbered by now, as the creator of others
        birth.at_ns = now_ns()
        birth.name = task.get_name()
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in NOT_CREATORS:
                birth.file, birth.line = frame.f_code.co_filename, frame.f_lineno
                birth.function = frame.f_code.co_qualname
                break
            frame = frame.f_back
        if isinstance(creator, Host):
            agent = agent_of(creator)
            birth.creator_name = agent._o_text() if agent is not None else ""
        elif creator is not None and creator is not task:
            birth.creator, birth.creator_name = birth_of(creator).number, name_of_task(creator)

    # -- Looking

    def look(self) -> tuple[list[TaskFacts], int]:
        """The tasks that have not ended, by number, at most `MOST_LOOKED_AT`; and how many there are in all.

        Takes some ten microseconds a task. From another thread than the loop's, the loop goes on meanwhile.
        """
        tasks = sorted(sorted(self._all(), key=age_by_name), key=lambda task: birth_of(task).number)
        is_elsewhere = threading.get_ident() != self._thread_id
        now, current, frozen = now_ns(), self._current(), self._frozen()
        found = []
        for place, task in enumerate(tasks[:MOST_LOOKED_AT]):
            if is_elsewhere and place % AT_A_TIME == 0:
                time.sleep(0)
            found.append(self._facts(task, current, frozen, now))
        edges = {facts.id: facts.waits_for for facts in found if facts.waits_for}
        in_ring = {one: ring for ring in rings(edges) for one in ring}
        for facts in found:
            facts.ring = in_ring.get(facts.id, ())
        return found, len(tasks)

    def find(self, number: int) -> AnyTask:
        """The task with this number.

        Raises:
            NoSuchTask: it has ended, or never was.
        """
        for task in self._all():
            if birth_of(task).number == number:
                return task
        raise NoSuchTask(number)

    def facts_of(self, task: AnyTask) -> TaskFacts:
        """One task, without looking whether it is in a ring."""
        return self._facts(task, self._current(), self._frozen(), now_ns())

    def stack_of(self, number: int) -> TaskStack:
        """Where the task is in its code, and everything else that is known of it.

        Raises:
            NoSuchTask: it has ended, or never was.
        """
        facts = next((one for one in self.look()[0] if one.id == number), None)
        if facts is None:
            raise NoSuchTask(number)
        task = self.find(number)
        if facts.state == "running":
            live = self._live_places(task)
            if live:
                return TaskStack(
                    facts, cut([frame_of(*place) for place in live]), "the live stack of a running task"
                )
        places = [(one.file, one.line, one.function) for one in awaits(coroutine_of(task))]
        frozen = self._frozen().get(agent_of(task) if isinstance(task, Host) else task)
        if frozen is not None:
            inside = self._frozen_places(frozen)
            # Its coroutines' awaits, as far as they are outside of the one whose step is frozen.
            outside = places[: len(places) - sum(place in inside for place in places)]
            places = outside + inside
            facts.state = "frozen"
            note = f"frozen: preempted after {frozen.ran_ns / 1e9:.2f} s of computing in this step, and resumed in its turn"
            return TaskStack(facts, cut([frame_of(*place) for place in places]), note)
        note = {
            "ready": "it goes on when the event loop comes to it",
            "running": "it runs at this moment",
        }.get(facts.state, "")
        return TaskStack(facts, cut([frame_of(*place) for place in places]), note)

    def running(self) -> AnyTask | None:
        """The plain task that runs at this moment, if one does. Any thread."""
        task = self._current()
        return None if isinstance(task, Host) else task

    def live_stack(self, task: AnyTask) -> list[Frame]:
        """The stack of a task that runs, outermost first; empty when it does not any more. From another thread."""
        return cut([frame_of(*place) for place in self._live_places(task)])

    def frozen_stack(self, frozen: Frozen) -> list[Frame]:
        """The stack of a step that is frozen."""
        return cut([frame_of(*place) for place in self._frozen_places(frozen)])

    def _frozen_places(self, frozen: Frozen) -> list[tuple[str, int, str]]:
        preempter = self._preempter
        frames: list[FrameType] = []
        for _ in range(5):  # it may have its turn at this moment, or lose it while it is read
            frames = preempter.frames_of(frozen) if preempter is not None else []
            if not frames and not frozen.is_parked:
                frames = shown_frames(sys._current_frames().get(self._thread_id))
            if frames:
                break
        return [(one.f_code.co_filename, one.f_lineno, one.f_code.co_qualname) for one in reversed(frames)]

    def _all(self) -> list[AnyTask]:
        if self._loop is None:
            return []
        # A spare task of the scheduler stands for no step: nobody means it.
        return [
            task
            for task in asyncio.all_tasks(self._loop)
            if not isinstance(task, Host) or task.seat.step is not None
        ]

    def end_frozen(self, task: AnyTask, reason: ExitReason) -> bool:
        """End the step of a task that computes on and on, where it is, its clean-up run; False when none is frozen.
        On the loop's thread."""
        preempter = self._preempter
        frozen = preempter.holds_task(task) if preempter is not None else None
        if preempter is None or frozen is None:
            return False
        preempter.end(frozen, reason)
        return True

    def _frozen(self) -> dict[Any, Frozen]:
        """The frozen steps, by their plain task, or by their agent."""
        preempter = self._preempter
        if preempter is None:
            return {}
        return {
            one.step.host if one.is_task and one.step is not None else one.agent: one
            for one in preempter.frozen
        }

    @property
    def _preempter(self) -> Preempter | None:
        return PREEMPTERS.get(self._loop) if self._loop is not None else None

    def _current(self) -> AnyTask | None:
        return asyncio.current_task(self._loop) if self._loop is not None else None

    def _facts(
        self, task: AnyTask, current: AnyTask | None, all_frozen: dict[Any, Frozen], now: int
    ) -> TaskFacts:
        birth, coroutine = birth_of(task), coroutine_of(task)
        agent = agent_of(task) if isinstance(task, Host) else None
        frozen = all_frozen.get(task if agent is None else agent)
        if frozen is not None:
            places = self._frozen_places(frozen)
            standing = Standing(place_text(*places[-1]) if places else "", None, [])
        else:
            standing = standing_of(task)
        waiter = getattr(task, "_fut_waiter", None)
        state = "running" if task is current else "ready" if waiter is None or waiter.done() else "waiting"
        if frozen is not None:
            state = "frozen"
        return TaskFacts(
            id=birth.number,
            name=name_of_task(task) if agent is None else f"step of {agent._o_text()}",
            coroutine=name_of(coroutine),
            module=module_of(coroutine),
            state=state,
            waiting_on=standing.waiting_on if state == "waiting" else None,
            waits_for=tuple(birth_of(one).number for one in standing.waits_for),
            ring=(),
            place=standing.place,
            age_s=max(0, now - birth.at_ns) / 1e9 if birth.at_ns else None,
            created_at=place_text(birth.file, birth.line, birth.function) if birth.file else "",
            creator=birth.creator,
            creator_name=birth.creator_name,
            agent=agent._o_pid if agent is not None else 0,
            cancelling=task.cancelling(),
            protected=self._why_protected(task, coroutine, agent),
        )

    def _why_protected(self, task: AnyTask, coroutine: Any, agent: Agent | None) -> str:
        if agent is not None:
            return f"it is a step of {agent._o_text()}: kill that agent, or cancel its activity"
        if isinstance(task, Host) or is_ours(coroutine):
            return "it belongs to the node itself"
        if self._main is not None and task is self._main():
            return "the node was started in it, and would stop with it: stop the service instead"
        return ""

    def _live_places(self, task: AnyTask) -> list[tuple[str, int, str]]:
        """The frames of the loop's thread that are the task's, outermost first; empty when it does not run any more."""
        frame = sys._current_frames().get(self._thread_id)
        outermost = getattr(coroutine_of(task), "cr_frame", None)
        places: list[tuple[str, int, str]] = []
        while frame is not None and is_of_runtime(frame):
            frame = frame.f_back  # the signal that looks at what runs may just be looking
        while frame is not None:
            places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname))
            if frame is outermost:
                return places[::-1]
            frame = frame.f_back
        return []


def agent_of(host: Host) -> Agent | None:
    """The agent whose step the task is."""
    if host.seat.step is not None:
        return host.seat.step.agent
    return host.scheduler.current
