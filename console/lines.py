"""Screens made of lines: values as trees that fold, stacks, tracebacks. Pure, so tested without a terminal.

A line has a key that outlives a refresh: by it the cursor, the scroll position and what is unfolded stay put while
the values on the lines change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.cells import cell_len

from observe.console.columns import Piece
from observe.console.format import one_line
from observe.probe.wire_agent import Stack, Value
from observe.probe.wire_base import Frame

MAX_WRAPPED: Final = 400
"""Lines that one unfolded text may take; more than a screenful of screenfuls helps nobody."""

_NO_STACK: Final = {
    "idle": "none: between messages an agent has no stack",
    "runnable": "none: it has not begun with its next message",
}

VALUE_TONES: Final = {
    "str": "good",
    "bytes": "good",
    "int": "info",
    "float": "info",
    "bool": "accent",
    "NoneType": "dim",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a screen."""

    key: str
    """The same from one refresh to the next, and unlike that of any other line."""

    pieces: tuple[Piece, ...]
    """Text and tone, from left to right."""

    depth: int = 0
    """Levels by which it is indented."""

    open: bool | None = None
    """Whether what it holds is shown; None: it holds nothing."""

    pid: int | None = None
    """The agent that Enter goes to."""

    full: str = ""
    """What `copy` takes; empty: the text of the line."""

    heading: bool = False
    """A section's title."""

    @property
    def text(self) -> str:
        """The text of all pieces."""
        return "".join(text for text, _ in self.pieces)


@dataclass(slots=True)
class Folds:
    """What a person has folded and unfolded, by the keys of the lines. What they did not touch has its default."""

    chosen: dict[str, bool] = field(default_factory=dict)

    def is_open(self, key: str, default: bool = False) -> bool:
        """Whether the line with this key shows what it holds."""
        return self.chosen.get(key, default)

    def set(self, key: str, is_open: bool) -> None:
        """Fold or unfold one line."""
        self.chosen[key] = is_open

    def set_below(self, lines: Iterable[Line], key: str, is_open: bool) -> None:
        """Fold or unfold everything below one line, as far as it is known."""
        for line in lines:
            if line.open is not None and line.key.startswith(key):
                self.chosen[line.key] = is_open


def heading(key: str, title: str, folds: Folds, note: str = "", tone: str = "dim") -> Line:
    """The title of a section that folds; open unless a person closed it."""
    pieces: list[Piece] = [(title, "heading")]
    if note:
        pieces.append((f"  {note}", tone))
    return Line(key, tuple(pieces), open=folds.is_open(key, True), heading=True)


