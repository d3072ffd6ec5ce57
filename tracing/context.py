"""Trace context across messages and over HTTP.

    sender's current span --> envelope (cast, call, items of supervised_map) --> current while the message is handled

In the process a context travels as it is, baggage included. Between processes it travels as W3C headers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from opentelemetry import context as otel
from opentelemetry import propagate, trace

from observe.runtime.ref import set_carrier

_lock = threading.Lock()
_live = 0


def hold() -> None:
    """There is one more thing that a message could continue: a sampled span, or a context from outside."""
    global _live
    with _lock:
        _live += 1
        if _live == 1:
            set_carrier(carry)


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
    return partial(otel.attach, context)


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
