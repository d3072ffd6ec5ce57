"""The first screen as lines: what is wrong, what crashed, who works hardest, and the vital signs over time. Pure.

The order is that of the questions somebody asks who has just been woken. Sections give way to each other by how much
there is to say: on a quiet night the tables of agents have the room, in a storm the findings and crashes do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from observe.console.columns import (
    ACTIVITY,
    ACTIVITY_S,
    AGE_S,
    CHILD,
    CLASS,
    CONTAINMENT,
    COST,
    LEVEL_TONES,
    LOAD,
    MAILBOX,
    MAILBOX_MAX,
    NAME,
    PID,
    REDUCTIONS,
    STATUS,
    STATUS_TONES,
    TOKENS,
    UNCONTAINED,
    Piece,
    Row,
    load_tone,
    mailbox_tone,
)
from observe.console.crash_groups import Group
from observe.console.format import (
    NOTHING,
    STATUS_GLYPHS,
    ago,
    bar,
    clip,
    count,
    duration,
    memory,
    money,
    one_line,
    pad,
    percent,
    plural,
    rate,
    short_count,
    spark_lines,
)
from observe.console.lines import Folds, Line, heading
from observe.console.node_view import NodeView

LEAST: Final = 3
"""Agents shown of each table, however little room there is."""

MOST: Final = 12
MOST_CRASHES: Final = 8
LABEL: Final = 16
"""Cells for the name of a vital sign."""


@dataclass(frozen=True, slots=True)
class Top:
    """A short table of agents: the first few of an order."""

    key: str
    title: str
    sort: str
    number: Callable[[Row], list[Piece]]
    """The cells in front of the agent's name."""

    counts: Callable[[Row], bool]
    """Whether a row belongs there at all: nobody is shown for having nothing."""

    empty: str


def _load_cells(row: Row) -> list[Piece]:
    tone = load_tone(row[LOAD])
    return [
        (pad(percent(row[LOAD]), 6, right=True) + " ", tone),
        (pad(bar(row[LOAD], 8), 9), tone),
        (pad(short_count(row[REDUCTIONS]), 6, right=True) + " red.  ", "dim"),
    ]


def _mailbox_cells(row: Row) -> list[Piece]:
    waiting = row[MAILBOX]
    return [
        (pad(short_count(waiting), 6, right=True) + " ", mailbox_tone(waiting)),
        (pad(f"most {short_count(row[MAILBOX_MAX])}", 11) + "  ", "dim"),
    ]


def _activity_cells(row: Row) -> list[Piece]:
    return [
        (pad(duration(row[ACTIVITY_S]), 6, right=True) + "  ", "bad" if row[ACTIVITY_S] >= 30 else "text"),
        (pad(one_line(str(row[ACTIVITY])), 22) + "  ", "info"),
    ]


def _cost_cells(row: Row) -> list[Piece]:
    return [
        (pad(money(row[COST]), 6, right=True) + " ", "strong"),
        (pad(f"{short_count(row[TOKENS] or 0)} tokens", 12, right=True) + "  ", "dim"),
    ]


TOPS: Final = (
    Top("load", "Busiest", "load", _load_cells, lambda row: row[LOAD] > 0, "no agent has worked in the last second"),
    Top("mailbox", "Fullest mailboxes", "mailbox", _mailbox_cells, lambda row: row[MAILBOX] > 0, "no message waits"),
    Top("activity", "Longest in one activity", "activity_s", _activity_cells, lambda row: bool(row[ACTIVITY]),
        "nobody is in an activity"),
    Top("cost", "Costliest", "cost", _cost_cells, lambda row: bool(row[COST] or row[TOKENS]), "no agent has used a model"),
)  # fmt: skip


def agent_pieces(row: Row) -> list[Piece]:
    """Who it is and what it does, after the number that brought it here."""
    name = row[NAME] or row[CHILD] or "root"
    status = one_line(str(row[STATUS]))
    level = "" if row[CONTAINMENT] in UNCONTAINED else one_line(str(row[CONTAINMENT]))
    return [
        (f"{STATUS_GLYPHS.get(status, '?')} ", STATUS_TONES.get(status, "text")),
        (f"{clip(one_line(name), 32)} #{row[PID]}", "text"),
        (f"  {one_line(str(row[CLASS]))}", "dim"),
        (f"  {status}", STATUS_TONES.get(status, "dim")),
        *([(f"  {level}", LEVEL_TONES.get(level, "hot"))] if level else []),
        (f"  up {duration(row[AGE_S])}", "faint"),
    ]


