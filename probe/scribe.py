"""The scribe: has records written on a thread of its own, so that a slow disk never holds the probe's loop.

```
gate --write--> [ waiting ] --> thread: append, sync --> [ written ] --wake-up--> loop: deliver --> then(...)
```

Records are written in the order in which they came, one after the other. What hears of one runs on the loop, never on
the thread; so nothing else in the probe need know of threads. The audit log is the thread's alone once it runs.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from observe.audit.errors import AuditUnavailable
from observe.audit.log import AuditLog
from observe.audit.record import Phase, Record

MAX_WAITING: Final = 1000
"""Intents that may wait for the disk. More are refused: nothing is carried out before its intent is written."""

RETRY_S: Final = 2.0
"""How often it is tried to open a log that could not be opened, when there is something to write."""

TICK_S: Final = 5.0

T = TypeVar("T")

Written = Record | AuditUnavailable
Then = Callable[[Written], None]


class Scribe:
    """Writes records for one loop. All methods belong to the loop's thread."""

    def __init__(self, audit: AuditLog | None, reopen: Callable[[], AuditLog] | None = None) -> None:
        """`audit` None: the log could not be opened, and nothing can be written until `reopen` can."""
        self._audit = audit
        self._reopen = reopen
        self._problem = "the audit log could not be opened"
        self._retry_at = 0.0
        self._tick_at = 0.0
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._written: deque[Callable[[], None]] = deque()
        self._waiting = 0
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread: threading.Thread | None = None

    def statistics(self) -> dict[str, int]:
        """How many records wait for the disk."""
        return {"records_waiting": self._waiting}

    @property
    def audit(self) -> AuditLog | None:
        """The log, for reading what it tells to any thread; None when it cannot be opened."""
        return self._audit

    @property
    def problem(self) -> str:
        """Why there is no log; empty when there is one."""
        return "" if self._audit is not None else self._problem

    @property
    def trouble(self) -> str:
        """Why nothing can be recorded at the moment; empty when it can, as far as was tried."""
        return self._audit.problem if self._audit is not None else self._problem

    @property
    def checkpoint(self) -> str:
        """The log's newest signed checkpoint, which covers every record that was told to be written."""
        return self._audit.checkpoint if self._audit is not None else ""

    def tick(self, now: float) -> None:
        """Let the log do what is due once in a while, on its thread. Call it often."""
        if now < self._tick_at:
            return
        self._tick_at = now + TICK_S
        audit = self.open()
        if self._thread is not None and audit is not None:
            self._todo.put(audit.tick)

    def open(self) -> AuditLog | None:
        """The log, opened if it can be: a full disk may have been the reason that it could not, and be over."""
        now = time.monotonic()
        if self._audit is None and self._reopen is not None and now >= self._retry_at:
            self._retry_at = now + RETRY_S
            try:
                self._audit = self._reopen()
            except AuditUnavailable as error:
                self._problem = str(error)
        return self._audit

    def fileno(self) -> int:
        """Becomes readable when there is something to `deliver`."""
        return self._wake_out.fileno()

    def write(self, phase: Phase, then: Then, **fields: Any) -> None:
        """Have a record written, with the fields of `AuditLog.append`; `then` gets it, or why it could not be.

        `then` is called at once when it is clear from the start that nothing will be written.
        """
        if phase == "requested" and self._waiting >= MAX_WAITING:
            then(AuditUnavailable(f"{self._waiting:,} records wait for the disk already"))
            return
        self.run(lambda audit: audit.append(phase, **fields), then)

    def run(self, job: Callable[[AuditLog], T], then: Callable[[T | AuditUnavailable], None]) -> None:
        """Have something done with the log on its thread; `then` gets what came of it, on the loop.

        `then` is called at once when there is no log.
        """
        audit = self.open()
        if audit is None:
            then(AuditUnavailable(self._problem))
            return

        def do() -> None:
            outcome: T | AuditUnavailable
            try:
                outcome = job(audit)
            except AuditUnavailable as error:
                outcome = error
            except Exception as error:  # noqa: BLE001  # the edge of the thread: whoever waits is told all the same
                outcome = AuditUnavailable(f"the record could not be made: {type(error).__name__}")
            self._written.append(lambda: then(outcome))
            try:
                self._wake_in.send(b"!")
            except OSError:
                pass  # full: the loop will be woken up anyway

        self._waiting += 1
        self._todo.put(do)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="observe:audit", daemon=True)
            self._thread.start()

    def deliver(self) -> None:
        """Tell those whose records have been written."""
        try:
            while self._wake_out.recv(1024):
                pass
        except BlockingIOError:
            pass
        for _ in range(len(self._written)):
            tell = self._written.popleft()
            self._waiting -= 1
            tell()

    def settle(self, timeout_s: float) -> bool:
        """Wait until all is written and delivered. False when the disk takes longer than that."""
        until = time.monotonic() + timeout_s
        while self._waiting:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            self._wake_out.settimeout(left_s)
            try:
                self._wake_out.recv(1)
            except TimeoutError:
                return False
            finally:
                self._wake_out.setblocking(False)
            self.deliver()
        return True

    def close(self, timeout_s: float = 1.0) -> None:
        """End the thread and close the log. A disk that hangs is left to the operating system."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return
            self._thread = None
        if self._audit is not None:
            self._audit.close()
            self._audit = None
        self._wake_in.close()
        self._wake_out.close()

    def _run(self) -> None:
        while (todo := self._todo.get()) is not None:
            todo()
