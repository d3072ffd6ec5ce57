"""The coroner: watches a node for what its death report will need, and writes the report when it has died."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from observe.probe.deaths import BusyAgent, Death, DeathFiles, Deaths, OpenSpanTold, ThreadStack
from observe.probe.frames import OpenSpan
from observe.probe.last_breath import Ending, HighWater, MemoryKills, signal_name
from observe.probe.node_watch import NodeWatch
from observe.probe.open_book import OpenBook
from observe.probe.picture import Picture
from observe.probe.stacks import last_dump
from observe.probe.wire import Held
from observe.probe.wire_table import STATUS_NAMES
from observe.probe.wire_watches import Event

logger = logging.getLogger("observe.probe")

MAX_OPEN: Final = 100
"""Open activities, and spans, in a report, the longest first."""

HISTORY_S: Final = 60.0

SIGKILL: Final = 9


class Coroner:
    """Of one node. Everything here is bounded and none of it fails."""

    def __init__(self, picture: Picture, watch: NodeWatch, directory: Path, stacks: Path) -> None:
        self._picture = picture
        self._watch = watch
        self._stacks = stacks
        self._files = DeathFiles(directory)
        self._high_water = HighWater(picture.config.pid)
        self._memory_kills = MemoryKills()
        self._held: Held | None = None

    def look(self) -> None:
        """About once a second while the node lives."""
        self._high_water.look(self._picture.vitals.memory)

    def deaths(self, limit: int) -> Deaths:
        """The newest reports of this node's name."""
        return self._files.read(limit)

    def examine(self, *, text: str = "") -> Death:
        """Report the death that has just happened, and keep the report. To be called before the picture stands still.

        Args:
            text: what the node itself said of its end.
        """
        ending = self._watch.ending() if not text else Ending()
        dump = last_dump(self._stacks)
        picture = self._picture
        now_us = picture.now_us()
        out_of_memory = ending.signal in (SIGKILL, None) and not text and self._memory_kills.rose()
        death = Death(
            node=f"{picture.config.node}@{picture.config.host}",
            incarnation=picture.config.incarnation,
            pid=picture.config.pid,
            at=time.time(),
            started_at=picture.started_at,
            cause=text or cause_of(ending, out_of_memory, dump.fatal),
            exit_code=ending.exit_code,
            signal=ending.signal,
            signal_name=signal_name(ending.signal) if ending.signal is not None else None,
            out_of_memory=out_of_memory,
            fatal=dump.fatal,
            stacks=[ThreadStack(thread=name, frames=frames) for name, frames in dump.threads],
            memory_max=self._high_water.bytes,
            running=self._running(now_us),
            held=picture.held,
            vitals=picture.current_vitals(HISTORY_S),
            events=[Event.from_wire(item) for item in picture.recent],
            crashes_total=picture.crashes_total,
            agents=len(picture.table),
            by_status=self._by_status(),
        )
        death.open_activities, death.open_activities_total = self._open(now_us)
        death.open_spans, death.open_spans_total = open_spans_of(picture.spans, death.at)
        try:
            self._files.write(death)
        except OSError as error:  # consoles are still told
            logger.error("the death report of %s cannot be written: %s", death.node, error)
        return death

    def _running(self, now_us: int) -> BusyAgent | None:
        """The agent that the words name: they are in a file and outlive their writer."""
        reading = self._watch.last_words()
        if reading is None or not reading.pid:
            return None
        row = self._picture.table.row_of(reading.pid)
        for_s = max(now_us - reading.slice_ns // 1000, 0) / 1e6
        if row is None:
            return BusyAgent(pid=reading.pid, class_name="", status="running", for_s=for_s, mailbox=0)
        found = self._busy([row], "since_us", now_us)[0]
        return found.model_copy(update={"status": "running", "for_s": for_s})

    def _by_status(self) -> dict[str, int]:
        table = self._picture.table
        numbers = np.bincount(table.ints("status")[table.alive()], minlength=len(STATUS_NAMES))
        return {name: int(count) for name, count in zip(STATUS_NAMES, numbers, strict=True) if count}

    def _open(self, now_us: int) -> tuple[list[BusyAgent], int]:
        table = self._picture.table
        rows = table.alive()
        rows = rows[table.ints("activity")[rows] != 0]
        oldest = rows[np.argsort(table.ints("activity_since_us")[rows], kind="stable")[:MAX_OPEN]]
        return self._busy(oldest.tolist(), "activity_since_us", now_us), len(rows)

    def _busy(self, rows: Sequence[int], since: str, now_us: int) -> list[BusyAgent]:
        table = self._picture.table
        return [
            BusyAgent(
                pid=int(table.ints("pid")[row]),
                name=table.text("name", row),
                class_name=table.text("class", row) or "",
                status=table.status(row),
                activity=table.text("activity", row),
                for_s=max(now_us - int(table.ints(since)[row]), 0) / 1e6,
                mailbox=int(table.ints("mailbox")[row]),
            )
            for row in rows
        ]


def open_spans_of(book: OpenBook, at: float) -> tuple[list[OpenSpanTold], int]:
    """The spans that were open at this moment, the longest first, and how many there were."""
    found = book.open()
    return [
        OpenSpanTold(
            trace_id=one.trace, span_id=f"{one.span:016x}", name=one.name,
            agent=str(one.attributes.get("gen_ai.agent.id", "")), pid=_pid_of(one), worker=one.process,
            for_s=max(0.0, at - one.start_ns / 1e9),
        )
        for one in found[:MAX_OPEN]
    ], len(found)  # fmt: skip


def _pid_of(span: OpenSpan) -> int:
    pid = span.attributes.get("observe.pid", 0)
    return pid if isinstance(pid, int) else 0


def cause_of(ending: Ending, out_of_memory: bool, fatal: str | None) -> str:
    """One line: what ended the process."""
    if out_of_memory:
        return f"{ending}; the kernel has killed for want of memory here"
    if fatal is not None and ending.is_known:
        return f"{ending}: {fatal}"
    if fatal is not None:
        return fatal
    if ending.signal == SIGKILL:
        return f"{ending}: somebody, or the kernel for want of memory, killed it"
    return str(ending)
