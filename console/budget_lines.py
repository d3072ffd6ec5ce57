"""Budgets as lines: of the console's page, and of `observe budgets`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from observe.console.columns import Piece
from observe.console.format import (
    bar,
    clip,
    clip_middle,
    duration,
    money,
    one_line,
    pad,
    percent,
    short_count,
)
from observe.console.lines import Folds, Line
from observe.console.standing_lines import LIMITS, amount, limit_pieces, limit_tone, share
from observe.probe.wire_budgets import BudgetsBy, BudgetsSort, SpentLimit, SpentLine

SORTS: Final[tuple[BudgetsSort, ...]] = ("share", "left_s", "cost", "tokens")
"""In the order of the key."""

SORT_NAMES: Final = {
    "share": "share of a limit",
    "left_s": "time left",
    "cost": "cost a minute",
    "tokens": "tokens a minute",
}

BYS: Final[tuple[BudgetsBy, ...]] = ("owner", "class", "policy")
"""In the order of the key."""

WHO: Final[dict[BudgetsBy, str]] = {"owner": "agent, tree/*", "class": "class", "policy": "who (policy)"}

WIDE: Final = 120

_SHORT: Final = LIMITS | {"steps_without_progress": "idle steps", "same_call": "same calls"}
"""What a limit is about, in a column."""


def label(one: SpentLine) -> str:
    """Who it is."""
    if one.kind == "class":
        return f"{one.class_name} x{one.members:,}"
    if one.kind == "cap":
        return f"{one.name} ({one.class_name})"
    who = one.name or f"{one.class_name} {one.pid}"
    return f"{who}/*" if one.kind == "subtree" else who


def heading_pieces(sort: BudgetsSort, width: int, by: BudgetsBy = "owner") -> list[Piece]:
    """The heading above the lines."""
    names = _name_cells(width)
    titles: list[tuple[str, int, bool, str]] = [
        (WHO[by], names, False, ""),
        ("used", 7, True, "share"),
        ("", 9, False, ""),
        ("of", _limit_cells(width), False, ""),
        ("lasts", 8, True, "left_s"),
        ("tok/min", 8, True, "tokens"),
        ("cost/min", 9, True, "cost"),
    ]
    if width >= WIDE:
        titles += [("tokens", 8, True, ""), ("cost", 9, True, ""), ("  at the limit", 16, False, "")]
    pieces: list[Piece] = [("  ", "dim")]
    for title, cells, right, key in titles:
        text = f"▼{title}" if key == sort else title
        pieces.append((pad(text, cells, right=right) + " ", "hotkey" if key == sort else "dim"))
    return pieces


def spent_lines(one: SpentLine, folds: Folds, width: int) -> Iterator[Line]:
    """A line for one that spends, and below it, unfolded, all of its limits."""
    key = f"budget/{one.kind}/{_key(one)}"
    is_open = folds.is_open(key)
    can_open = len(one.limits) > 0
    yield Line(key, tuple(_pieces(one, width)), 0, is_open if can_open else None, one.pid or None)
    if is_open:
        for limit in one.limits:
            pieces = [*limit_pieces(limit), *_pace(limit)]
            yield Line(f"{key}/{limit.name}", tuple(pieces), 1, None, one.pid or None)
        if one.on_limit:
            yield Line(f"{key}/then", ((f"at a limit: {one_line(one.on_limit)}", "dim"),), 1)


def _key(one: SpentLine) -> str:
    return f"{one.class_name}/{one.pid}/{one.name}" if one.kind == "cap" else f"{one.pid or one.class_name}"


def _pieces(one: SpentLine, width: int) -> Iterator[Piece]:
    names = _name_cells(width)
    clipped = clip if one.kind == "cap" else clip_middle  # of a cap whoever spends stands first
    yield (
        pad(clipped(one_line(label(one)), names), names) + " ",
        "strong" if one.kind != "subtree" else "accent",
    )
    worst = one.limits[0] if one.limits else None
    if worst is None or worst.allowed is None:
        yield pad("", 7 + 1 + 9 + 1), "text"
        yield pad("no limit", _limit_cells(width)) + " ", "faint"
    else:
        used = share(worst)
        tone = limit_tone(used)
        sign = "✕" if used >= 1 else "▲" if used >= 0.8 else " "
        yield pad(f"{sign}{percent(used)}", 7, right=True) + " ", tone
        yield pad(bar(min(1.0, used), 9), 9) + " ", tone
        limit = f"{amount(worst.name, worst.allowed)} {_SHORT.get(worst.name, worst.name)}"
        yield pad(limit, _limit_cells(width)) + " ", "text"
    yield _cell(lasts(one.left_s), 8, "bad" if one.left_s is not None and one.left_s < 300 else "text")
    yield _cell(_count(one.tokens_min), 8, "text" if one.tokens_min else "faint")
    yield _cell(money(one.cost_min), 9, "text" if one.cost_min else "faint")
    if width >= WIDE:
        yield _cell(short_count(one.tokens), 8, "text")
        yield _cell(money(one.cost), 9, "text")
        yield f"  {one_line(one.on_limit)}", "dim"


def _cell(text: str, cells: int, tone: str) -> Piece:
    return pad(text, cells, right=True) + " ", tone


def _pace(limit: SpentLimit) -> Iterator[Piece]:
    if limit.name == "wall_s" or limit.rate is None:
        if limit.left_s is not None:
            yield f"  {duration(limit.left_s)} left", "info"
        return
    yield f"  {amount(limit.name, limit.rate * 60)}/min", "dim"
    if limit.left_s is not None:
        yield f"  lasts {lasts(limit.left_s)}", "info"


def lasts(left_s: float | None) -> str:
    """How long a limit lasts; a dash where that is not known, or it lasts for ever."""
    if left_s is None:
        return "-"
    return "now" if left_s <= 0 else duration(left_s) if left_s < 1e7 else "long"


def _count(number: float | None) -> str:
    return "-" if number is None else short_count(number)


def _name_cells(width: int) -> int:
    return max(12, min(32, width - 64 if width < WIDE else width // 5))


def _limit_cells(width: int) -> int:
    return 16 if width < WIDE else 18


def row(one: SpentLine) -> list[object]:
    """For a file: as `COLUMNS` says."""
    return [
        one.kind, one.pid, one.name, one.class_name, one.members, one.share, one.left_s, one.tool_calls, one.tokens, one.cost,
        one.tokens_min, one.cost_min, one.on_limit, [limit.to_wire() for limit in one.limits],
    ]  # fmt: skip


COLUMNS: Final = (
    "kind", "pid", "name", "class", "members", "share", "left_s", "tool_calls", "tokens", "cost", "tokens_min", "cost_min",
    "on_limit", "limits",
)  # fmt: skip
