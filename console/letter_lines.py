"""Dead letters as lines: in groups for the console's page, one by one for `observe dead-letters`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from observe.console.columns import Piece
from observe.console.format import ago, clip_middle, clock, one_line, pad
from observe.console.lines import Folds, Line, value_lines
from observe.probe.wire_agent import Value
from observe.probe.wire_letters import DeadLetterLine

By = Literal["target", "why", "sender"]

BYS: Final[tuple[By, ...]] = ("target", "why", "sender")
"""By what letters are grouped, in the order of the key."""

TONES: Final = {
    "ended": "text", "no such name": "warn", "mailbox full": "bad", "refused": "warn", "dropped": "dim", "given up": "dim",
}  # fmt: skip

WIDE: Final = 120


@dataclass(slots=True)
class Group:
    """Letters that have something in common."""

    key: str
    letters: list[DeadLetterLine] = field(default_factory=list)
    """The newest first."""


def grouped(letters: Sequence[DeadLetterLine], by: By) -> list[Group]:
    """The groups, the largest first, of as many the newest."""
    groups: dict[str, Group] = {}
    for one in letters:
        key = getattr(one, by) or "not known"
        groups.setdefault(key, Group(key)).letters.append(one)
    return sorted(groups.values(), key=lambda group: (-len(group.letters), -group.letters[0].at))


def letter_lines(
    letters: Sequence[DeadLetterLine], by: By, folds: Folds, width: int, now: float
) -> Iterator[Line]:
    """A line for each group, and below it its letters."""
    for group in grouped(letters, by):
        key = f"group/{by}/{group.key}"
        is_open = folds.is_open(key, True)
        newest = group.letters[0]
        pieces: list[Piece] = [
            (f"{len(group.letters):>4,} ", "strong"),
            (
                ("for " if by == "target" else "from " if by == "sender" else "") + one_line(group.key),
                "heading",
            ),
        ]
        if by != "why":
            whys = dict.fromkeys(one.why for one in group.letters)
            pieces.append((f"  {', '.join(whys)}", TONES.get(newest.why, "text")))
        pieces.append((f"  newest {ago(max(0.0, now - newest.at))}", "dim"))
        yield Line(key, tuple(pieces), 0, is_open, newest.target_pid or None if by == "target" else None)
        if is_open:
            for one in group.letters:
                yield _line(one, by, width)


def _line(one: DeadLetterLine, by: By, width: int) -> Line:
    pieces: list[Piece] = [(f"{clock(one.at)} ", "dim")]
    if one.sent_to:
        pieces.append(("sent again ", "good"))
    if by != "why":
        pieces.append((pad(one.why, 12) + " ", TONES.get(one.why, "text")))
    who = 34 if width >= WIDE else 18
    if by != "target":
        pieces.append((pad(clip_middle(one_line(one.target), who), who) + " ", "info"))
    if by != "sender":
        sender = one_line(one.sender) or "sender not known"
        pieces.append((pad(clip_middle(sender, who), who) + " ", "info" if one.sender else "faint"))
    pieces.append((one_line(one.text), "text"))
    return Line(f"letter/{one.number}", tuple(pieces), 1, None, one.target_pid or None)


def letter_of(key: str) -> int | None:
    """The letter that a line is about."""
    kind, _, number = key.partition("/")
    return int(number) if kind == "letter" else None


def detail_lines(one: DeadLetterLine, folds: Folds, width: int, now: float) -> list[Line]:
    """One letter, with its message as a tree."""
    lines = [
        Line("title", ((f"Dead letter {one.number}", "heading"), (f"  {ago(max(0.0, now - one.at))}", "dim")))
    ]
    for name, value, pid in facts(one):
        lines.append(
            Line(f"fact/{name}", ((pad(name, 9), "key"), (one_line(value), "text")), 0, None, pid or None)
        )
    if one.message is not None:
        lines += value_lines(
            "message", "message", Value.from_wire(one.message), folds, 0, width, unfolded=True
        )
    return lines


def facts(one: DeadLetterLine) -> Iterator[tuple[str, str, int]]:
    """What there is to say of it, with the agent that it is about."""
    yield "for", one.target, one.target_pid
    yield (
        "from",
        one.sender or "not known: it had waited in a mailbox, or no agent has sent it",
        one.sender_pid,
    )
    yield "why", f"{one.why}: {one.detail}" if one.detail else one.why, 0
    if one.sent_to:
        yield "again", f"sent to {one.sent_to}", 0
    else:
        yield (
            "again",
            f"would go to {one.heir}" if one.heir else "nobody has its place: say to whom",
            one.heir_pid,
        )


def table(letters: Sequence[DeadLetterLine]) -> list[str]:
    """For the command line, the newest first."""
    return [f"{'NUMBER':>7} {'TIME':<8} {'WHY':<12} {'FOR':<28} {'FROM':<28} MESSAGE"] + [
        f"{one.number:>7} {clock(one.at)} {one.why:<12} {pad(clip_middle(one_line(one.target), 28), 28)} "
        f"{pad(clip_middle(one_line(one.sender) or '-', 28), 28)} {one_line(one.text)}"
        + (f"  (sent again to {one_line(one.sent_to)})" if one.sent_to else "")
        for one in letters
    ]


def counted(counts: Sequence[Any]) -> str:
    """`12 ended, 3 mailbox full`."""
    return ", ".join(f"{one.count:,} {one_line(one.key)}" for one in counts)


def row(one: DeadLetterLine) -> list[object]:
    """For a file: as `COLUMNS` says."""
    return [getattr(one, name) for name in COLUMNS]


COLUMNS: Final = (
    "number", "at", "target", "target_pid", "sender", "sender_pid", "why", "detail", "type", "text", "sent_to"
)  # fmt: skip
