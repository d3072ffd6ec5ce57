"""Trace context across messages and over HTTP.

    sender's current span --> envelope (cast, call, timer, items of supervised_map) --> current while the message is handled

What is sent continues the trace (its handling is a child), or, as `configure` has it for casts and timers, begins one with a
link. So do timers in any case when a trace has gone through too many of them: an agent that wakes itself for ever must not have
one trace for ever.

In the process a context travels as it is, baggage included. Between processes it travels as W3C headers.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context as Variables
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from opentelemetry import context as otel
from opentelemetry import propagate, trace
from opentelemetry.trace import INVALID_SPAN, Link, SpanContext

from observe.runtime.carrying import set_reader
from observe.runtime.ref import Way, set_carrier

Relation = Literal["child", "link"]
"""How the handling of a message stands to its sending: in the same trace, or in one of its own that points to it."""

TIMERS: Final = 20
TIMERS_S: Final = 60.0
"""Through so many timers in a row, or after so long, a message no longer belongs to the trace in which the first was set."""

_LINK: Final = otel.create_key("observe-link")
"""A `SpanContext` to which the next root span links."""
_TIMERS: Final = otel.create_key("observe-timers")
"""Through how many timers a trace has gone, and when the first was set, in Unix time."""
LINK_HEADER: Final = "observe-link"
TIMERS_HEADER: Final = "observe-timers"
"""The same between the processes of a node, where W3C has no headers for them."""


@dataclass(slots=True)
class _Ways:
    casts: Relation = "child"
    timers: Relation = "child"
    carries_all: bool = False
    """Also traces that are not sampled: their spans may be kept in the end."""


_ways: Final = _Ways()


def configure(*, casts: Relation, timers: Relation, carries_all: bool) -> None:
    """How messages of this process continue traces; the newest `setup` decides."""
    _ways.casts, _ways.timers, _ways.carries_all = casts, timers, carries_all


def _reader() -> Callable[[], object]:
    """The quickest way to OpenTelemetry's current context. Its API takes two Python calls to read one context variable,
    which every cast of agents without a span would pay for while a span is open elsewhere; the variable itself, which
    the token of `attach` names, is read in C. Spans of other instrumentations are seen as well, as they stand there."""
    token: Any = otel.attach(otel.Context())
    otel.detach(token)
    variable = getattr(token, "var", None)
    if not isinstance(variable, ContextVar):
        return otel.get_current  # somebody chose another OTEL_PYTHON_CONTEXT
    try:
        is_the_one = variable.get() is otel.get_current()
    except LookupError:
        is_the_one = False  # unset it would raise
    return variable.get if is_the_one else otel.get_current


_ambient = Variables().run(_reader)
"""The current context, false when it is empty. Found in a context where nothing is set, where a default counts."""

_lock = threading.Lock()
_live = 0


def hold() -> None:
    """There is one more thing that a message could continue: a sampled span, or a context from outside."""
    global _live
    with _lock:
        _live += 1
        if _live == 1:
            set_carrier(_ambient, carry)


def release(count: int = 1) -> None:
    """And `count` less. Without any, sending a message costs what it costs without tracing."""
    global _live
    with _lock:
        _live = max(0, _live - count)
        if _live == 0:
            set_carrier(None)


def _forked() -> None:
    global _live, _lock
    _lock, _live = threading.Lock(), 0
    set_carrier(None)


os.register_at_fork(after_in_child=_forked)


def carry(way: Way) -> Callable[[], object] | None:
    """The current context, for a message to take along; None when there is no sampled span that still runs. An agent that
    keeps sending to itself after its span has ended begins a new trace, lest one grows without end."""
    context = otel.get_current()
    if not context:
        return None
    span = trace.get_current_span(context)
    known = span.get_span_context()
    if not (known.trace_flags.sampled or (_ways.carries_all and known.is_valid)):
        return None
    if not (span.is_recording() or known.is_remote):
        return None
    if way == "timer":
        context = _by_timer(context, known)
    elif way == "cast" and _ways.casts == "link":
        context = _linking(context, known)
    return _Carried(otel.attach, context)


def _by_timer(context: otel.Context, known: SpanContext) -> otel.Context:
    count, since = _timers_of(context)
    now = time.time()
    if _ways.timers == "link" or count >= TIMERS or now - since > TIMERS_S:
        return otel.set_value(_TIMERS, None, _linking(context, known))
    return otel.set_value(_TIMERS, (count + 1, since), context)


def _timers_of(context: otel.Context) -> tuple[int, float]:
    found: Any = otel.get_value(_TIMERS, context)
    return found if found is not None else (0, time.time())


def _linking(context: otel.Context, known: SpanContext) -> otel.Context:
    """The same but for its span, to which the next one links. Baggage stays."""
    return otel.set_value(_LINK, known, trace.set_span_in_context(INVALID_SPAN, context))


def links_of(context: otel.Context) -> list[Link]:
    """To what a root span that begins in this context links."""
    known: Any = otel.get_value(_LINK, context)
    return [] if known is None else [Link(known, {"observe.link": "message"})]


def linked(context: otel.Context) -> otel.Context:
    """The context for what is below such a span: the link is made."""
    return context if otel.get_value(_LINK, context) is None else otel.set_value(_LINK, None, context)


class _Carried(partial[object]):
    """Makes a context current. In another process of the node, one that its headers say."""

    def headers(self) -> dict[str, str]:
        """The context as text."""
        carrier: dict[str, str] = {}
        context = self.args[0]
        propagate.inject(carrier, context)
        known: Any = otel.get_value(_LINK, context)
        if known is not None:
            link: dict[str, str] = {}
            propagate.inject(link, trace.set_span_in_context(trace.NonRecordingSpan(known), otel.Context()))
            carrier[LINK_HEADER] = link.get("traceparent", "")
        if otel.get_value(_TIMERS, context) is not None:
            count, since = _timers_of(context)
            carrier[TIMERS_HEADER] = f"{count} {since:.3f}"
        return carrier


def _read(incoming: Mapping[str, str]) -> _Carried:
    """What a message from another process of the node carries."""
    context = propagate.extract(incoming)
    if incoming.get(LINK_HEADER):
        link = propagate.extract({"traceparent": incoming[LINK_HEADER]}, otel.Context())
        known = trace.get_current_span(link).get_span_context()
        context = otel.set_value(_LINK, known if known.is_valid else None, context)
    count, _, since = incoming.get(TIMERS_HEADER, "").partition(" ")
    if count:
        context = otel.set_value(_TIMERS, (int(count), float(since)), context)
    # No span of this process stands for it: what is sent takes the context along for as long as anybody is in it.
    hold()
    weakref.finalize(context, release).atexit = False
    return _Carried(otel.attach, context)


set_reader(_read)


def headers() -> dict[str, str]:
    """The current context as `traceparent`, `tracestate` and `baggage`; empty when there is none."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


async def add_headers(request: Any) -> None:
    """For httpx: `AsyncClient(event_hooks={"request": [add_headers]})` lets requests continue the agent's trace."""
    request.headers.update(headers())


@contextmanager
def continued(incoming: Mapping[str, str]) -> Iterator[None]:
    """Let what is sent inside belong to the trace that these headers name; what cannot be read is ignored."""
    context = propagate.extract({name.lower(): value for name, value in incoming.items()})
    hold()
    token = otel.attach(context)
    try:
        yield
    finally:
        otel.detach(token)
        release()