def wrap(text: str, width: int) -> list[str]:
    """`text` cut into lines of at most `width` cells, its own line breaks kept."""
    width = max(8, width)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        rest = one_line(paragraph.replace("\t", "    "))
        while cell_len(rest) > width:
            cut = width
            while cell_len(rest[:cut]) > width:
                cut -= 1
            space = rest.rfind(" ", width // 2, cut)
            if space > 0:
                cut = space + 1
            lines.append(rest[:cut])
            rest = rest[cut:]
        lines.append(rest)
        if len(lines) > MAX_WRAPPED:
            return [*lines[:MAX_WRAPPED], "…"]
    return lines


def text_lines(key: str, text: str, depth: int, width: int, tone: str = "text") -> list[Line]:
    """A longer text as wrapped lines."""
    return [
        Line(f"{key}|{number}", ((part, tone),), depth)
        for number, part in enumerate(wrap(text, width - 2 * depth - 2))
    ]


def _kind(value: Value) -> str:
    size = "" if value.size is None else f" · {value.size:,}"
    return f"  {value.type}{size}"


def value_lines(
    key: str, label: str, value: Value, folds: Folds, depth: int, width: int, *, unfolded: bool = False
) -> list[Line]:
    """A value as a line, and below it, when it is unfolded, its parts; a long text unfolds into wrapped lines."""
    name: list[Piece] = [(f"{one_line(label)}  ", "key")] if label else []
    if value.error:
        return [
            Line(
                key,
                (*name, (f"its repr failed: {one_line(value.error)}", "bad"), (_kind(value), "faint")),
                depth,
            )
        ]
    if value.masked:
        return [Line(key, (*name, ("•••••• ", "warn"), ("masked", "dim"), (_kind(value), "faint")), depth)]
    if value.items is not None:
        return _container_lines(key, name, value, folds, depth, width, unfolded)
    tone = VALUE_TONES.get(value.type, "text")
    text = one_line(value.text)
    note = _kind(value) + ("  cut" if value.cut else "")
    room = width - 2 * depth - 4 - sum(cell_len(piece) for piece, _ in name)
    if cell_len(text) <= room:
        return [Line(key, (*name, (text, tone), (note, "faint")), depth, full=value.text)]
    is_open = folds.is_open(key)
    if not is_open:
        return [Line(key, (*name, (text, tone)), depth, False, full=value.text)]
    whole = value.text.replace("\\n", "\n")  # the text is a repr
    first = Line(key, (*name, (note.strip(), "faint")), depth, True, full=value.text)
    return [first, *text_lines(key, whole, depth + 1, width, tone)]


def _container_lines(
    key: str, name: list[Piece], value: Value, folds: Folds, depth: int, width: int, unfolded: bool
) -> list[Line]:
    items = value.items or []
    if not items and not value.more:
        return [
            Line(
                key, (*name, (one_line(value.text), "text"), (_kind(value), "faint")), depth, full=value.text
            )
        ]
    is_open = folds.is_open(key, unfolded)
    if not is_open:
        return [
            Line(key, (*name, (_kind(value).strip() + "  ", "faint"), (one_line(value.text), "dim")), depth, False,
                 full=value.text)
        ]  # fmt: skip
    lines = [Line(key, (*name, (_kind(value).strip(), "faint")), depth, True, full=value.text)]
    for number, (part, inner) in enumerate(items):
        # The number keeps keys apart that have the same text.
        lines += value_lines(f"{key}/{number}:{part}", part, inner, folds, depth + 1, width)
    if value.more:
        lines.append(Line(f"{key}/more", ((f"… {value.more:,} more", "faint"),), depth + 1))
    return lines


def frame_lines(key: str, frames: Sequence[Frame], depth: int) -> list[Line]:
    """Frames in Python's order, the innermost last and brightest; below each its line of code."""
    lines: list[Line] = []
    for number, frame in enumerate(frames):
        last = number == len(frames) - 1
        place = f"{frame.file}:{frame.line}"
        lines.append(
            Line(
                f"{key}/{number}",
                ((frame.function, "strong" if last else "text"), (f"  {_short_path(place)}", "dim")),
                depth,
                full=place,
            )
        )
        if frame.source:
            source = one_line(frame.source.strip())
            lines.append(
                Line(f"{key}/{number}|", ((source, "warn" if last else "dim"),), depth + 1, full=source)
            )
    return lines


def _short_path(place: str) -> str:
    """The end of a path: what tells files apart stands there."""
    parts = place.split("/")
    return place if len(parts) <= 4 else "…/" + "/".join(parts[-3:])


def stack_lines(key: str, stack: Stack | None, depth: int) -> list[Line]:
    """Where an agent is in its code, and what it waits for."""
    if stack is None:
        return [Line(f"{key}/none", (("not known", "faint"),), depth)]
    lines: list[Line] = []
    if stack.waiting_on:
        lines.append(
            Line(f"{key}/waits", (("waits for  ", "key"), (one_line(stack.waiting_on), "info")), depth)
        )
    lines += frame_lines(f"{key}/frame", stack.frames, depth)
    if not stack.frames and not stack.note:
        lines.append(
            Line(
                f"{key}/empty",
                ((_NO_STACK.get(stack.status, "not to be had at this moment"), "faint"),),
                depth,
            )
        )
    if stack.note:
        lines.append(Line(f"{key}/note", ((one_line(stack.note), "dim"),), depth))
    return lines


def traceback_lines(key: str, text: str, depth: int, width: int) -> list[Line]:
    """A traceback, its places dim, its code plain and its last line loud."""
    raw = text.rstrip().split("\n")
    lines: list[Line] = []
    for number, part in enumerate(raw):
        if part.lstrip().startswith('File "'):
            tone = "dim"
        elif not part.startswith(" ") and number:
            tone = "bad"
        else:
            tone = "text"
        for cut, piece in enumerate(wrap(part, width - 2 * depth - 2)):
            lines.append(Line(f"{key}/{number}.{cut}", ((piece, tone),), depth, full=part))
    return lines
