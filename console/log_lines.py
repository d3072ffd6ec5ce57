"""The log as lines: of the console's page, and of `observe log`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from observe.console.columns import Piece
from observe.console.format import clip_middle, clock, clock_ms, one_line, pad
from observe.console.lines import Folds, Line, traceback_lines
from observe.probe.wire_log import LEVELS, LogLevel, LogLine

WIDE: Final = 120
"""Cells from which a line also has milliseconds and its logger."""

SHORT: Final = {"DEBUG": "debug", "INFO": "info", "WARNING": "WARN", "ERROR": "ERROR", "CRITICAL": "CRIT"}
"""Levels as they stand on a line: what is serious is told without its colour."""

LABEL: Final = 14


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants to see, as typed: `agent=session-7 logger=shop.tools time out`."""

    agent: int | str | None = None
    logger: str = ""
    text: str = ""
    level: LogLevel = "debug"


def wanted(typed: str, level: LogLevel = "debug") -> Wanted:
    """Read what was typed. Everything can be: what is no `agent=`, `logger=` or `level=` is text."""
    agent: int | str | None = None
    logger, words = "", []
    for word in typed.split():
        name, _, value = word.partition("=")
        if name == "agent" and value:
            agent = int(value) if value.isdecimal() and 0 < int(value) < 2**63 else value
        elif name == "logger" and value:
            logger = value
        elif name == "level" and value.lower() in LEVELS:
            level = next(one for one in LEVELS if one == value.lower())
        else:
            words.append(word)
    return Wanted(agent, logger[:256], " ".join(words)[:256], level)


def level_tone(severity: int) -> str:
    """How loudly a level is told."""
    if severity >= 40:
        return "bad"
    if severity >= 30:
        return "warn"
    return "text" if severity >= 20 else "dim"


def head_pieces(record: LogLine, width: int) -> tuple[Piece, ...]:
    """One record on one line."""
    tone = level_tone(record.severity)
    pieces: list[Piece] = [
        (f"{clock_ms(record.at) if width >= WIDE else clock(record.at)} ", "dim"),
        (pad(SHORT.get(record.level, record.level), 5) + " ", tone),
    ]
    label = one_line(record.agent or record.task)
    pieces.append(
        (pad(clip_middle(label, LABEL), LABEL) + " ", "info" if record.pid else "faint"),
    )
    if width >= WIDE:
        pieces.append((pad(clip_middle(one_line(record.logger), 22), 22) + " ", "dim"))
    pieces.append((one_line(record.text), tone if tone != "dim" else "key"))
    for name, value in record.fields.items():
        pieces += [(f"  {one_line(name)}=", "dim"), (one_line(value), "key")]
    if record.error:
        pieces.append((f"  {one_line(record.error)}", "bad"))
    return tuple(pieces)


def record_lines(record: LogLine, folds: Folds, width: int) -> Iterator[Line]:
    """A record, and below it, where it is unfolded, all that is known of it."""
    key = f"log/{record.number}"
    is_open = folds.is_open(key)
    yield Line(key, head_pieces(record, width), 0, is_open, record.pid or None, full=plain(record))
    if not is_open:
        return
    for name, value in details(record):
        yield Line(
            f"{key}/{name}", ((pad(name, 9), "key"), (one_line(value), "text")), 1, None, record.pid or None
        )
    if "\n" in record.text:
        for number, part in enumerate(record.text.split("\n")):
            yield Line(f"{key}/text{number}", ((one_line(part), "text"),), 1)
    if record.traceback:
        yield from traceback_lines(f"{key}/traceback", record.traceback, 1, width)


def details(record: LogLine) -> Iterator[tuple[str, str]]:
    """What a line has no room for."""
    yield "logger", record.logger
    if record.pid:
        yield "agent", f"{record.agent}, pid {record.pid}, {record.class_name}"
    worker = str(record.worker) if record.worker else ""
    for name, value in (
        ("worker", worker),
        ("task", record.task),
        ("thread", record.thread),
        ("at", record.place),
        ("trace", record.trace),
        ("span", record.span),
    ):
        if value:
            yield name, value
    for name, value in record.fields.items():
        yield name, value


def plain(record: LogLine) -> str:
    """The whole record as text."""
    return "".join(f"{text}\n" for text, _ in plain_lines(record)).rstrip()


def plain_lines(record: LogLine) -> Iterator[tuple[str, str]]:
    """The whole record line by line, each with its tone."""
    fields = "".join(f" {name}={one_line(value)}" for name, value in record.fields.items())
    who = f" [{one_line(record.agent)}]" if record.agent else ""
    head = f"{clock_ms(record.at)} {record.level:<8} {one_line(record.logger)}{who}"
    yield f"{head} {one_line(record.text)}{fields}", level_tone(record.severity)
    for part in record.traceback.rstrip().split("\n") if record.traceback else ():
        yield f"    {one_line(part)}", "dim"


def row(record: LogLine) -> list[Any]:
    """For a file: as `COLUMNS` says."""
    return [
        record.number, record.at, record.level, record.logger, record.pid, record.agent, record.text,
        dict(record.fields), record.error, record.traceback, record.trace, record.span,
    ]  # fmt: skip


COLUMNS: Final = (
    "number", "at", "level", "logger", "pid", "agent", "text", "fields", "error", "traceback", "trace", "span",
)  # fmt: skip
