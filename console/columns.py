"""The columns of the agents table: what each means, how its cells look, and which fit on a screen.

Rows are tuples in the order of `NAMES`; a cell is a list of (text, tone) pieces, where a tone is a name that
`observe.console.tones` turns into a colour. Nothing here knows Textual.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any, Final

from observe.console.format import (
    NOTHING,
    STATUS_GLYPHS,
    bar,
    clip,
    clip_middle,
    duration,
    money,
    one_line,
    pad,
    percent,
    rate,
    short_count,
)

Row = tuple[Any, ...]
"""Values of one agent in the order of `NAMES`."""

Piece = tuple[str, str]
"""Text and tone."""

NAMES: Final = (
    "pid",
    "name",
    "class",
    "status",
    "status_s",
    "mailbox",
    "mailbox_max",
    "handled",
    "rate",
    "reductions",
    "load",
    "restarts",
    "crashes",
    "activity",
    "activity_s",
    "age_s",
    "supervisor",
    "child",
    "process",
    "containment",
    "restarts_min",
    "crashes_min",
    "risk",
    "tokens",
    "cost",
)
"""The columns of the protocol, in the order in which this console keeps them."""

PID, NAME, CLASS, STATUS, STATUS_S, MAILBOX, MAILBOX_MAX, HANDLED, RATE = range(9)
REDUCTIONS, LOAD, RESTARTS, CRASHES, ACTIVITY, ACTIVITY_S, AGE_S, SUPERVISOR, CHILD, PROCESS, CONTAINMENT = (
    range(9, 20)
)
RESTARTS_MIN, CRASHES_MIN, RISK, TOKENS, COST = range(20, 25)

TEXT_COLUMNS: Final = frozenset({"name", "class", "status", "activity", "child", "containment"})
"""Sorted from a to z at first; all others from the largest."""

MANY_WAITING = 100
"""Messages in one mailbox from which on it is shown as trouble: seconds of work for an agent that calls a model."""

LONG_ACTIVITY_S = 30.0
"""Seconds in one activity from which on it is shown as slow: no tool or model call ought to take as long."""

ONLY_SORTED: Final = 99
"""Rank of a column that is shown only while it is sorted by: another one shows it as well, or few nodes have it."""

YOUNG_S = 10.0
"""Seconds after a restart during which the count of restarts stands out."""

STATUS_TONES: Final = {
    "starting": "info",
    "idle": "dim",
    "runnable": "text",
    "frozen": "warn",
    "running": "good",
    "waiting": "info",
    "suspended": "accent",
    "exited": "bad",
    "holding": "bad",
}


UNCONTAINED: Final = ("none", "", None, 0)
"""What stands for agents that nobody has contained; a node of an earlier version says nothing of it."""

LEVEL_TONES: Final = {
    "monitored": "info",
    "restricted": "warn",
    "isolated": "hot",
    "suspended": "accent",
    "killed": "bad",
}
"""How loudly a level of containment is shown."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table as it is shown."""

    name: str
    """Its name in the protocol: what is sorted by."""

    title: str
    """The heading."""

    width: int
    """Cells that it needs."""

    meaning: str
    """One sentence for the help."""

    cell: Callable[[Row, int], list[Piece]]
    """Draws a row's value into exactly so many cells."""

    rank: int
    """Which columns go first when there is no room: the highest."""

    right: bool = False
    """Whether values, and so the heading, are aligned to the right."""

    stretch: int = 0
    """Up to how many cells it may grow where there is room."""

    short: str = ""
    """The heading where there is no room for `title`."""

    def heading(self, cells: int) -> str:
        """The heading that fits into so many cells."""
        return self.title if len(self.title) <= cells or not self.short else self.short


def _text(value: object, width: int, tone: str = "text") -> list[Piece]:
    return [(pad(one_line(str(value)), width), tone)]


def _number(text: str, width: int, tone: str) -> list[Piece]:
    return [(pad(text, width, right=True), tone)]


def _pid(row: Row, width: int) -> list[Piece]:
    return _number(str(row[PID]), width, "dim")


