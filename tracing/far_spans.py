"""Spans that are open in the node's worker processes, so that somebody ends them when their process dies.

    worker: OpenSpans --Teller, over its link--> node: FarSpans --SpanTeller--> probe      the node dies, and its workers with it
                                                     +--the worker dies--> ended here, by the node's own exporter

Ends that a worker did not come to tell it has written down on a page of its own, as the node does (`open_spans`). Loads no
OpenTelemetry.
"""

from __future__ import annotations

import logging
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observe.tracing.open_spans import TOLD, OpenSpans, read_ends

if TYPE_CHECKING:
    from observe.runtime.node import Node

logger = logging.getLogger("observe.tracing")

Told = dict[str, Any]
End = tuple[int, int, int]

BEAT_S: Final = 0.25
AT_ONCE: Final = 100

PID: Final = "observe.pid"
"""Attribute of the span of an agent's run, as in `genai`, which is not loaded here."""


class Teller:
    """In a worker: tells the node's process which spans are open. On the worker's loop."""

    def __init__(
        self,
        node: Node,
        spans: OpenSpans,
        resource: dict[str, Any],
        accounts: Callable[[], dict[str, Any]],
        tell: Callable[..., None],
    ) -> None:
        """`tell` takes what is opened, what has ended, the first time what they say of their process, and where all of them are."""
        self._node = node
        self._spans = spans
        self._resource: dict[str, Any] | None = resource
        self._accounts = accounts
        self._told: dict[str, Any] = {}
        self._tell = tell
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._timer = self._node.loop.call_later(BEAT_S, self._beat)

    def stop(self) -> None:
        """End it; what was told stays told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self.tell_now()
        self._timer = self._node.loop.call_later(BEAT_S, self._beat)

    def tell_now(self) -> None:
        """What is new, if anything is."""
        opened, ended = self._spans.news(AT_ONCE)
        accounts = self._accounts()
        if opened or ended or accounts != self._told:
            self._tell(opened, ended, self._resource, accounts)
            self._resource, self._told = None, accounts


@dataclass(slots=True)
class _Worker:
    resource: dict[str, Any] = field(default_factory=dict)
    open: dict[int, Told] = field(default_factory=dict)
    ends: dict[int, End] = field(default_factory=dict)
    page: str = ""
    is_told: bool = False


class FarSpans:
    """In the node's process: those of all its workers, by their serial. On the scheduler's thread."""

    def __init__(self) -> None:
        self.page: Path | None = None
        """Where the node writes down its own ends; workers do it beside."""
        self.on_page: Callable[[], None] = _nobody
        """Hears that there is such a place now."""
        self._workers: dict[int, _Worker] = {}
        self._opened: dict[int, Told] = {}
        """Still to be told to the probe."""
        self._ended: list[End] = []

    def keep_ends(self, page: Path) -> None:
        """Let workers write down ends beside this page."""
        self.page = page
        self.on_page()

    def page_of(self, serial: int) -> Path | None:
        """That of one worker."""
        return self.page.with_name(f"{self.page.name}-w{serial}") if self.page is not None else None

    def told(
        self, serial: int, opened: list[Told], ended: list[End], resource: dict[str, Any] | None
    ) -> None:
        """What a worker tells."""
        worker = self._workers.setdefault(serial, _Worker())
        if resource is not None:
            worker.resource = resource
        for span in opened:
            if sum(len(one.open) for one in self._workers.values()) >= TOLD:
                break
            span["process"] = serial
            worker.open[span["span"]] = self._opened[span["span"]] = span
        for end in ended:
            self._end(worker, end)

    def _end(self, worker: _Worker, end: End) -> None:
        number, end_ns, _ = end
        if number not in worker.open:
            return
        if end_ns:
            worker.ends[number] = end
        else:
            del worker.open[number]
            worker.ends.pop(number, None)
        if not end_ns and self._opened.pop(number, None) is not None:
            return  # nobody has been told
        self._ended.append(end)
        del self._ended[:-TOLD]

    def news(self, most: int) -> tuple[list[Told], list[End], dict[str, dict[str, Any]]]:
        """For the probe: at most so many that are open, ends, and the processes that it has not heard of."""
        chosen = [self._opened.pop(number) for number in list(self._opened)[:most]]
        ended, self._ended = self._ended, []
        processes: dict[str, dict[str, Any]] = {}
        for serial in {span["process"] for span in chosen}:
            worker = self._workers.get(serial)
            if worker is not None and not worker.is_told:
                worker.is_told = True
                page = self.page_of(serial)
                processes[str(serial)] = {
                    "resource": worker.resource,
                    "page": page.name if page is not None else "",
                }
        return chosen, ended, processes

    def of_agent(self, pid: int) -> tuple[str, str] | None:
        """Trace and span of what an agent does, if it has done that for half a second: only then is it told."""
        for worker in self._workers.values():
            for number, span in worker.open.items():
                if span["attributes"].get(PID) == pid and number not in worker.ends:
                    return span["trace"], f"{number:016x}"
        return None

    def begin_anew(self) -> None:
        """Whoever was told has forgotten it."""
        self._ended, self._opened = [], {}
        for worker in self._workers.values():
            worker.is_told = False
            self._opened |= worker.open
            self._ended += worker.ends.values()

    def over(self, serial: int, is_orderly: bool) -> tuple[list[tuple[Told, End | None]], dict[str, Any]]:
        """A worker has ended: what it left to be sent, and what its spans say of their process. One that has ended in order has
        sent all itself."""
        worker = self._workers.pop(serial, None)
        page = self.page_of(serial)
        ends = read_ends(page) if page is not None else {}
        if page is not None:
            page.unlink(missing_ok=True)
        if worker is None:
            return [], {}
        for number, (end_ns, status) in ends.items():
            self._end(worker, (number, end_ns, status))
        left = [] if is_orderly else [(span, worker.ends.get(number)) for number, span in worker.open.items()]
        for number in list(worker.open):
            self._end(worker, (number, 0, 0))  # they are ours now
        return left, worker.resource


def _nobody() -> None:
    """Nobody wants to know."""
