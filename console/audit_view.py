"""The page of the audit log as lines: its records, one of them in full, and what is proven of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from observe.audit.export import attached, changes, to_otlp
from observe.audit.faults import Kind
from observe.audit.notes import BadNote, read_note
from observe.audit.record import Record
from observe.audit.verify import Report
from observe.console.audit_tail import Entry
from observe.console.columns import Piece
from observe.console.format import ago, clock, duration, one_line, pad, plural, timestamp
from observe.console.lines import Line, text_lines
from observe.probe.wire_audit import AuditHead

PHASES: Final = {
    "requested": ("○", "info"), "completed": ("●", "good"), "failed": ("✕", "bad"), "denied": ("▲", "warn"),
    "expired": ("▲", "warn"), "noted": ("·", "dim"),
}  # fmt: skip
"""A shape and a tone each: it can be told without the colour."""

WIDE: Final = 110
"""Cells from which on there is room for dates."""

FIRST: Final = ("result", "message", "diff")
"""Parts of an outcome that say most."""

NAMED: Final = {"what": "result"}
"""Parts of an outcome under another name: `what` is what was asked for."""

LABEL: Final = 17
NAMING: Final = ("agent", "name", "pid", "class", "modules", "task")
"""Parts of a target that say on whom."""
FORMATS: Final = ("jsonl", "otlp")


def headings(width: int) -> list[Piece]:
    """What the columns are."""
    time = f"{'time':<19}" if width >= WIDE else f"{'time':<8}"
    who, what = ("who         ", "what            ") if width >= WIDE else ("who       ", "what        ")
    return [(f"  {'record':>6}  {time}  {'outcome':<11}  {who}{what}on whom, why, result", "heading")]


def record_lines(entries: Sequence[Entry], width: int, now: float) -> list[Line]:
    """A line a record."""
    return [_record_line(one, width, now) for one in entries]


def _record_line(entry: Entry, width: int, now: float) -> Line:
    one = entry.record
    glyph, tone = PHASES.get(one.phase, ("?", "text"))
    wide = width >= WIDE
    text = "dim" if one.phase == "noted" else "text"
    pieces: list[Piece] = [
        (f"{one.seq:>6}  ", "dim"),
        (f"{timestamp(one.wall) if wide else short_time(one.wall, now)}  ", "dim"),
        (f"{glyph} {one.phase:<9}  ", tone),
        (pad(one_line(one.who.name) if one.phase != "noted" else "the log", 11 if wide else 9) + " ", text),
        (pad(one_line(one.what), 15 if wide else 11) + " ", "strong" if text == "text" else text),
    ]
    for part, part_tone in _rest(one):
        if part:
            pieces.append((f"{one_line(part)}  ", part_tone))
    return Line(f"record/{one.seq}", tuple(pieces), full=entry.line)


def short_time(at: float, now: float) -> str:
    """The time of day today; the day before that. Eight cells."""
    if datetime.fromtimestamp(at).date() == datetime.fromtimestamp(now).date():
        return clock(at)
    return datetime.fromtimestamp(at).strftime("%y-%m-%d")


def whom(record: Record) -> str:
    """On whom or what."""
    target = record.target
    name = target.get("name") or target.get("agent") or target.get("task")
    pid = target.get("pid")
    if name or pid:
        text = str(name or target.get("class") or "agent")
        return f"{text} #{pid}" if pid and str(pid) != text else text
    modules = target.get("modules")
    return ", ".join(map(str, modules)) if isinstance(modules, list) else ""


def _rest(record: Record) -> Iterator[Piece]:
    if record.phase == "noted":
        yield (
            ", ".join(f"{key} {value}" for key, value in record.target.items() if not isinstance(value, (list, dict))),
            "dim",
        )  # fmt: skip
        return
    outcome = record.outcome or {}
    yield whom(record), "text"
    if record.phase == "requested":
        yield record.reason, "dim"
    if record.target.get("on"):  # of a governed agent: the activity, the recipient, the level
        yield str(record.target["on"]), "info"
    became = str(
        outcome.get("message") or outcome.get("what") or changes(outcome.get("diff")) or attached(record)
    )
    yield became, "dim" if record.phase == "completed" else PHASES.get(record.phase, ("", "text"))[1]


def record_of(line: Line | None) -> int | None:
    """The number of the record that a line is about."""
    kind, _, number = line.key.partition("/") if line is not None else ("", "", "")
    return int(number) if kind in ("record", "other") else None


def detail_lines(record: Record, family: Sequence[Record], width: int) -> list[Line]:
    """All that a record says, and the others of the same command."""
    who = record.who
    glyph, tone = PHASES.get(record.phase, ("?", "text"))
    lines = [
        Line(
            "title", ((f"record {record.seq:,}  ", "title"), (f"{glyph} {record.phase}", tone)), heading=True
        )
    ]
    said = [who.name, who.role, f"key {who.key}" if who.key else "", f"user {who.user}" if who.user else ""]
    target = {key: value for key, value in record.target.items() if not whom(record) or key not in NAMING}
    facts: list[tuple[str, str, str]] = [
        ("who", "  ".join(one for one in said if one), "strong"),
        ("what", record.what, "strong"),
        (
            "on whom",
            "  ".join(one for one in (whom(record), str(record.target.get("class", ""))) if one),
            "text",
        ),
    ]
    if record.phase != "noted":
        facts.append(("why", record.reason or "no reason was given", "text" if record.reason else "warn"))
    outcome = "text" if record.phase in ("completed", "requested", "noted") else tone
    became = sorted(_flat("", record.outcome or {}), key=lambda one: one[0] not in FIRST)
    facts += [(name, value, outcome) for name, value in became]
    facts += [(name, value, "text") for name, value in _flat("on", target)]
    facts += [("when", timestamp(record.wall), "text"), ("from", who.address, "text")]
    facts += [("trace", record.trace, "dim"), ("node", record.node, "dim")]
    facts += [("incarnation", record.incarnation, "dim"), ("command", record.command_id, "dim")]
    for number, (name, value, value_tone) in enumerate(facts):
        if value:
            lines += _fact(f"fact/{number}/{name}", name, value, width, value_tone)
    for one in family:
        if one.seq != record.seq:
            glyph, tone = PHASES.get(one.phase, ("?", "text"))
            gap = one.wall - record.wall
            when = f"{duration(abs(gap))} {'later' if gap >= 0 else 'before'}"
            label = pad(f"{glyph} {one.phase}", LABEL)
            lines.append(Line(f"other/{one.seq}", ((label, tone), (f"record {one.seq:,}, {when}", "text"))))
    return lines


def _fact(key: str, name: str, value: str, width: int, tone: str) -> list[Line]:
    first, *rest = text_lines(key, value, 0, width - LABEL, tone)
    made = [Line(key, ((pad(name, LABEL - 1) + " ", "key"), *first.pieces), full=value)]
    return made + [Line(one.key, ((" " * LABEL, "text"), *one.pieces), full=value) for one in rest]


def _flat(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Names and texts of what is nested: one a line, lists of differences one a difference."""
    if isinstance(value, dict) and depth < 2:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else NAMED.get(str(key), str(key)), inner, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for one in value:
            yield name, difference(one)
    else:
        yield name, _plain(value)


