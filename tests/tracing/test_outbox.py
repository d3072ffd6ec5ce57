"""The account of what was exported closes whatever the backend does, and nobody waits for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from observe.tracing.outbox import Outbox


class Backend:
    """An exporter that takes, refuses, or hangs."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.takes = True
        self.hangs: threading.Event | None = None

    def export(self, batch: Sequence[int]) -> bool:
        if self.hangs is not None:
            self.hangs.wait(20)
        if self.takes:
            self.taken.extend(batch)
        return self.takes

    def shutdown(self) -> None:
        if self.hangs is not None:
            self.hangs.set()


def box(backend: Backend, **sizes: float) -> Outbox[int]:
    return Outbox("test", lambda: backend, False, **{"delay_s": 0.01, **sizes})  # type: ignore[arg-type]  # numbers by name


def test_what_is_put_arrives_in_order() -> None:
    backend = Backend()
    outbox = box(backend, batch=7)
    for number in range(100):
        outbox.put(number)
    assert outbox.flush(10)
    assert backend.taken == list(range(100))
    assert outbox.statistics().exported == 100
    assert outbox.close(3)
    assert outbox.statistics().is_closed


def test_a_backend_that_refuses_costs_its_batches_and_they_are_counted() -> None:
    backend = Backend()
    backend.takes = False
    outbox = box(backend)
    for number in range(100):
        outbox.put(number)
    assert not outbox.flush(10)
    account = outbox.statistics()
    assert account.dropped == {"export_failed": 100}
    assert account.failures >= 1
    backend.takes = True
    outbox.put(100)
    assert outbox.flush(10)
    assert outbox.close(3)
    account = outbox.statistics()
    assert (account.put, account.exported, account.failures, account.is_closed) == (101, 1, 0, True)


def test_an_end_that_the_backend_did_not_take_is_no_success() -> None:
    """The SDK's says True."""
    backend = Backend()
    backend.takes = False
    outbox = box(backend, delay_s=30.0)
    outbox.put(1)
    assert not outbox.close(10)
    assert outbox.statistics().dropped == {"export_failed": 1}


def test_a_backend_that_hangs_neither_holds_up_who_puts_nor_the_end() -> None:
    """The SDK's shutdown takes 30 s here, whatever its time-out."""
    backend = Backend()
    backend.hangs = threading.Event()
    outbox = box(backend, queued=50, batch=10)
    for number in range(1000):
        outbox.put(number)
    began = time.monotonic()
    assert not outbox.close(0.2)
    assert time.monotonic() - began < 5
    account = outbox.statistics()
    assert account.is_closed
    assert account.put == 1000
    assert account.queued == account.in_flight == 0
    assert account.dropped["queue_full"] >= 930
    assert account.dropped["shutdown"] >= 50
    outbox.put(1000)
    assert outbox.statistics().dropped["shutdown"] == account.dropped["shutdown"] + 1


def test_after_some_failures_the_backend_is_left_alone() -> None:
    """A dead backend is not asked for every batch: that would cost a time-out each."""
    backend = Backend()
    backend.takes = False
    outbox = box(backend, batch=1)
    for number in range(50):
        outbox.put(number)
    deadline = time.monotonic() + 10
    while outbox.statistics().failures < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    account = outbox.statistics()
    assert account.dropped == {"export_failed": 3}
    assert account.queued == 47
    outbox.close(1)
    assert outbox.statistics().is_closed


def test_a_forked_child_sends_its_own_and_not_its_parents() -> None:
    backend = Backend()
    backend.hangs = threading.Event()  # so that the parent's are queued when it forks
    outbox = box(backend)
    outbox.put(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        backend.hangs = None
        outbox.put(2)
        outbox.flush(10)
        account = outbox.statistics()
        os.write(write, f"{backend.taken} {account.put} {account.is_closed}".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "[2] 1 True"
    os.waitpid(child, 0)
    backend.hangs.set()
    assert outbox.flush(10)
    assert backend.taken == [1]
    outbox.close(1)
