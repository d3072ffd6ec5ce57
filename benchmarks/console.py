"""The console on 1,000,000 agents: from a key to the screen, processor, bytes and memory, start to first picture.

The console runs as a person would run it, in a pseudo-terminal of 200x50, so that what Textual writes to the terminal is part
of it. The node is a stand-in beside it that answers as a probe does, within some milliseconds; each answer differs
from the one before in every row that is in sight, which is more than 50,000 updates a second over a million rows
change there. What a real probe takes to answer, `table` and `attach` measure.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.measure import Result, at_most, child_argv

SIZE: Final = (50, 200)
KEYS: Final = 300
WATCHED_S: Final = 6.0


def run() -> list[Result]:
    """All figures."""
    big = Terminal(1_000_000, 2.0)
    try:
        first_s = big.until_row()
        keys_ms = sorted(1000 * big.key_to_screen_s(number) for number in range(KEYS))
    finally:
        big.close()
    steady = Terminal(100_000, 5.0)
    try:
        steady.until_row()
        share, bytes_a_frame, memory = steady.watched()
    finally:
        steady.close()
    p99 = keys_ms[int(0.99 * len(keys_ms))]
    return [
        at_most(
            "key to screen, p99 (1,000,000 rows)",
            p99,
            "ms",
            16.0,
            f"median {statistics.median(keys_ms):.1f} ms",
        ),
        at_most("processor at 5 refreshes/s (100,000 rows)", 100 * share, "% of a core", 10.0),
        at_most("written to the terminal a refresh", bytes_a_frame / 1000, "kB", 20.0),
        at_most("resident", memory / 1e6, "MB", 120.0),
        at_most("from the command to the first row", first_s, "s", 1.0),
    ]


class Terminal:
    """A console in a pseudo-terminal."""

    def __init__(self, agents: int, refreshes_hz: float) -> None:
        import pexpect

        command = child_argv("benchmarks.console", str(agents), str(refreshes_hz))
        self.began = time.perf_counter()
        self.child = pexpect.spawn(
            command[0], command[1:], dimensions=SIZE, env=_environment(), encoding=None, timeout=30, maxread=65536,
        )  # fmt: skip
        self.child.delaybeforesend = None  # it would wait for 50 ms before each key

    def until_row(self) -> float:
        """Seconds from the start to the first row of the table."""
        self.child.expect(rb"session-\d+")
        first_s = time.perf_counter() - self.began
        self._drain(1.5)
        return first_s

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

        process = psutil.Process(self.child.pid)
        before, began = process.cpu_times(), time.perf_counter()
        written = self._drain(WATCHED_S)
        took, after = time.perf_counter() - began, process.cpu_times()
        share = (after.user + after.system - before.user - before.system) / took
        return share, written / (5.0 * took), float(process.memory_info().rss)

    def _drain(self, seconds: float) -> int:
        import pexpect

        until, size = time.perf_counter() + seconds, 0
        while (left := until - time.perf_counter()) > 0:
            try:
                size += len(self.child.read_nonblocking(65536, timeout=left))
            except pexpect.TIMEOUT:
                break
        return size

    def close(self) -> None:
        """End it."""
        self.child.close(force=True)


def _environment() -> Any:
    import os

    return {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}


# -- the console's process ---------------------------------------------------------------------------------------------


class StandIn:
    """A node that answers about so many agents, each time something else."""

    role = "operator"
    way = ""
    state = "up"

    def __init__(self, agents: int) -> None:
        from observe.probe import wire

        self._wire, self._agents, self._turn = wire, agents, 0
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
        self._turn += 1
        last = min(self._agents, query.offset + query.limit)
        rows = [self._row(number) for number in range(query.offset, last)]
        return self._wire.Page(
            columns=list(self._wire.COLUMNS), rows=rows, matched=self._agents, total=self._agents, at=time.time(),
            offset=query.offset,
        )  # fmt: skip

    def _row(self, number: int) -> list[Any]:
        turn = self._turn * 7919 + number * 104729
        status = self._wire.STATUS_NAMES[1 + turn % 4]
        row = {
            "pid": number + 1, "name": f"session-{number}", "class": "Session", "status": status,
            "status_s": turn % 97 / 7, "mailbox": turn % 300, "mailbox_max": 300, "handled": self._turn * 13 + number,
            "rate": turn % 50 / 3, "reductions": self._turn * 1013 + number, "load": turn % 100 / 300, "restarts": 0,
            "crashes": 0, "activity": "model:chat" if turn % 3 else None, "activity_s": turn % 30 / 2,
            "age_s": 60.0 + self._turn, "supervisor": 1, "child": f"s{number}", "process": 0,
        }  # fmt: skip
        return [row.get(column) for column in self._wire.COLUMNS]

    async def vitals(self, history_s: float = 0.0) -> Any:
        return self._wire.Vitals(
            at=time.time(), state="up", agents=self._agents, rate=50_000.0 + self._turn % 1000, run_queue=self._turn % 7,
            use=0.3 + self._turn % 10 / 50, lag_s=0.001, memory=10**9, cpu=0.5, probe_cost=0.01, held=None, restarts_min=0,
            crashes_min=0, spawned=0, exited=0,
        )  # fmt: skip

    async def crashes(self, limit: int) -> Any:
        return self._wire.Crashes(crashes=[], total=0)

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


def serve(agents: int, refreshes_hz: float) -> None:
    """The console on the stand-in."""
    from observe.console.app import ObserveApp

    app = ObserveApp(lambda: StandIn(agents), "bench", screen="agents")  # type: ignore[arg-type, return-value]  # it answers as one
    app.attachment.rows._interval_s = 1 / refreshes_hz
    app.collects = True  # as `observe attach` does
    app.table_view.order_by("pid", descending=False)
    app.run()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
