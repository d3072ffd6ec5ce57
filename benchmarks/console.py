"""The console on 1,000,000 agents: from a key to the screen, processor, bytes and memory, start to first picture; at rest, and
while it listens to 1,000 events of a trace session a second.

The console runs as a person would run it, in a pseudo-terminal of 200x50, so that what Textual writes to the terminal is part
of it. The node is a stand-in beside it that answers as a probe does, within some milliseconds; each answer differs
from the one before in every row that is in sight, which is more than 50,000 updates a second over a million rows
change there. What a real probe takes to answer, `table` and `attach` measure.

Whoever else uses the processor makes keys wait: the processor time that a key takes tells how much of that is the console's.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.measure import Result, at_most, child_argv

SIZE: Final = (50, 200)
KEYS: Final = 300
WATCHED_S: Final = 6.0
TALK_HZ: Final = 50
"""Pushes a second of a trace session, of twenty events each."""


def run() -> list[Result]:
    """All figures."""
    with Terminal(1_000_000, 2.0) as big:
        first_s = big.until_row()
        before_s = big.cpu_s()
        keys_ms = sorted(1000 * big.key_to_screen_s(number) for number in range(KEYS))
        key_cpu_ms = 1000 * (big.cpu_s() - before_s) / KEYS
    with Terminal(100_000, 5.0) as steady:
        steady.until_row()
        share, bytes_a_frame, memory = steady.watched()
    with Terminal(400, 2.0, moving=False) as resting:
        resting.until_row()
        at_rest, written_at_rest, _ = resting.watched()
    with Terminal(400, 2.0, moving=False, screen="traces") as listening:
        lags_ms, traced, written_traced = listening.heard()
    p99 = keys_ms[int(0.99 * len(keys_ms))]
    return [
        at_most(
            "key to screen, p99 (1,000,000 rows)",
            p99,
            "ms",
            16.0,
            f"median {statistics.median(keys_ms):.1f} ms; {key_cpu_ms:.1f} ms of processor time a key, refreshes included",
        ),
        at_most("processor at 5 refreshes/s (100,000 rows)", 100 * share, "% of a core", 10.0),
        at_most(
            "trace events at 1,000/s, event to screen, p99",
            lags_ms[int(0.99 * len(lags_ms))],
            "ms",
            500.0,
            f"median {statistics.median(lags_ms):.0f} ms, as a picture every 250 ms makes it; {100 * traced:.1f}% of a core, "
            f"{written_traced / 1000:.0f} kB/s",
        ),
        at_most("processor at rest (400 agents)", 100 * at_rest, "% of a core", 5.0, f"{written_at_rest:.0f} bytes a refresh"),
        at_most("written to the terminal a refresh", bytes_a_frame / 1000, "kB", 20.0),
        at_most("resident", memory / 1e6, "MB", 120.0),
        at_most("from the command to the first row", first_s, "s", 1.0),
    ]  # fmt: skip


class Terminal:
    """A console in a pseudo-terminal."""

    def __init__(
        self, agents: int, refreshes_hz: float, *, moving: bool = True, screen: str = "agents"
    ) -> None:
        import pexpect

        self._folder = tempfile.TemporaryDirectory()
        self._answers = os.path.join(self._folder.name, "answers")
        command = child_argv(
            "benchmarks.console", str(agents), str(refreshes_hz), str(int(moving)), self._answers, screen
        )
        self.began = time.perf_counter()
        self.child = pexpect.spawn(
            command[0], command[1:], dimensions=SIZE, env=_environment(), encoding=None, timeout=30, maxread=65536,
        )  # fmt: skip
        self.child.delaybeforesend = None  # it would wait for 50 ms before each key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.close(force=True)
        self._folder.cleanup()

    def until_row(self) -> float:
        """Seconds from the start to the first row of the table."""
        self.child.expect(rb"session-\d+")
        first_s = time.perf_counter() - self.began
        self._drain(2.5)  # until the collector of garbage is ours
        return first_s

    def cpu_s(self) -> float:
        """Processor time that it has taken so far."""
        import psutil

        times = psutil.Process(self.child.pid).cpu_times()
        return float(times.user + times.system)

    def key_to_screen_s(self, number: int) -> float:
        """Seconds from a key to the place of the cursor in the status bar, which is the last line but one."""
        self._drain(random.Random(number).uniform(0.01, 0.05))
        began = time.perf_counter()
        self.child.send(b"j")
        self.child.expect_exact(f"row {number + 2:,} ".encode())
        return time.perf_counter() - began

    def watched(self) -> tuple[float, float, float]:
        """Share of a core, bytes a refresh and resident bytes, over some seconds."""
        import psutil

        before_s, began, answers = self.cpu_s(), time.perf_counter(), os.path.getsize(self._answers)
        written = self._drain(WATCHED_S)
        share = (self.cpu_s() - before_s) / (time.perf_counter() - began)
        refreshes = max(1, os.path.getsize(self._answers) - answers)
        return share, written / refreshes, float(psutil.Process(self.child.pid).memory_info().rss)

    def heard(self) -> tuple[list[float], float, float]:
        """How old the newest event was in each picture, in milliseconds; share of a core; bytes a second."""
        import pexpect

        self._drain(4.0)  # until all lines that are kept are in use
        before_s, began, written = self.cpu_s(), time.perf_counter(), 0
        lags, picture = [], b""
        while time.perf_counter() - began < WATCHED_S:
            try:
                picture += self.child.read_nonblocking(65536, timeout=0.03)
            except pexpect.TIMEOUT:
                moments = re.findall(rb"at=(\d+\.\d+)", picture)
                if moments:
                    lags.append(1000 * (time.time() - 0.03 - max(map(float, moments))))
                written, picture = written + len(picture), b""
        took_s = time.perf_counter() - began
        return sorted(lags), (self.cpu_s() - before_s) / took_s, written / took_s

    def _drain(self, seconds: float) -> int:
        import pexpect

        until, size = time.perf_counter() + seconds, 0
        while (left := until - time.perf_counter()) > 0:
            try:
                size += len(self.child.read_nonblocking(65536, timeout=left))
            except pexpect.TIMEOUT:
                break
        return size


def _environment() -> Any:
    return {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}


# -- the console's process ---------------------------------------------------------------------------------------------


class StandIn:
    """A node that answers about so many agents, each time something else unless it stands still. `tests/console` drives
    the console on it, so that a verb that the console has begun to ask is missed there first."""

    role = "operator"
    way = ""
    state = "up"

    def __init__(
        self, agents: int, *, moving: bool = True, answered: Callable[[], object] = lambda: None
    ) -> None:
        from observe.probe import wire, wire_agent, wire_table

        self._wire, self._one, self._table = wire, wire_agent, wire_table
        self._agents, self._turn, self._step = agents, 0, int(moving)
        self._answered = answered
        self.on_state: Any = None
        now = time.time()
        self.info = wire.NodeInfo(
            name="bench@localhost", incarnation="one", pid=1, host="localhost", started_at=now - 60, now=now,
            python="3", version="0", state="up", agents=agents, probe_pid=2,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.state = "closed"

    async def agents(self, query: Any) -> Any:
        await asyncio.sleep(0.005)
        self._turn += self._step
        self._answered()
        last = min(self._agents, query.offset + query.limit)
        rows = [self._row(number) for number in range(query.offset, last)]
        return self._table.Page(
            columns=list(self._table.COLUMNS), rows=rows, matched=self._agents, total=self._agents, at=time.time(),
            offset=query.offset,
        )  # fmt: skip

    def _row(self, number: int) -> list[Any]:
        turn = self._turn * 7919 + number * 104729
        status = self._table.STATUS_NAMES[1 + turn % 4]
        row = {
            "pid": number + 1, "name": f"session-{number}", "class": "Session", "status": status,
            "status_s": turn % 97 / 7, "mailbox": turn % 300, "mailbox_max": 300, "handled": self._turn * 13 + number,
            "rate": turn % 50 / 3, "reductions": self._turn * 1013 + number, "load": turn % 100 / 300, "restarts": 0,
            "crashes": 0, "activity": "model:chat" if turn % 3 else None, "activity_s": turn % 30 / 2,
            "age_s": 60.0 + self._turn, "supervisor": 1, "child": f"s{number}", "process": 0, "restarts_min": 0, "crashes_min": 0, "risk": 0.0,
        }  # fmt: skip
        return [row.get(column) for column in self._table.COLUMNS]

    async def trace(self, selector: str, **bounds: Any) -> Talk:
        return Talk()

    async def vitals(self, history_s: float = 0.0) -> Any:
        return self._wire.Vitals(
            at=time.time(), state="up", agents=self._agents, rate=50_000.0 + self._turn % 1000, run_queue=self._turn % 7,
            use=0.3 + self._turn % 10 / 50, lag_s=0.001, memory=10**9, cpu=0.5, probe_cost=0.01, held=None, restarts_min=0,
            crashes_min=0, spawned=0, exited=0,
        )  # fmt: skip

    async def crashes(self, limit: int) -> Any:
        return self._one.Crashes(crashes=[], total=0)

    async def findings(self) -> Any:
        from observe.probe.verbs_findings import StandingFindings

        return StandingFindings(findings=[], begun=0, untold=0)

    async def watch_vitals(self) -> Any:
        return self._every_second()

    async def _every_second(self) -> AsyncIterator[Any]:
        while True:
            await asyncio.sleep(1.0)
            yield type("Push", (), {"data": await self.vitals(), "dropped": 0})

    async def watch_events(self) -> Any:
        return self._never()

    async def _never(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield None


class Talk:
    """A trace session in which a thousand messages a second are heard."""

    agents, dropped, ended = 3, 0, ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Any]:
        from observe.probe.wire_traces import TraceEvent, TraceEvents

        count = 0
        while True:
            await asyncio.sleep(1 / TALK_HZ)
            events = []
            for _ in range(1000 // TALK_HZ):
                count += 1
                said = {"type": "str", "text": f"'price of lamp {count}, at={time.time():.3f}'"}
                events.append(
                    TraceEvent(
                        n=count, at=time.time(), kind="call", pid=5 + count % 7, name=f"cart-{count % 7}", peer=3,
                        class_name="Cart", peer_name="prices", message=said,
                    )
                )  # fmt: skip
            yield type("Push", (), {"data": TraceEvents(events=events), "dropped": 0})

    async def close(self) -> None:
        pass


async def listen(app: Any) -> None:
    """Begin a trace session, as `Y` does."""
    from observe.console.trace_asked import Wanted

    while app.attachment.node is None:  # noqa: ASYNC110  nobody tells of it
        await asyncio.sleep(0.05)
    await app.pages["traces"].start([Wanted("class:Cart", None, "", 10**6, 600.0, 1000.0, "")])


def serve(agents: int, refreshes_hz: float, moving: bool, answers: str, screen: Any) -> None:
    """The console on the stand-in, which adds a byte to the file `answers` with each answer."""
    from observe.console.app import ObserveApp

    with open(answers, "ab", buffering=0) as told:
        node = StandIn(agents, moving=moving, answered=lambda: told.write(b"."))
        app = ObserveApp(lambda: node, "bench", screen=screen)  # type: ignore[arg-type, return-value]  # it answers as one
        app.attachment.rows._interval_s = 1 / refreshes_hz
        app.collects = True  # as `observe attach` does
        app.table_view.order_by("pid", descending=False)
        if screen == "traces":
            app.call_later(app.run_worker, listen(app))
        app.run()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1", sys.argv[4], sys.argv[5])
