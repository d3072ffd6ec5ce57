"""Between the SDK and the outbox: spans are counted when they begin, and put in when they end; log records when they are made."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from observe.tracing.context import hold, release
from observe.tracing.open_spans import OpenSpans
from observe.tracing.outbox import Outbox
from observe.tracing.tail import Tail, TailKeep


class SpanBox(SpanProcessor):
    """Counts spans that start, and puts those that end into the outbox."""

    def __init__(self, outbox: Outbox[ReadableSpan], rule: TailKeep | None) -> None:
        self.outbox = outbox
        self.open = OpenSpans()
        self.tail = Tail(rule, self._keep)
        self.tail.on_open = self.open.started
        outbox.on_leave = self.open.leaving
        self.started = 0
        self._lock = threading.Lock()
        mine = weakref.WeakMethod(self._forked)

        def forked() -> None:
            forget = mine()
            if forget is not None:
                forget()

        os.register_at_fork(after_in_child=forked)  # for ever, so it must not hold us

    def _forked(self) -> None:
        # The parent's spans are the parent's to end.
        self._lock = threading.Lock()
        self.started = 0
        self.open.forked()
        self.tail.forked()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.context.trace_flags.sampled:
            with self._lock:
                self.started += 1
            self.open.started(span)
            hold()
        elif self.tail.rule is not None:
            self.tail.started(span)
            hold()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            release()
            self.open.ended(span)
            self.outbox.put(span)
        elif span.context is not None and self.tail.rule is not None:
            release()
            self.tail.ended(span)

    def _keep(self, span: ReadableSpan) -> None:
        """It had not been sampled, and has ended."""
        self.open.ended(span)
        self.adopt(span)

    def adopt(self, span: ReadableSpan) -> None:
        """One that has ended, and was not counted when it began."""
        with self._lock:
            self.started += 1
        self.outbox.put(span)


class LogBox(LogRecordProcessor):
    """Puts log records into the outbox."""

    def __init__(self, outbox: Outbox[Any]) -> None:
        self.outbox = outbox

    def on_emit(self, log_record: Any) -> None:
        self.outbox.put(
            ReadableLogRecord(
                log_record.log_record,
                log_record.resource,
                log_record.instrumentation_scope,
                log_record.limits,
            )
        )

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
