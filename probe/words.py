"""The words: a page of memory that a scheduler writes and its probe reads, even when the scheduler is stuck.

    service process                       probe process
    scheduler --- words 1,2,4,6 --+
    emitter  ---- word 3 ---------+--> [ 4,096 bytes, MAP_SHARED ] --> Words.read()
    control thread -- word 5 -----+

Each word has one writer, is eight aligned bytes and is stored at once, so that a reader sees an old value or a
current one and never half of each. A reader must not expect two words to belong together: read twice to be sure.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAGIC: Final = 0x6F62736572766531
"""``observe1`` in ASCII: tells a mapped page of ours from whatever else the file may hold."""

PAGE_BYTES: Final = 4096

WORD_MAGIC: Final = 0
WORD_PID: Final = 1
"""Pid of the agent whose slice runs, 0 when none does."""
WORD_SLICE_NS: Final = 2
"""Monotonic nanoseconds at which the drain began that the slice is part of: no more than 3 ms before the slice did, since a
drain ends with the slice in which that time is over. A store for each slice would be half of what telemetry costs."""
WORD_LOOP_NS: Final = 3
"""Monotonic nanoseconds of the loop's last heartbeat; written by the emitter each tick."""
WORD_SLICES: Final = 4
"""Slices run so far."""
WORD_THREAD_NS: Final = 5
"""Monotonic nanoseconds at which the control thread last ran. Stale while `WORD_PID` is set: a C call holds the GIL."""
WORD_RUNNING: Final = 6
"""1 while the loop is running callbacks of the scheduler, else 0."""
WORD_COUNT: Final = 7

FILE_NAME: Final = "words"
"""The file's name in the node's directory."""


class NotWords(ValueError):
    """The file is not a page of words: too short, or without the magic number."""


@dataclass(frozen=True, slots=True)
class WordsReading:
    """All words as they were within one microsecond or so."""

    pid: int
    slice_ns: int
    loop_ns: int
    slices: int
    thread_ns: int
    running: bool


class Words:
    """A mapped page of words. Make one with `create` (the service) or `open` (the probe), and `close` it."""

    __slots__ = ("_map", "view")

    view: memoryview
    """The page as unsigned 64-bit items; what `Scheduler.attach_words` takes."""

    def __init__(self, mapping: mmap.mmap) -> None:
        if sys.byteorder != "little":
            raise NotWords("the words are little-endian, and this machine is not")
        self._map = mapping
        self.view = memoryview(mapping).cast("Q")

    @classmethod
    def create(cls, path: Path) -> Words:
        """Make the file anew, readable and writable by its owner alone, and map it.

        A page left by an earlier service is unlinked and not overwritten: its probe may still be reading it.
        """
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(descriptor, PAGE_BYTES)
            mapping = mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)
        words = cls(mapping)
        now_ns = time.monotonic_ns()
        words.view[WORD_LOOP_NS] = now_ns
        words.view[WORD_THREAD_NS] = now_ns
        words.view[WORD_MAGIC] = MAGIC
        return words

    @classmethod
    def open(cls, path: Path) -> Words:
        """Map an existing page for reading.

        Raises:
            OSError: there is no such file, or it may not be read.
            NotWords: it is something else.
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if os.fstat(descriptor).st_size < PAGE_BYTES:
                raise NotWords(f"{path} is shorter than a page of words")
            mapping = mmap.mmap(descriptor, PAGE_BYTES, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        words = cls(mapping)
        if words.view[WORD_MAGIC] != MAGIC:
            words.close()
            raise NotWords(f"{path} does not hold the words of a node")
        return words

    def read(self) -> WordsReading:
        """What the words say. Read again while the pid and its slice's start do not belong together, 100 times at most."""
        view = self.view
        for _ in range(100):
            slices = view[WORD_SLICES]
            pid, slice_ns = view[WORD_PID], view[WORD_SLICE_NS]
            if view[WORD_SLICES] == slices and view[WORD_PID] == pid:
                break
        return WordsReading(
            pid=pid,
            slice_ns=slice_ns,
            loop_ns=view[WORD_LOOP_NS],
            slices=slices,
            thread_ns=view[WORD_THREAD_NS],
            running=view[WORD_RUNNING] != 0,
        )

    def close(self) -> None:
        """Unmap the page. The file stays. Closing twice has no effect."""
        self.view.release()
        try:
            self._map.close()
        except BufferError:
            pass  # somebody still holds `view`; the map goes when they let it go
