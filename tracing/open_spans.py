"""Spans that are open, so that somebody can end them when their process dies. Loads no OpenTelemetry.

    span begins --> fresh --(open for `AFTER_S`)--> news: told to the probe, and by it to the flight recorder
    span ends   --> a line on the page of ends, in memory that outlives the process; then into the outbox
    it is sent  --> another line: from now on it is the backend's

A span that nobody has been told of costs two entries in a dictionary. What has been told and what the page says are together
exact: a span that has ended but was not sent is still to be sent, with the end that it had, and one that was handed to the
exporter is never sent again.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from observe.tracing.far_accounts import summed
from observe.tracing.masking import MASK, mask_text, secrecy

if TYPE_CHECKING:
    from observe.runtime.node import Node
    from observe.tracing.far_spans import FarSpans

AFTER_S: Final = 0.5
"""A span is told when it has been open for so long. Ended ones wait a second for company before they are sent, so the backend
knows no child of a younger one."""

TOLD: Final = 10_000
"""Spans that are told at one time; further ones are counted as untold."""

ATTRIBUTES: Final = 32
TEXT: Final = 200
"""Attributes of a span that are told, and characters of each."""

ENTRY: Final = struct.Struct("<QQQ")
"""Of the page: the span's id, when it ended in Unix nanoseconds (0: it is the exporter's now), its status."""

PLACES: Final = 32_768
"""Entries of the page, which then begins anew: more than twice what can be told, so no end is overwritten before the probe has
heard of it otherwise."""

PAGE_BYTES: Final = ENTRY.size * (PLACES + 1)

_AGAIN: Final = 0.0
"""In the place of when a span began: it has been told before, so its end must be told as well."""
_TOLD_BEFORE: Final = (_AGAIN, None)

STATUSES: Final = ("UNSET", "OK", "ERROR")


class Destination(Protocol):
    """Where spans go: what somebody else needs to send them in our place."""

    options: dict[str, Any]
    resource: Any

    def statistics(self) -> dict[str, Any]: ...
    def accounts(self) -> dict[str, Any]: ...


class OpenSpans:
    """Of one tracer provider. Spans begin and end in any thread; `news` is for one reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fresh: dict[int, tuple[float, Any]] = {}
        self._told: dict[int, Any] = {}
        self._ends: list[tuple[int, int, int]] = []
        self._page: mmap.mmap | None = None
        self._places = 0
        self.far: FarSpans | None = None
        """Those of the node's workers."""
        self.untold = 0
        """Spans that there was no room for: nobody ends them after a death."""

    def statistics(self) -> dict[str, int]:
        """How many are kept here."""
        return {"fresh": len(self._fresh), "told": len(self._told), "untold": self.untold}

    # -- from the tracer

    def started(self, span: Any) -> None:
        """A span begins."""
        with self._lock:
            if len(self._fresh) < TOLD:
                self._fresh[span.context.span_id] = (time.monotonic(), span)
            else:
                self.untold += 1

    def ended(self, span: Any) -> None:
        """It has ended, and is about to be put into the outbox."""
        number = span.context.span_id
        with self._lock:
            if number in self._told:
                self._end(number, span.end_time or 0, span.status.status_code.value)
            elif self._fresh.get(number, _TOLD_BEFORE)[0]:
                self._fresh.pop(number, None)

    def leaving(self, spans: Iterable[Any]) -> None:
        """These are handed to the exporter, or dropped."""
        with self._lock:
            if not self._told and not self._fresh:
                return
            for span in spans:
                number = span.context.span_id
                if self._told.pop(number, None) is not None or self._fresh.pop(number, None) is not None:
                    self._end(number, 0, 0)

    def _end(self, number: int, end_ns: int, status: int) -> None:
        self._ends.append((number, end_ns, status))
        if len(self._ends) > PLACES:
            del self._ends[0]  # nobody asks for them: there is no probe
        if self._page is not None:
            place = self._places % PLACES + 1
            ENTRY.pack_into(self._page, place * ENTRY.size, number, end_ns, status)
            self._places += 1
            ENTRY.pack_into(self._page, 0, self._places, 0, 0)

    def forked(self) -> None:
        """In a forked child: all of it is the parent's."""
        self._lock = threading.Lock()
        self.far = None
        self._fresh, self._told, self._ends, self._page = {}, {}, [], None

    # -- to the probe

    def keep_ends(self, path: Path) -> None:
        """Write ends to this page from now on, which is made here.

        Raises:
            OSError: it cannot be made.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, PAGE_BYTES)
            page = mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)
        with self._lock:
            self._page, self._places = page, 0

    def news(self, most: int) -> tuple[list[dict[str, Any]], list[tuple[int, int, int]]]:
        """Spans to be told, at most so many, and ends of those that were. What is returned counts as told."""
        chosen: list[Any] = []
        with self._lock:
            ends, self._ends = self._ends, []
            before = time.monotonic() - AFTER_S
            for number, (since, span) in self._fresh.items():
                if since > before or len(chosen) >= most or len(self._told) + len(chosen) >= TOLD:
                    break
                chosen.append((number, span))
            for number, span in chosen:
                del self._fresh[number]
                self._told[number] = span
                if span.end_time is not None:  # told again, and not sent yet
                    ends.append((number, span.end_time, span.status.status_code.value))
        return [described(span) for _, span in chosen], ends

    def begin_anew(self) -> None:
        """Whoever was told has forgotten it: all is told again."""
        with self._lock:
            again = {number: (_AGAIN, span) for number, span in self._told.items()}
            self._told, self._ends = {}, []
            self._fresh = again | self._fresh


def described(span: Any) -> dict[str, Any]:
    """A span as it is told: what is needed to end it, masked and bounded."""
    context, parent = span.context, span.parent
    scope = getattr(span, "instrumentation_scope", None)
    return {
        "trace": f"{context.trace_id:032x}",
        "span": context.span_id,
        "parent": parent.span_id if parent is not None else 0,
        "parent_remote": bool(parent is not None and parent.is_remote),
        "state": context.trace_state.to_header()[:512],
        "flags": int(context.trace_flags) | 1,  # told are only those that are sampled, or kept after all
        "name": mask_text(span.name[:TEXT])[0],
        "kind": span.kind.value,
        "start_ns": span.start_time or 0,
        "scope": scope.name[:TEXT] if scope is not None else "",
        "attributes": _plain(span.attributes),
    }


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        items = list((attributes or {}).items())[:ATTRIBUTES]
    except RuntimeError:  # another thread has just set one
        return {}
    told: dict[str, Any] = {}
    for name, value in items:
        if isinstance(value, bool | float) or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63):
            told[name[:TEXT]] = value
        elif isinstance(value, str):
            told[name[:TEXT]] = MASK if secrecy(name) else mask_text(value[: TEXT + 64])[0][:TEXT]
    return told


def read_ends(path: Path) -> dict[int, tuple[int, int]]:
    """What a page of ends says, by span id: when it ended, 0 for one that is the exporter's; and its status. Empty when there is
    no such page."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    if len(data) != PAGE_BYTES:
        return {}
    places = ENTRY.unpack_from(data, 0)[0]
    ends: dict[int, tuple[int, int]] = {}
    for place in range(max(0, places - PLACES), places):
        number, end_ns, status = ENTRY.unpack_from(data, (place % PLACES + 1) * ENTRY.size)
        ends[number] = (end_ns, status)
    return ends