def _name(row: Row, width: int) -> list[Piece]:
    name = row[NAME]
    if name:
        return [(pad(clip_middle(one_line(name), width), width), "text")]
    return [(pad(clip_middle(one_line(row[CHILD] or f"#{row[PID]}"), width), width), "dim")]


def _class(row: Row, width: int) -> list[Piece]:
    return _text(row[CLASS], width, "dim")


def _status(row: Row, width: int) -> list[Piece]:
    status = one_line(str(row[STATUS]))
    if (
        row[CONTAINMENT] not in UNCONTAINED
    ):  # what it may do matters more than what it does; the glyph still says that
        level = one_line(str(row[CONTAINMENT]))
        return [(pad(f"{STATUS_GLYPHS.get(status, '?')} {level}", width), LEVEL_TONES.get(level, "hot"))]
    return [(pad(f"{STATUS_GLYPHS.get(status, '?')} {status}", width), STATUS_TONES.get(status, "text"))]


def _containment(row: Row, width: int) -> list[Piece]:
    level = one_line(str(row[CONTAINMENT] or "none"))
    return [(pad(level, width), LEVEL_TONES.get(level, "dim"))]


def _status_s(row: Row, width: int) -> list[Piece]:
    return _number(duration(row[STATUS_S]), width, "dim")


def mailbox_tone(waiting: int) -> str:
    """How loudly so many waiting messages are shown."""
    if waiting >= MANY_WAITING:
        return "bad"
    return "warn" if waiting >= MANY_WAITING // 5 else "text" if waiting else "faint"


def _mailbox(row: Row, width: int) -> list[Piece]:
    waiting = row[MAILBOX]
    tone = mailbox_tone(waiting)
    text = pad(short_count(waiting), 5, right=True)
    # The bar is logarithmic: 10, 100, 1,000 fill a quarter each; a few messages are nothing to look at.
    share = min(1.0, log10(waiting) / 4) if waiting >= 10 else 0.0
    return [(text + " ", tone), (pad(bar(share, width - 6), width - 6), tone if waiting else "faint")]


def _mailbox_max(row: Row, width: int) -> list[Piece]:
    return _number(
        short_count(row[MAILBOX_MAX]), width, "warn" if row[MAILBOX_MAX] >= MANY_WAITING else "dim"
    )


def _handled(row: Row, width: int) -> list[Piece]:
    return _number(short_count(row[HANDLED]), width, "dim" if row[HANDLED] else "faint")


def _rate(row: Row, width: int) -> list[Piece]:
    return _number(rate(row[RATE]), width, "text" if row[RATE] else "faint")


def _reductions(row: Row, width: int) -> list[Piece]:
    return _number(short_count(row[REDUCTIONS]), width, "dim" if row[REDUCTIONS] else "faint")


def load_tone(load: float) -> str:
    """How loudly a share of a core is shown."""
    return "bad" if load >= 0.5 else "warn" if load >= 0.25 else "good" if load > 0 else "faint"


def _load(row: Row, width: int) -> list[Piece]:
    load = row[LOAD]
    tone = load_tone(load)
    number = (pad(percent(load), 5, right=True), "text" if tone == "good" else tone)
    return [number, (" " + bar(load, width - 6), tone)] if width > 5 else [number]


def _restarts(row: Row, width: int) -> list[Piece]:
    restarts = row[RESTARTS]
    tone = "faint" if not restarts else "hot" if row[AGE_S] < YOUNG_S else "warn"
    return _number(short_count(restarts), width, tone)


def _crashes(row: Row, width: int) -> list[Piece]:
    crashes = row[CRASHES]
    tone = "faint" if not crashes else "hot" if row[AGE_S] < YOUNG_S else "bad"
    return _number(short_count(crashes), width, tone)


def _restarts_min(row: Row, width: int) -> list[Piece]:
    return _lately(row[RESTARTS_MIN], width, "warn")


def _crashes_min(row: Row, width: int) -> list[Piece]:
    return _lately(row[CRASHES_MIN], width, "hot")


