"""Trace context across messages and over HTTP.

    sender's current span --> envelope (cast, call, items of supervised_map) --> current while the message is handled

In the process a context travels as it is, baggage included. Between processes it travels as W3C headers.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context as Variables
from contextvars import ContextVar
from functools import partial
from typing import Any

from opentelemetry import context as otel
from opentelemetry import propagate, trace

from observe.runtime.carrying import set_reader
from observe.runtime.ref import set_carrier


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


def carry() -> Callable[[], object] | None:
    """The current context, for a message to take along; None when there is no sampled span that still runs. An agent that
    keeps sending to itself after its span has ended begins a new trace, lest one grows without end."""
    context = otel.get_current()
    if not context:
        return None
    span = trace.get_current_span(context)
    known = span.get_span_context()
    if not known.trace_flags.sampled or not (span.is_recording() or known.is_remote):
        return None
    return _Carried(otel.attach, context)


class _Carried(partial[object]):
    """Makes a context current. In another process of the node, one that its headers say."""

    def headers(self) -> dict[str, str]:
        """The context as text."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier, self.args[0])
        return carrier


def _read(incoming: Mapping[str, str]) -> _Carried:
    """What a message from another process of the node carries."""
    context = propagate.extract(incoming)
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