_traced: weakref.WeakKeyDictionary[Node, tuple[OpenSpans, Destination]] = weakref.WeakKeyDictionary()


def register(node: Node, spans: OpenSpans, destination: Destination) -> None:
    """The spans of `node`'s agents are these."""
    _traced[node] = (spans, destination)


def of(node: Node) -> OpenSpans | None:
    """The open spans of a node; None when it is not traced."""
    found = _traced.get(node)
    return found[0] if found is not None else None


def destination_of(node: Node) -> dict[str, Any]:
    """What is needed to send spans in the place of `node`'s process; empty when it is not traced. It may hold secrets."""
    found = _traced.get(node)
    if found is None:
        return {}
    chosen = {key: found[1].options.get(key) for key in ("endpoint", "protocol", "headers", "timeout_s")}
    return chosen | {"resource": resource_of(node)}


def account_of(node: Node) -> dict[str, Any] | None:
    """Where the spans of the node and its workers are, and why some were dropped; None when it is not traced."""
    found = _traced.get(node)
    if found is None:
        return None
    return summed(found[1].accounts()["spans"], found[1].statistics()["workers"]["spans"])


def resource_of(node: Node) -> dict[str, Any]:
    """What the node's spans say of their process."""
    found = _traced.get(node)
    if found is None:
        return {}
    items = dict(found[1].resource.attributes).items()
    return {name: value for name, value in items if isinstance(value, bool | int | float | str)}