def risk_tone(score: float) -> str:
    """How loudly a risk is shown: by its tier."""
    return "bad" if score > 0.75 else "warn" if score > 0.5 else "text" if score > 0.25 else "dim"


def _risk(row: Row, width: int) -> list[Piece]:
    score = row[RISK]
    return _number(NOTHING if not score else f"{score:.2f}", width, risk_tone(score) if score else "faint")


def _tokens(row: Row, width: int) -> list[Piece]:
    tokens = row[TOKENS]
    return _number(NOTHING if tokens is None else short_count(tokens), width, "text" if tokens else "faint")


def _cost(row: Row, width: int) -> list[Piece]:
    return _number(money(row[COST]), width, "text" if row[COST] else "faint")


def _lately(number: int | None, width: int, tone: str) -> list[Piece]:
    """A node of an earlier version does not tell it, which is not the same as none."""
    return _number(NOTHING if number is None else short_count(number), width, tone if number else "faint")


def _activity(row: Row, width: int) -> list[Piece]:
    activity = row[ACTIVITY]
    if not activity:
        return [(pad(NOTHING, width), "faint")]
    slow = row[ACTIVITY_S] >= LONG_ACTIVITY_S
    age = duration(row[ACTIVITY_S]) if row[ACTIVITY_S] >= 0.1 else "<0.1s"
    room = max(0, width - 6)
    return [
        (pad(clip(one_line(activity), room), room) + " ", "warn" if slow else "info"),
        (pad(age, width - room - 1, right=True), "bad" if slow else "dim"),
    ]


def _age(row: Row, width: int) -> list[Piece]:
    return _number(duration(row[AGE_S]), width, "dim")


def _activity_s(row: Row, width: int) -> list[Piece]:
    return _number(duration(row[ACTIVITY_S]) if row[ACTIVITY] else NOTHING, width, "dim")


def _supervisor(row: Row, width: int) -> list[Piece]:
    return _number(str(row[SUPERVISOR]), width, "dim")


def _child(row: Row, width: int) -> list[Piece]:
    return _text(row[CHILD] or "", width, "dim")


def _process(row: Row, width: int) -> list[Piece]:
    return _number(str(row[PROCESS]) if row[PROCESS] else NOTHING, width, "dim")


COLUMNS: Final = (
    Column("pid", "pid", 7, "Serial number on the node, never reused.", _pid, 8, right=True),
    Column("name", "name", 13, "Registered name; without one, its id in its supervisor.", _name, 0, stretch=40),
    Column("class", "class", 11, "Class of the agent.", _class, 10, stretch=28),
    Column("status", "status", 11, "What it is doing: idle, runnable (has work, waits for its turn), running, "
           "waiting (for something inside a step), starting, suspended.", _status, 1),
    Column("status_s", "for", 6, "For how long it has had this status.", _status_s, 9, right=True),
    Column("mailbox", "mailbox", 7, "Messages waiting now; the bar is logarithmic.", _mailbox, 2, stretch=12,
           short="mail"),
    Column("mailbox_max", "most", 5, "The most messages that ever waited in its mailbox.", _mailbox_max, 14,
           right=True),
    Column("handled", "handled", 8, "Messages handled since it was started.", _handled, 12, right=True),
    Column("rate", "msg/s", 6, "Messages handled a second, over the last second or so.", _rate, 6, right=True),
    Column("reductions", "reductions", 7, "Microseconds for which it held its scheduler since it was started.",
           _reductions, 13, right=True, stretch=11, short="reduct"),
    Column("load", "load", 5, "Its share of a core now: reductions a second / 1,000,000.", _load, 7, stretch=14),
    Column("restarts", "restarts", 5, "How often its supervisor has restarted it.", _restarts, 4, right=True,
           stretch=9, short="rest"),
    Column("crashes", "crashes", 6, "How many of those exits were crashes.", _crashes, 3, right=True, stretch=8,
           short="crash"),
    Column("restarts_min", "rest/min", 6, "How often it was restarted within the last minute.", _restarts_min, 17, right=True,
           stretch=8, short="rest/m"),
    Column("crashes_min", "crash/min", 7, "How many of those exits were crashes.", _crashes_min, 13, right=True, stretch=9,
           short="crash/m"),
    Column("activity", "activity", 16, "The slow thing it is doing, such as a tool or model call, and for how long.",
           _activity, 5, stretch=34),
    Column("activity_s", "in it for", 9, "For how long it has been in its activity.", _activity_s, ONLY_SORTED,
           right=True),
    Column("age_s", "age", 6, "Since it was started.", _age, 11, right=True),
    Column("supervisor", "supervisor", 7, "Pid of its supervisor, 0 for the root.", _supervisor, 15, right=True,
           stretch=11, short="superv"),
    Column("child", "child", 10, "Its id in its supervisor: stays the same over restarts, as pid does not.", _child,
           16, stretch=20),
    Column("process", "process", 5, "Number of the worker process in which it runs; none: the node's own.", _process,
           ONLY_SORTED, right=True, stretch=8, short="proc"),
    Column("tokens", "tokens", 6, "Tokens into models and out of them since it was started, or its budget was renewed.",
           _tokens, 19, right=True),
    Column("cost", "cost", 7, "What its models have cost since then, in whatever currency they report.", _cost, 18, right=True),
    Column("risk", "risk", 5, "How much it could do by itself, from 0 to 1: autonomy, adaptability, continuity, reach of its tools.",
           _risk, ONLY_SORTED, right=True),
    Column("containment", "contained", 10, "How far it is fenced in: none, monitored, restricted, isolated, suspended or killed; shown "
           "in the place of the status as well.", _containment, ONLY_SORTED),
)  # fmt: skip
"""In the order in which they stand on the screen."""

