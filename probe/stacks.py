"""Reads what `faulthandler` wrote: the stack of the scheduler's thread while C code keeps every other thread waiting.

The service registers `faulthandler` on a signal with a file. The handler runs in the thread that the kernel picks,
takes no lock and needs no interpreter lock, so it works where nothing else in that process does.
"""

from __future__ import annotations

import linecache
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from observe.probe.wire_base import Frame

TAIL_BYTES: Final = 256 * 1024
"""How much of the end of the file is read. One dump of forty threads has about 40 kB."""

HEADER: Final = re.compile(r"^(Current thread|Thread) 0x([0-9a-fA-F]+).*\(most recent call first\):")
FATAL: Final = re.compile(r"^(?:Fatal Python error: .*|Windows fatal exception: .*)$", re.MULTILINE)
LINE: Final = re.compile(r'^  File "(.*)", line (\d+|\?\?\?) in (.*)$')


def last_stack(path: Path, thread: int | None, start_bytes: int = 0) -> list[Frame]:
    """The newest stack of the scheduler's thread in this file after `start_bytes`, outermost first; empty while it is not there.

    `thread` is the thread's identity. The file may be read while it is written, with the stacks of other threads first: those
    are not shown in its place. Without `thread`, the newest stack of the thread that handled the signal counts, which
    is the main thread when that can run, and else of the thread listed last, which is the main thread too.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - TAIL_BYTES, start_bytes))
            text = file.read().decode("utf-8", "replace").replace("\0", "")
    except OSError:
        return []
    return parse(text, thread)


def parse(text: str, thread: int | None) -> list[Frame]:
    """As `last_stack`, for what the file holds."""
    chosen: list[Frame] | None = None
    last: list[Frame] | None = None
    current: list[Frame] | None = None
    for line in text[: text.rfind("\n") + 1].splitlines():  # a line that is being written is none yet
        header = HEADER.match(line)
        if header:
            last = current = []
            ours = header[1] == "Current thread" if thread is None else int(header[2], 16) == thread
            chosen = current if ours else chosen
            continue
        entry = LINE.match(line)
        if entry and current is not None:
            number = int(entry[2]) if entry[2].isdigit() else 0
            current.append(
                Frame(file=entry[1], line=number, function=entry[3], source=source(entry[1], number))
            )
        elif not line.startswith(" "):
            current = None
    if thread is None:
        chosen = chosen or last
    return list(reversed(chosen or []))


def source(file: str, line: int) -> str:
    """The line of code, or an empty text. Only Python files are read."""
    if not file.endswith(".py") or line < 1:
        return ""
    linecache.checkcache(file)
    return linecache.getline(file, line).strip()[:500]


@dataclass(frozen=True, slots=True)
class LastDump:
    """The last that `faulthandler` wrote."""

    fatal: str | None
    """Its first line, when the process was about to die, such as `Fatal Python error: Segmentation fault`."""
    threads: list[tuple[str, list[Frame]]]
    """Of each thread a title and its stack, outermost first. The thread in which it happened comes first."""


MAX_THREADS: Final = 40


def last_dump(path: Path) -> LastDump:
    """What the file says of a process's last moment: the dump that a fatal signal left, else nothing.

    Dumps that were asked for while somebody held the scheduler are in the same file; they are not its last moment.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace").replace("\0", "")
    except OSError:
        return LastDump(None, [])
    fatal = list(FATAL.finditer(text))
    if not fatal:
        return LastDump(None, [])
    threads: list[tuple[str, list[Frame]]] = []
    inside = False
    for line in text[fatal[-1].end() :].splitlines():
        header = HEADER.match(line)
        entry = LINE.match(line)
        if header:
            threads.append((f"{header[1]} 0x{header[2]}", []))
            inside = True
        elif entry and inside:
            number = int(entry[2]) if entry[2].isdigit() else 0
            threads[-1][1].insert(
                0, Frame(file=entry[1], line=number, function=entry[3], source=source(entry[1], number))
            )
        elif not line.startswith(" "):
            inside = False
    # `faulthandler` begins with the newest thread, so that the one that matters is often the last of many.
    threads.sort(key=lambda thread: not thread[0].startswith("Current"))
    return LastDump(fatal[-1][0].strip(), threads[:MAX_THREADS])
