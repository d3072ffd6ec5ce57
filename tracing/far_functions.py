"""One session on a function in all processes of the node: its own and the workers that there are when it begins.

    FunctionSession here  ----------------------+
    FunctionSession in each worker --its link-->+--> numbered, counted, at the session's rate --> sink

It ends when there were so many calls in all, when its time is over, or with whoever watches.
"""

from __future__ import annotations

import logging
import weakref
from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from observe.tracing.errors import BadSelector, TracingFault
from observe.tracing.function_session import FunctionSession
from observe.tracing.outflow import Outflow
from observe.tracing.rates import Rate

if TYPE_CHECKING:
    from observe.runtime.node import Node
    from observe.runtime.workers.process import WorkerProcess

logger = logging.getLogger("observe.tracing")

LATE_S: Final = 1.0
"""How long after its time the session ends at the latest, where a worker does not say so itself."""

FLUSHED_S: Final = 0.2
"""How much later than the first part the session ends, so that the last calls of the others arrive."""

Event = dict[str, Any]
Begun = Callable[[str], None]
"""Takes where the function is, for people."""
Failed = Callable[[str], None]


class FunctionSessions:
    """Made, `start`ed, and ended by itself or by `stop`. All of it belongs to the scheduler's thread."""

    def __init__(
        self,
        node: Node,
        function: str,
        *,
        number: int,
        count: int,
        for_s: float,
        rate: float,
        sink: Callable[[list[Event], int], bool],
    ) -> None:
        self._node = node
        self._number = number
        self._bounds = {"count": count, "for_s": for_s, "rate": rate}
        self._count = count
        self._function = function
        self._rate = Rate(rate)
        self._out: Outflow[Event] = Outflow(node.loop, sink, _as_it_is)
        self._own: FunctionSession | None = None
        self._far: set[WorkerProcess] = set()
        self._processes: list[WorkerProcess] = []
        self._asked = 0
        self._told = 0
        self._is_begun = False
        self.ended = ""

    def start(self, begun: Begun, failed: Failed) -> None:
        """Begin everywhere. Exactly one of the two is called, at once where the node's own process has the function."""
        workers = self._node.lifecycle.workers
        processes = [one for one in workers.processes.values() if not one.is_closed] if workers else []
        self._processes = processes
        own = FunctionSession(self._node, self._function, sink=self.take, **self._bounds)  # type: ignore[arg-type]  # as named there
        why = ""
        try:
            place = own.start()
            self._own = own
            self._begin(begun, place)
        except TracingFault as fault:
            why = str(fault)
        _OF.setdefault(self._node, {})[self._number] = self
        self._asked = len(processes)
        for process in processes:
            asked = process.ask(begin, self._number, self._function, self._bounds)
            asked.add_done_callback(partial(self._answered, process, begun, failed, why))
        if not processes and self._own is None:
            self._fail(failed, why)
        elif self._own is None:
            self._node.loop.call_later(LATE_S, self._fail, failed, why)  # a worker that is stuck

    def _begin(self, begun: Begun, place: str) -> None:
        if not self._is_begun and not self.ended:
            self._is_begun = True
            begun(place)

    def _fail(self, failed: Failed, why: str) -> None:
        if not self._is_begun and not self.ended:
            self.stop(why, tell=False)
            failed(why)

    def _answered(
        self, process: WorkerProcess, begun: Begun, failed: Failed, why: str, asked: Future[Any]
    ) -> None:
        self._asked -= 1
        if not asked.cancelled() and asked.exception() is None:
            place, fault = asked.result()
            if place and not self.ended:
                self._far.add(process)
                self._begin(begun, place)
            why = why or fault
        if not self._asked and not self._far and self._own is None:
            self._fail(failed, why)

    def take(self, events: list[Event], left_out: int) -> bool:
        """One of the processes tells."""
        self._out.left_out += left_out
        for event in events:
            if self.ended:
                break
            if event["kind"] == "end":
                self._part_ended(str(event.get("text", "")))
            elif self._told >= self._count or not self._rate.take():
                self._out.left_out += 1
            else:
                self._told += 1
                self._out.put(event | {"n": self._told})
                if self._told >= self._count:
                    self.stop(f"after {self._told:,} calls")
        return True

    def _part_ended(self, why: str) -> None:
        # All have the same time, so the others end now, and what they have told last is on its way.
        if not why.startswith("after"):
            return
        if self._far:
            self._node.loop.call_later(FLUSHED_S, self.stop, why)
        else:
            self.stop(why)

    def stop(self, why: str = "stopped", *, tell: bool = True) -> None:
        """End it everywhere. Doing so twice has no effect."""
        if self.ended:
            return
        if self._own is not None and not self._own.ended:
            self._own.stop(why)  # which tells of the calls that are open
        if self.ended:
            return
        self.ended = why
        _OF.get(self._node, {}).pop(self._number, None)
        for process in self._processes:  # also those that have not answered yet
            if not process.is_closed:
                process.ask(end, self._number).add_done_callback(_ignore)
        if tell:
            self._out.end(self._told, why)


_OF: Final[weakref.WeakKeyDictionary[Node, dict[int, FunctionSessions]]] = weakref.WeakKeyDictionary()
"""In the node's process: sessions by number."""


def come(node: Node, number: int, events: list[Event], left_out: int) -> None:
    """In the node's process: a worker tells of calls."""
    session = _OF.get(node, {}).get(number)
    if session is not None:
        session.take(events, left_out)


_sessions: dict[int, FunctionSession] = {}
"""Those of this worker."""


def begin(node: Node, number: int, function: str, bounds: dict[str, Any]) -> tuple[str, str]:
    """In a worker: where the function is; or why not."""
    tell = node.inside.tell  # type: ignore[attr-defined]  # a worker's

    def sink(events: list[Event], left_out: int) -> bool:
        tell(come, number, events, left_out)
        if events[-1]["kind"] == "end":
            _sessions.pop(number, None)
        return True

    session = FunctionSession(node, function, sink=sink, **bounds)
    try:
        place = session.start()
    except BadSelector as fault:
        return "", str(fault)
    _sessions[number] = session
    return place, ""


def end(node: Node, number: int) -> None:
    """In a worker: nobody listens any more."""
    session = _sessions.pop(number, None)
    if session is not None:
        session.stop()


def _as_it_is(event: Event) -> Event:
    """It is in words since it left its process."""
    return event


def _ignore(asked: Future[Any]) -> None:
    if not asked.cancelled():
        asked.exception()