def finding_lines(node: NodeView, folds: Folds, width: int) -> list[Line]:
    """What is wrong, worst first; or why nothing is said to be."""
    found = node.findings
    tone = "bad" if any(one.level == "bad" for one in found) else "warn" if found else "good"
    title = heading("findings", "Findings", folds, plural(len(found), "finding") if found else "none", tone)
    if not title.open:
        return [title]
    if not found:
        text = node.verdict() if node.signs.at else "asking …"
        return [title, Line("findings/none", ((f"● {text}", "good" if "calm" in text else "dim"),), 1)]
    return [
        title,
        *(
            Line(
                f"findings/{number}",
                (("▲ ", one.level), (clip(one_line(one.text), width - 6), one.level)),
                1,
                full=one.text,
            )
            for number, one in enumerate(found)
        ),
    ]


def crash_group_lines(groups: Sequence[Group] | None, total: int, folds: Folds, now: float) -> list[Line]:
    """One line for each place where something crashes; the most frequent first."""
    if groups is None:
        return [heading("crashes", "Recent crashes", folds, "asking …")]
    note = f"{plural(total, 'crash', 'crashes')} since the start" if total else "none"
    title = heading("crashes", "Recent crashes", folds, note, "bad" if groups else "good")
    if not title.open:
        return [title]
    lines = [title]
    for item in groups[:MOST_CRASHES]:
        newest = item.newest
        lines.append(
            Line(
                f"crashes/{item.fingerprint}",
                (
                    (pad(f"{len(item.crashes):,}x", 6, right=True) + "  ", "bad"),
                    (pad(ago(max(0.0, now - newest.at)), 11) + " ", "dim"),
                    (pad(plural(item.agents, "agent"), 11) + " ", "text"),
                    (f"{one_line(newest.class_name)}  ", "text"),
                    (one_line(newest.reason), "strong"),
                ),
                1,
                full=newest.reason,
            )
        )
    if len(groups) > MOST_CRASHES:
        more = plural(len(groups) - MOST_CRASHES, "more place")
        lines.append(Line("crashes/more", ((f"{more}: c shows all", "faint"),), 1))
    return lines


def top_lines(top: Top, rows: Sequence[Row] | None, most: int, folds: Folds) -> list[Line]:
    """The first agents of an order."""
    title = heading(f"top/{top.key}", top.title, folds)
    if not title.open:
        return [title]
    if rows is None:
        return [title, Line(f"top/{top.key}/none", (("asking …", "faint"),), 1)]
    shown = [row for row in rows[:most] if top.counts(row)]
    if not shown:
        return [title, Line(f"top/{top.key}/none", ((top.empty, "faint"),), 1)]
    return [
        title,
        *(
            Line(f"top/{top.key}/{row[PID]}", (*top.number(row), *agent_pieces(row)), 1, pid=row[PID])
            for row in shown
        ),
    ]


VITALS: Final[tuple[tuple[str, str, Callable[[float], str], bool, float | None], ...]] = (
    ("agents", "agents", count, True, None),
    ("rate", "messages/s", rate, False, 1.0),
    ("use", "scheduler busy", percent, False, 1.0),
    ("run_queue", "run queue", count, False, 10.0),
    ("lag_s", "loop lag", duration, False, 0.01),
    ("memory", "memory", memory, True, None),
    ("crashes_min", "crashes/min", count, False, 5.0),
    ("restarts_min", "restarts/min", count, False, 5.0),
    ("tokens_min", "tokens/min", short_count, False, 1000.0),
    ("cost_min", "cost/min", money, False, 0.01),
    ("probe_cost", "observing costs", percent, False, 0.02),
    ("probe_cpu", "probe beside it", percent, False, 0.02),
)
"""Sign, label, how it is written, whether it is drawn relative to itself, and what fills its line at least."""


NOT_EVERYWHERE: Final = frozenset({"probe_cpu", "tokens_min", "cost_min"})
"""Signs that nodes of earlier versions do not tell, and services without models do not have."""


def vital_lines(node: NodeView, folds: Folds, width: int) -> list[Line]:
    """Each vital sign with as much of its past as fits, its highest value beside it."""
    signs = node.signs
    title = heading("vitals", "Vital signs", folds, f"{plural(signs.seconds(), 'second')} of history")
    if not title.open:
        return [title]
    lines = [title]
    room = max(8, width - LABEL - 8 - 14)
    for name, label, text, relative, top in VITALS:
        past = signs.history[name]
        value = signs.now.get(name)
        if name in NOT_EVERYWHERE and not value and not any(past):
            continue
        shown = [*past[-room:], *([] if value is None else [value])]
        [drawn] = spark_lines(past, room, 1, top=top, relative=relative)
        lines.append(
            Line(
                f"vitals/{name}",
                (
                    (pad(label, LABEL), "dim"),
                    # Not known is not zero.
                    (pad(NOTHING if value is None else text(value), 7, right=True) + " ", "strong"),
                    (drawn, "spark"),
                    (f" most {text(max(shown))}" if shown else "", "dim"),
                ),
                1,
            )
        )
    return lines
