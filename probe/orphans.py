"""Ends, at the backend, the spans that were open when a node died; each once, whoever comes to it.

    death seen --> orphans/INCARNATION.json --> sent by a thread, tried again while the probe lingers --> file removed
    next start --> files that are left; and, when a probe died with its node, what the flight recorder knows

A probe has the lock of the node's directory while it does this, so there are never two. Before spans are handed to the exporter
the file is marked (`.sending`); one whose probe died at that moment is not sent again, since nobody knows whether it arrived.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from observe.probe.asks import Answer, Asks
from observe.probe.deaths import Death
from observe.probe.errors import Refusal
from observe.probe.frames import OpenSpan, SpanEnd
from observe.probe.open_book import OpenBook, ends_path
from observe.probe.orphan_tape import unfinished
from observe.probe.picture import Picture
from observe.tracing.open_spans import read_ends

logger = logging.getLogger("observe.probe")

ORPHANS: Final = "orphans"
KEPT: Final = 20
"""Files that wait for a backend. The oldest go first."""
FILE_LIMIT_BYTES: Final = 64 << 20

AGAIN_S: Final = 5.0
"""Between two tries to send, and between two questions where to."""

CLOSE_S: Final = 3.0
"""How long the end of the probe waits for a request that is under way."""


class Left(BaseModel):
    """What a dead process leaves to be sent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    incarnation: str
    at: float
    cause: str
    exit_code: int | None = None
    signal: int | None = None
    signal_name: str | None = None
    worker: str = ""
    """Which of its processes; empty for the node's own."""
    resource: dict[str, bool | int | float | str]
    spans: list[tuple[OpenSpan, SpanEnd | None]]


_OF_PART: Final = ("worker", "resource", "spans")


class Orphans:
    """Of one node's name. All but the thread's work belongs to the probe's loop."""

    def __init__(
        self, picture: Picture, asks: Asks, directory: Path, record: Path | None, tell: Callable[[str], None]
    ) -> None:
        """
        Args:
            record: the directory of the flight recorder. To be made before this probe begins to record.
            tell: takes a line for people.
        """
        self._picture = picture
        self._asks = asks
        self._node = directory
        self._files = directory / ORPHANS
        self._tell = tell
        self._destination: dict[str, Any] | None = None
        self._ask_at = 0.0
        self._is_asking = False
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._more = threading.Event()
        self._thread: threading.Thread | None = None
        self._unfinished = unfinished(record, picture.config.node, picture.config.incarnation)
        self._is_waiting = self._unfinished is not None or bool(self._paths())

    # -- on the loop

    def look(self, now: float) -> None:
        """Often: find out where to send as soon as there may be something, and pass on what the thread says."""
        while not self._said.empty():
            self._tell(self._said.get())
        wanted = self._is_waiting or self._picture.spans.is_traced
        is_known = self._destination is not None or self._is_asking
        if wanted and not is_known and now >= self._ask_at and self._picture.ended is None:
            self._ask_at = now + AGAIN_S
            self._is_asking = True
            self._asks.ask("destination", {}, self._heard, now)

    def _heard(self, answer: Answer) -> None:
        self._is_asking = False
        if isinstance(answer, Refusal) or not answer:
            return  # not traced, or not yet
        self._destination = answer
        if self._is_waiting:
            self._work()

    def died(self, death: Death) -> None:
        """The node has died: write down what is to be sent, and begin."""
        if self._keep(death, self._picture.spans) and self._destination is not None:
            self._work()

    def _keep(self, death: Death, book: OpenBook) -> bool:
        """Write down what is to be sent, for each process. False when nothing is."""
        own = ends_path(self._node, death.incarnation).name
        parts = book.left(own, lambda name: read_ends(self._node / name))
        for name in [own, *(one.page for one in book.processes.values() if one.page)]:
            (self._node / name).unlink(missing_ok=True)
        facts = {name: getattr(death, name) for name in Left.model_fields if name not in _OF_PART}
        for part in parts:
            worker = f"-w{part.serial}" if part.serial else ""
            self._write(Left(**facts, worker=worker, resource=part.resource, spans=part.spans))
        return bool(parts)

    def close(self) -> None:
        """End, after a request that is under way. What is left is the next probe's."""
        self._closing.set()
        self._more.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _write(self, left: Left) -> None:
        path = self._files / f"{left.incarnation}{left.worker}.json"
        try:
            self._files.mkdir(mode=0o700, exist_ok=True)
            temporary = path.with_suffix(f".new-{os.getpid()}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(left.model_dump_json())
            os.replace(temporary, path)
            for old in self._paths()[:-KEPT]:
                logger.error("the open spans of %s are given up: too many wait for the backend", old.stem)
                old.unlink(missing_ok=True)
        except OSError as error:
            logger.error("the open spans of a node that died cannot be written down: %s", error)

    def _paths(self) -> list[Path]:
        try:
            return sorted(self._files.glob("*.json"), key=lambda path: path.stat().st_mtime)
        except OSError:
            return []

    def _work(self) -> None:
        self._more.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="observe:orphans", daemon=True)
            self._thread.start()

    # -- in the thread

    def _run(self) -> None:
        try:
            self._finish_tape()
            self._tidy()
            self._send_all()
        except Exception:  # the edge of the thread
            logger.exception("the open spans of a node that died could not be sent")

    def _finish_tape(self) -> None:
        found, self._unfinished = self._unfinished, None
        death = found.finish() if found is not None else None
        if found is not None and death is not None and found.spans:
            self._keep(death, found.book)

    def _tidy(self) -> None:
        """Remove pages of other incarnations, and marks of those who died while they sent."""
        own = ends_path(self._node, self._picture.config.incarnation)
        for page in self._node.glob("ends-*"):
            if not page.name.startswith(own.name):
                page.unlink(missing_ok=True)
        for mark in self._files.glob("*.sending"):
            logger.error("the open spans of %s may have been sent, or not: they are left", mark.stem)
            mark.unlink(missing_ok=True)

    def _send_all(self) -> None:
        from observe.tracing.orphans import sender

        assert self._destination is not None
        send = sender(self._destination)
        while not self._closing.is_set():
            self._more.clear()
            done = all(self._send(path, send) for path in self._paths())
            self._more.wait(None if done else AGAIN_S)

    def _send(self, path: Path, send: Callable[[Any], bool]) -> bool:
        from observe.tracing.orphans import End, ended

        left = _read(path)
        if left is None:
            path.unlink(missing_ok=True)
            return True
        end = End(int(left.at * 1e9), left.cause, left.exit_code, left.signal, left.signal_name)
        spans = ended([(span.model_dump(), own) for span, own in left.spans], left.resource, end)
        mark = path.with_suffix(".sending")
        os.replace(path, mark)
        if not send(spans):
            os.replace(mark, path)
            return False
        mark.unlink(missing_ok=True)
        count = len(spans)
        self._said.put(f"{count} {'span' if count == 1 else 'spans'} of the node that died {'was' if count == 1 else 'were'} ended at the backend")  # fmt: skip
        return True


def _read(path: Path) -> Left | None:
    try:
        if path.stat().st_size > FILE_LIMIT_BYTES:
            return None
        return Left.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        logger.error("%s cannot be read: %s", path.name, str(error).splitlines()[0])
        return None
