"""Traces that were sampled out and are kept after all, because something in them went wrong, or took long.

    span begins --> Deciding: sampled? --yes--> as ever
                       | no
                       v
                    recorded and held here, by trace --> an error, a containment, a slow span --> all of the trace is kept
                                                     --> nothing of the kind, and it is over  --> let go

A trace that is being kept is sampled from then on, in this process; the node's other processes are told (`on_keep`). Memory is
bounded by a number of spans, and of traces: those that are over go first, the oldest before the others.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import context as otel
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from observe.tracing.errors import BadSetting

KEPT: Final = 10_000
"""Traces of which it is known that they are kept."""

_ALWAYS: Final = otel.create_key("observe-always")


def always(context: Context) -> Context:
    """The context in which spans are sampled, whatever the sampler says."""
    return otel.set_value(_ALWAYS, True, context)


@dataclass(frozen=True, slots=True)
class TailKeep:
    """Which traces are kept although they were sampled out."""

    errors: bool = True
    """Those with a span whose status is an error: a crash, a failed activity, a kill."""
    slower_than_s: float | None = None
    """Those with a span that took longer."""
    held: int = 10_000
    """Spans that are held until it is known, and traces; some 3 kB a span."""
    for_s: float = 30.0
    """How long those of a trace in which nothing is open are held for what may still come."""

    def __post_init__(self) -> None:
        if self.held < 1:
            raise BadSetting("held", self.held, "at least 1")
        if self.for_s < 0 or (self.slower_than_s is not None and self.slower_than_s < 0):
            raise BadSetting("for_s or slower_than_s", self.for_s, "a number of seconds")

    def wants(self, span: ReadableSpan) -> bool:
        """Whether this span is a reason to keep its trace."""
        if self.errors and span.status.status_code is StatusCode.ERROR:
            return True
        took_ns = (span.end_time or 0) - (span.start_time or 0)
        return self.slower_than_s is not None and took_ns > self.slower_than_s * 1e9


@dataclass(slots=True)
class _Trace:
    open: dict[int, Any] = field(default_factory=dict)
    ended: list[ReadableSpan] = field(default_factory=list)
    since: float = 0.0
    """When nothing in it was open any more."""


class Tail:
    """Spans that were sampled out, in any thread. Without a rule nothing is held."""

    def __init__(self, rule: TailKeep | None, export: Callable[[ReadableSpan], None]) -> None:
        """`export` takes spans that have ended, as if they had been sampled."""
        self.rule = rule
        self._export = export
        self.on_open: Callable[[Any], None] = _nobody
        """Hears of spans that are open while their trace is kept."""
        self.on_keep: Callable[[int], None] = _nobody
        """Hears which traces are kept here."""
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._busy: OrderedDict[int, _Trace] = OrderedDict()
        self._over: OrderedDict[int, _Trace] = OrderedDict()
        """Traces with something open, and those without."""
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._held = self._let_go = self._crowded_out = self._kept_ever = 0

    forked = _begin
    """In a forked child: all of it is the parent's."""

    def statistics(self) -> dict[str, int]:
        """Spans held now, let go because nothing had happened, crowded out for want of room; traces kept."""
        with self._lock:
            return {
                "held": self._held,
                "let_go": self._let_go,
                "crowded_out": self._crowded_out,
                "traces_kept": self._kept_ever,
            }

    def is_kept(self, trace_id: int) -> bool:
        """Whether spans of it are sampled from now on."""
        return trace_id in self._kept

    def started(self, span: Any) -> None:
        """A span that was sampled out begins."""
        known = span.context
        with self._lock:
            trace = self._busy.get(known.trace_id)
            if trace is None:
                trace = self._busy[known.trace_id] = self._again(known.trace_id)
            trace.open[known.span_id] = span
            self._tidy()

    def ended(self, span: ReadableSpan) -> None:
        """It has ended."""
        known = span.context
        assert known is not None
        if self.rule is None:
            return
        with self._lock:
            if known.trace_id in self._kept:
                self._export(as_sampled(span))
                return
            trace = self._busy.get(known.trace_id)
            if trace is None:  # crowded out
                trace = self._busy[known.trace_id] = self._again(known.trace_id)
            trace.open.pop(known.span_id, None)
            trace.ended.append(span)
            self._held += 1
            if self.rule.wants(span):
                self.keep(known.trace_id)
            elif not trace.open:
                del self._busy[known.trace_id]
                trace.since = time.monotonic()
                self._over[known.trace_id] = trace
                self._tidy()

    def keep(self, trace_id: int, *, tell: bool = True) -> None:
        """Export what there is of this trace, and what comes. Doing so twice has no effect."""
        if self.rule is None:
            return
        with self._lock:
            if trace_id in self._kept:
                return
            self._kept[trace_id] = None
            self._kept_ever += 1
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            among = self._busy if trace_id in self._busy else self._over
            if trace_id in among:
                trace = among.pop(trace_id)
                self._held -= len(trace.ended)
                for span in trace.ended:
                    self._export(as_sampled(span))
                for one in trace.open.values():
                    self.on_open(one)
        if tell:
            self.on_keep(trace_id)

    def _again(self, trace_id: int) -> _Trace:
        return self._over.pop(trace_id) if trace_id in self._over else _Trace()

    def _tidy(self) -> None:
        assert self.rule is not None
        before = time.monotonic() - self.rule.for_s
        while self._over and next(iter(self._over.values())).since < before:
            self._let_go += self._forget(self._over)
        while self._over and self._is_full():
            self._crowded_out += self._forget(self._over)
        while self._busy and self._is_full():
            self._crowded_out += self._forget(self._busy)

    def _is_full(self) -> bool:
        assert self.rule is not None
        return self._held > self.rule.held or len(self._busy) + len(self._over) > self.rule.held

    def _forget(self, among: OrderedDict[int, _Trace]) -> int:
        count = len(among.popitem(last=False)[1].ended)
        self._held -= count
        return count


class Deciding(Sampler):
    """The sampler of our providers: the given one, but for what is always sampled and what may be kept in the end."""

    def __init__(self, given: Sampler, tail: Tail) -> None:
        self._given = given
        self._tail = tail

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        found = self._given.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )
        if found.decision is Decision.RECORD_AND_SAMPLE:
            return found
        if otel.get_value(_ALWAYS, parent_context) or self._tail.is_kept(trace_id):
            decision = Decision.RECORD_AND_SAMPLE
        elif self._tail.rule is not None:
            decision = Decision.RECORD_ONLY
        else:
            return found
        return SamplingResult(decision, attributes, found.trace_state)

    def get_description(self) -> str:
        return f"observe({self._given.get_description()})"


def as_sampled(span: ReadableSpan) -> ReadableSpan:
    """The span as if it had been sampled when it began."""
    known = span.context
    assert known is not None
    made = copy.copy(span)
    flags = TraceFlags(known.trace_flags | TraceFlags.SAMPLED)
    made._context = SpanContext(known.trace_id, known.span_id, known.is_remote, flags, known.trace_state)
    return made


def _nobody(_told: Any) -> None:
    """Nobody wants to know."""