def difference(one: dict[str, Any]) -> str:
    """`path: before → after`, where it is a difference of a field."""
    path = one.get("path", one.get("field", one.get("name")))
    for before, after in (("before", "after"), ("old", "new")):
        if path is not None and (before in one or after in one):
            return f"{_plain(path)}: {_plain(one.get(before, ''))} → {_plain(one.get(after, ''))}"
    return _plain(one)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def proof_pieces(
    head: AuditHead | None,
    report: Report | None,
    receipt: tuple[int, float] | None,
    *,
    proving: bool,
    key: str,
) -> list[Piece]:
    """What is known of the log as a whole; `key` proves it. `receipt`: the newest checkpoint that this machine keeps of
    it, as its size and the seconds since."""
    if head is None:
        return [(" asking where the log stands …", "dim")]
    pieces: list[Piece] = [(f" {plural(head.size, 'record')}  ", "strong")]
    if head.problem:
        return [*pieces, (f"✕ NOTHING CAN BE WRITTEN: {one_line(head.problem)}", "bad")]
    try:
        signed = read_note(head.checkpoint).size if head.checkpoint else 0
    except BadNote:
        pieces.append(("✕ its checkpoint cannot be read  ", "bad"))
    else:
        if signed:
            pieces.append((f"signed up to {signed:,}  ", "text"))
        elif head.size and (report is None or report.verdict is not Kind.UNSIGNED):
            pieces.append(("▲ UNSIGNED  ", "warn"))
    if proving:
        pieces.append(("proving …  ", "info"))
    elif report is None:
        pieces.append((f"not proven here yet: {key} proves it  ", "dim"))
    elif report.faults:
        fault = next((one for one in report.faults if one.kind is report.verdict), report.faults[0])
        pieces.append((f"✕ {fault.kind.name}: {one_line(fault.text)}  ", "bad"))
    else:
        pieces.append(
            (
                f"✓ proven up to {report.records:,}{'' if report.trusted else ' by the key beside it'}  ",
                "good",
            )
        )
    if receipt is not None:
        pieces.append((f"kept here: {receipt[0]:,}, {ago(receipt[1])}", "dim"))
    return pieces


def saved(path: Path, entries: Sequence[Entry]) -> int:
    """Write records, the oldest first, as the end of the file's name asks for. Returns its bytes.

    Raises:
        ValueError: the name ends otherwise.
        FileExistsError: it exists; nothing is overwritten.
        OSError: it cannot be written.
    """
    match path.suffix.lower():
        case ".jsonl":
            text = "".join(f"{one.line}\n" for one in entries)
        case ".otlp":
            text = json.dumps(to_otlp(one.record for one in entries), ensure_ascii=False) + "\n"
        case _:
            raise ValueError(f"the name must end in {' or '.join(FORMATS)}: that says what is written")
    content = text.encode(errors="replace")
    with path.open("xb") as file:
        file.write(content)
    return len(content)
