"""The outbox: what waits to be exported, the one thread that does it, and an account that closes exactly.

    put (any thread, never waits) --> deque, bounded --> worker: a batch at a time --> the SDK's OTLP exporter

    put = exported + dropped, by reason + queued + in flight

The SDK's own batch processor waits up to 30 s at shutdown whatever it is told, and its `force_flush` returns True when
all was lost (https://github.com/open-telemetry/opentelemetry-python/issues/4555 and /4568). So this one bounds itself.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from observe.tracing.beside import beside

logger = logging.getLogger("observe.tracing")

T = TypeVar("T")
T_in_contra = TypeVar("T_in_contra", contravariant=True)

QUEUED: Final = 8192
"""Items that may wait. At 1 KB each that is 8 MB; beyond it the oldest goes, and is counted."""

BATCH: Final = 512
"""Items to a request, as the SDK has it."""

DELAY_S: Final = 1.0
"""How long an item waits for company."""

PATIENCE: Final = 3
"""Failures in a row after which the backend is left alone for a while."""

PAUSE_S: Final = 1.0
"""The first such while; it doubles up to `LONGEST_PAUSE_S`."""

LONGEST_PAUSE_S: Final = 30.0


class Exporter(Protocol[T_in_contra]):
    """What the SDK's exporters have in common."""

    def export(self, batch: Sequence[T_in_contra], /) -> Any: ...

    def shutdown(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """Where the items of one signal are. `put` is always the sum of all others."""

    put: int
    exported: int
    """Taken by the backend."""
    dropped: dict[str, int]
    """By reason: `queue_full` (the backend is slower than we are), `export_failed` (it did not take a batch),
    `shutdown` (no time was left at the end)."""
    queued: int
    in_flight: int
    """Items of the request that is under way."""
    failures: int
    """Requests in a row that have failed. Above 0: the backend is down, slow or refuses."""
    last_success: float
    """Unix time of the newest request that was taken; 0.0 for none."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing is missing."""
        return self.put == self.exported + sum(self.dropped.values()) + self.queued + self.in_flight


class Outbox(Generic[T]):
    """Sends items to one exporter, in a thread of its own that starts with the first item.

    Safe in a fork: the child begins with an empty box, an exporter and a thread of its own; what the parent had queued
    is the parent's to send.

    Args:
        make: makes the exporter. Called in the worker's thread, again in a forked child.
        failure: what the exporter returns when the backend did not take a batch.
    """

    def __init__(
        self,
        signal: str,
        make: Callable[[], Exporter[T]],
        failure: object,
        *,
        queued: int = QUEUED,
        batch: int = BATCH,
        delay_s: float = DELAY_S,
    ) -> None:
        self.signal = signal
        self._make = make
        self._failure = failure
        self.on_leave: Callable[[Sequence[T]], None] = _nobody
        """Hears of what is handed to the exporter, before it is, and of what is dropped for want of room."""
        self._most = queued
        self._batch = batch
        self._delay_s = delay_s
        self._begin()
        mine = weakref.WeakMethod(self._begin)

        def forked() -> None:
            begin = mine()
            if begin is not None:
                begin()

        os.register_at_fork(after_in_child=forked)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Condition(self._lock)
        self._queue: deque[T] = deque()
        self._thread: threading.Thread | None = None
        self._exporter: Exporter[T] | None = None
        self._closing = False
        self._closed = False
        self._put = self._exported = self._in_flight = self._failures = 0
        self._dropped: Counter[str] = Counter()
        self._last_success = 0.0
        self._retry_at = 0.0

    def put(self, item: T) -> None:
        """Take `item`. Never waits for the backend and never raises; what there is no room for is dropped."""
        with self._lock:
            self._put += 1
            if self._closed:
                self._dropped["shutdown"] += 1
                return
            if len(self._queue) >= self._most:
                self.on_leave([self._queue.popleft()])
                self._dropped["queue_full"] += 1
            self._queue.append(item)
            full = len(self._queue) >= self._batch
            self._start()
        if full:
            self._wake.set()

    def ready(self) -> None:
        """Start the thread that sends, if it has not been. From Python 3.12 on a process that ends starts none, so
        what is put in then would be lost."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = beside(self._work, f"observe:export-{self.signal}")

    def statistics(self) -> Account:
        """The account now."""
        with self._lock:
            return Account(
                self._put,
                self._exported,
                dict(self._dropped),
                len(self._queue),
                self._in_flight,
                self._failures,
                self._last_success,
            )

    def flush(self, timeout_s: float) -> bool:
        """Send what waits now. False when that took longer than `timeout_s`, or not all of it was taken."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            dropped = sum(self._dropped.values())
            self._retry_at = 0.0
            self._wake.set()
            while self._thread is not None and (self._queue or self._in_flight):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._idle.wait(left_s):
                    return False
            return sum(self._dropped.values()) == dropped

    def close(self, timeout_s: float) -> bool:
        """Send what waits, for at most `timeout_s`; what is left then is dropped and counted. False if any was, or was not taken
        by the backend."""
        with self._lock:
            self._closing = True
            before = sum(self._dropped.values())
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout_s)
        with self._lock:
            self._closed = True
            lost = len(self._queue) + self._in_flight
            if lost:
                self._dropped["shutdown"] += lost
            self._queue.clear()
            self._in_flight = 0  # the worker sees `_closed` and does not count its batch again
            exporter = self._exporter
            all_taken = sum(self._dropped.values()) == before
        if exporter is not None:
            # Of gRPC and of a request that is retried this may wait as well, so not here.
            beside(exporter.shutdown, f"observe:close-{self.signal}")
        return all_taken

    # -- The worker

    def _work(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # its own requests make no spans
        while True:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            while self._send():
                pass
            with self._lock:
                if self._closed or (self._closing and not self._queue):
                    return
                if self._closing and self._failures >= PATIENCE:
                    return  # nobody takes it: close() counts the rest

    def _send(self) -> bool:
        """Send one batch; tells whether there is another to be sent now."""
        with self._lock:
            now = time.monotonic()
            if not self._queue or self._closed or (now < self._retry_at and not self._closing):
                return False
            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            self._in_flight = len(batch)
        taken = False
        try:
            self.on_leave(batch)
            if self._exporter is None:
                self._exporter = self._make()
            taken = self._exporter.export(batch) is not self._failure
        except Exception:
            logger.exception("the exporter for %s failed", self.signal)
        with self._lock:
            if self._closed:
                return False
            self._in_flight = 0
            if taken:
                self._exported += len(batch)
                self._failures = 0
                self._last_success = time.time()
            else:
                self._dropped["export_failed"] += len(batch)
                self._failures += 1
                if self._failures >= PATIENCE:
                    pause_s = PAUSE_S * 2 ** min(10, self._failures - PATIENCE)
                    self._retry_at = time.monotonic() + min(LONGEST_PAUSE_S, pause_s)
            if not self._queue:
                self._idle.notify_all()
            return bool(self._queue) and (taken or not self._closing or self._failures < PATIENCE)


def _nobody(_items: Sequence[Any]) -> None:
    """Nobody wants to know."""
