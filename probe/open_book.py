"""The spans of a node that are open, as far as the probe and a recording know. Bounded; no clock, no files of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from observe.probe.frames import OpenSpan, SpanEnd, SpanProcess, SpansFrame

MOST: Final = 20_000
"""Spans kept; a service tells half as many at one time."""


def ends_path(directory: Path, incarnation: str) -> Path:
    """The page on which a service of this incarnation writes down ends of spans (`observe.tracing.open_spans`)."""
    return directory / f"ends-{incarnation}"


class Part(NamedTuple):
    """What one process of a dead node leaves to be sent."""

    serial: int
    """The worker's; 0 for the node's own process."""
    resource: dict[str, Any]
    spans: list[tuple[OpenSpan, SpanEnd | None]]


class OpenBook:
    """Who is open, and who has ended and is still to be sent."""

    def __init__(self) -> None:
        self.is_traced = False
        """Whether the service has said that it makes spans."""
        self.resource: dict[str, Any] = {}
        self.processes: dict[int, SpanProcess] = {}
        """Workers, by serial."""
        self._open: dict[int, OpenSpan] = {}
        self._ends: dict[int, SpanEnd] = {}
        self.dropped = 0
        """Spans for which there was no room."""

    def __len__(self) -> int:
        return len(self._open)

    def take(self, frame: SpansFrame) -> None:
        """What the service tells."""
        if frame.resource is not None:
            self.is_traced = True
            self.resource = dict(frame.resource)
            self._open, self._ends, self.processes = {}, {}, {}
        self.processes |= {int(serial): told for serial, told in frame.processes.items() if serial.isdigit()}
        for span in frame.opened:
            if len(self._open) < MOST:
                self._open[span.span] = span
            else:
                self.dropped += 1
        for end in frame.ended:
            self._end(end)

    def _end(self, end: SpanEnd) -> None:
        number, end_ns, _status = end
        if not end_ns:
            self._open.pop(number, None)
            self._ends.pop(number, None)
        elif number in self._open:
            self._ends[number] = end

    def open(self) -> list[OpenSpan]:
        """Those that have not ended, the longest first."""
        return sorted(
            (span for number, span in self._open.items() if number not in self._ends),
            key=lambda one: one.start_ns,
        )

    def left(self, own: str, read: Callable[[str], Mapping[int, tuple[int, int]]]) -> list[Part]:
        """After its death: the spans that somebody has to send, those that had ended with their end, for each process that has
        any. `read` reads a page of ends by its name; `own` is that of the node's process."""
        for name in [own, *(one.page for one in self.processes.values() if one.page)]:
            for number, (end_ns, status) in read(name).items():
                self._end((number, end_ns, status))
        parts: dict[int, list[tuple[OpenSpan, SpanEnd | None]]] = {}
        for number, span in self._open.items():
            serial = span.process if span.process in self.processes else 0
            parts.setdefault(serial, []).append((span, self._ends.get(number)))
        return [
            Part(serial, self.resource if serial == 0 else dict(self.processes[serial].resource), spans)
            for serial, spans in parts.items()
        ]

    def to_map(self) -> dict[str, Any]:
        """For a keyframe."""
        if not self.is_traced:
            return {}
        return {
            "resource": self.resource,
            "processes": {str(serial): one.model_dump() for serial, one in self.processes.items()},
            "opened": [span.model_dump() for span in self._open.values()],
            "ended": [list(end) for end in self._ends.values()],
        }

    def restore(self, key: Mapping[str, Any]) -> None:
        """From a keyframe; what cannot be read is left out."""
        try:
            if key:
                opened, ended = list(key["opened"])[:MOST], list(key["ended"])[:MOST]
                self.take(
                    SpansFrame.model_validate(
                        {
                            "seq": 1,
                            "opened": [],
                            "ended": [],
                            "resource": key["resource"],
                            "processes": key.get("processes", {}),
                        }
                    )
                )
                self._open = {span.span: span for span in map(OpenSpan.model_validate, opened)}
                self._ends = {int(end[0]): (int(end[0]), int(end[1]), int(end[2])) for end in ended}
        except (ValidationError, KeyError, TypeError, ValueError, IndexError):
            self._open, self._ends = {}, {}