BY_NAME: Final = {column.name: column for column in COLUMNS}

SINCE: Final = {"status_s": STATUS_S, "activity_s": ACTIVITY_S, "age_s": AGE_S}
"""Columns of ages, which can be shown as the time at which they began."""

GAP = 1
"""Blank cells between two columns."""


def row_of(columns: Sequence[str], values: Sequence[Any]) -> Row:
    """Put a row of the wire into the order of `NAMES`; what the node left out is None, or 0 where a number stands
    that is 0 for most."""
    if tuple(columns) == NAMES:
        return tuple(values)
    given = dict(zip(columns, values, strict=False))
    return tuple(
        given.get(name, "" if name in ("class", "status", "child", "containment") else _missing(name))
        for name in NAMES
    )


NOT_ALL_KNOW: Final = frozenset({"name", "activity", "restarts_min", "crashes_min", "risk", "tokens", "cost"})
"""None where a node of an earlier version does not tell it, or there is none."""


def _missing(name: str) -> object:
    return None if name in NOT_ALL_KNOW else 0


def fit(width: int, sort: str, wanted: Sequence[str] = ()) -> list[tuple[Column, int]]:
    """Choose the columns for a table `width` cells wide, and give each its cells.

    `wanted` are those that a person has chosen, in their order; without any, all. The least important are left out first; the one that is sorted by always stays. What is left over goes to the
    columns that can use it.
    """
    chosen: list[Column] = []
    left = width + GAP  # the last column needs no gap behind it
    among = [BY_NAME[name] for name in wanted if name in BY_NAME] or list(COLUMNS)
    if BY_NAME[sort] not in among:
        among.append(BY_NAME[sort])
    for column in sorted(among, key=lambda column: -1 if column.name == sort else column.rank):
        if column.rank == ONLY_SORTED and column.name != sort and not wanted:
            continue
        if column.width + GAP > left and chosen:
            break
        chosen.append(column)
        left -= column.width + GAP
    widths = {column.name: column.width for column in chosen}
    growing = [column for column in chosen if column.stretch > column.width]
    while left > 0 and growing:
        # The one that has grown least, relative to what it wants, gets the next cell.
        column = min(growing, key=lambda column: widths[column.name] / column.stretch)
        widths[column.name] += 1
        left -= 1
        if widths[column.name] >= column.stretch:
            growing.remove(column)
    return [(column, widths[column.name]) for column in among if column in chosen]
