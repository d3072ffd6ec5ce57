"""The page of the loaded code as lines: modules, and one of them with its difference. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from observe.console.columns import Piece
from observe.console.format import ago, clip_middle, one_line, pad, plural, timestamp
from observe.console.lines import Line
from observe.probe.wire_reload import LoadedCode, ModuleLine, ReloadDone

STATES: Final = {"same": ("·", "dim"), "changed": ("▲", "warn"), "missing": ("✕", "bad")}
"""A shape and a tone each: it can be told without the colour."""

MOST_NAMES: Final = 8
"""Names of one kind that a preview lists; the others are counted."""


def state_text(one: ModuleLine) -> str:
    """How the file is, against what is loaded."""
    match one.state:
        case "same":
            return "as loaded"
        case "missing":
            return "cannot be read"
        case _:
            return "changed" if one.added is None else f"changed +{one.added:,} -{one.removed or 0:,}"


def classes_text(one: ModuleLine, most: int = 6) -> str:
    """Its classes of agents and how many live: `400 Session, 1 Desk`."""
    shown = list(one.classes.items())[:most]
    text = ", ".join(f"{count:,} {one_line(name)}" for name, count in shown)
    return text + (f", and {len(one.classes) - most:,} more" if len(one.classes) > most else "")


def headings(width: int) -> list[Piece]:
    """What the columns are."""
    name = pad("module", _name_cells(width))
    return [(f"      {name}  {'ver':>3}  {'lines':>6}  {'on the disk':<14}  agents", "heading")]


def _name_cells(width: int) -> int:
    return max(15, min(60, width - 54))


def module_lines(found: Sequence[ModuleLine], marked: Collection[str], width: int) -> list[Line]:
    """A line a module."""
    cells = _name_cells(width)
    lines: list[Line] = []
    for one in found:
        glyph, tone = STATES.get(one.state, ("?", "text"))
        text = "text" if one.agents or one.state != "same" else "dim"
        pieces: tuple[Piece, ...] = (
            ("◆ " if one.name in marked else "  ", "accent"),
            (f"{glyph} ", tone),
            (
                pad(clip_middle(one_line(one.name), cells), cells) + "  ",
                "strong" if one.state != "same" else text,
            ),
            (f"{one.version:>3}  ", "info" if one.version > 1 else "dim"),
            (f"{one.lines:>6,}  ", "dim"),
            (pad(state_text(one), 14) + "  ", tone),
            (classes_text(one), text),
        )
        lines.append(Line(f"module/{one.name}", pieces, full=one.name))
    return lines


def module_of(line: Line | None) -> str:
    """The name of the module that a line is about; empty for none."""
    kind, _, name = line.key.partition("/") if line is not None else ("", "", "")
    return name if kind == "module" else ""


def detail_lines(one: ModuleLine, diff: Sequence[str] | None, now: float) -> list[Line]:
    """One module: where it is, what lives of it, and what has changed. `diff` is None while it is asked for."""
    glyph, tone = STATES.get(one.state, ("?", "text"))
    title: list[Piece] = [(f"{one_line(one.name)}  ", "title"), (f"version {one.version}  ", "dim")]
    title.append((f"{glyph} {state_text(one)}", tone))
    if one.changed_at is not None:
        title.append((f"  written {ago(max(0.0, now - one.changed_at))}, {timestamp(one.changed_at)}", "dim"))
    agents = classes_text(one, 20) or "no class of agents is in it"
    lines = [
        Line("title", tuple(title), heading=True),
        _fact("file", one.file, "text"),
        _fact("agents", agents, "text" if one.classes else "dim"),
    ]
    if one.state != "changed":
        return lines
    if diff is None:
        return [*lines, Line("asking", (("asking for the difference …", "dim"),))]
    return [*lines, *diff_lines(diff[2:])]  # the first two name the texts, as the line above does


def _fact(name: str, text: str, tone: str) -> Line:
    return Line(name, ((f"{name:<10}", "key"), (one_line(text), tone)), full=text)


def diff_lines(diff: Sequence[str]) -> list[Line]:
    """Lines of a unified diff: what is added and removed has its sign and its colour."""
    return [
        Line(f"diff/{number}", ((one_line(text.replace("\t", "    ")) or " ", _diff_tone(text)),), full=text)
        for number, text in enumerate(diff)
    ]


def _diff_tone(text: str) -> str:
    if text.startswith(("+++", "---")):
        return "dim"
    if text.startswith("@@"):
        return "info"
    return {"+": "good", "-": "bad"}.get(text[:1], "text")


def where_pieces(
    found: LoadedCode | None, shown: int, text: str, marked: int, only_changed: bool
) -> list[Piece]:
    """How many modules, how many of them changed, and what can be undone."""
    if found is None:
        return [("asking for the code …", "dim")]
    pieces: list[Piece] = [(f"{plural(found.total, 'module')}  ", "strong")]
    if text or only_changed:
        what = " ".join(part for part in (text, "changed" if only_changed else "") if part)
        pieces = [(f"{shown:,} of {plural(found.total, 'module')}", "strong"), (f" match {what}  ", "dim")]
    pieces.append((f"{found.changed:,} changed on the disk  ", "warn" if found.changed else "dim"))
    if marked:
        pieces.append((f"{marked:,} marked  ", "accent"))
    if found.undoable:
        pieces.append((f"newest reload: {', '.join(found.undoes)}; u undoes it", "dim"))
    return pieces


def preview_pieces(done: ReloadDone) -> list[list[Piece]]:
    """What a reload would change, has changed, or why it cannot be."""
    lines: list[list[Piece]] = []
    agents = ", ".join(
        f"{count:,} {one_line(name)}" for name, count in list(done.classes.items())[:MOST_NAMES]
    )
    if not done.refusals:
        nobody = "none live of its classes"
        lines.append([(f"{'agents':<10}", "key"), (agents or nobody, "strong" if agents else "dim")])
    for name, tone in (("added", "good"), ("changed", "warn"), ("removed", "bad"), ("kept", "dim")):
        texts = getattr(done, name)
        if texts:
            more = f" … and {len(texts) - MOST_NAMES:,} more" if len(texts) > MOST_NAMES else ""
            lines.append([(f"{name:<10}", "key"), (one_line(", ".join(texts[:MOST_NAMES])) + more, tone)])
    if done.dry_run and not (done.added or done.changed or done.removed or done.refusals):
        lines.append([(f"{'changed':<10}", "key"), ("no class, function or value is another", "dim")])
    lines += [[("✕ cannot ", "bad"), (one_line(text), "bad")] for text in done.refusals[:MOST_NAMES]]
    return lines
