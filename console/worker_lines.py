"""The node's worker processes as lines: of `observe workers`, and of the overview. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from observe.console.format import NOTHING, duration, one_line, pad, percent, plural, short_count, size
from observe.console.lines import Folds, Line, heading

TITLES: Final = (
    ("worker", 6), ("kind", 7), ("process", 8), ("agents", 7), ("handled", 8), ("memory", 8), ("cpu", 6),
    ("unread", 8),
)  # fmt: skip
"""The columns and their cells; what follows has no fixed width."""

SHOWN: Final = 8
"""Workers on the overview: those that use most."""


def table(workers: Sequence[dict[str, Any]]) -> list[str]:
    """A heading and one line for each worker."""
    return [_heading() + "  limits", *map(_line, workers)]


def worker_lines(workers: Sequence[dict[str, Any]], folds: Folds, width: int) -> list[Line]:
    """A section of the overview; nothing where all agents run in the node's own process."""
    if not workers:
        return []
    held = [worker for worker in workers if worker.get("held") and not worker["isolated"]]
    title = heading("workers", "Worker processes", folds, summary(workers), "bad" if held else "dim")
    if not title.open:
        return [title]
    busiest = sorted(workers, key=lambda worker: (not worker.get("held"), -worker["cpu"], worker["number"]))
    lines = [title, Line("workers/heading", ((_heading()[:width], "faint"),), 1)]
    lines += [
        Line(
            f"workers/{worker['number']}",
            ((_line(worker)[:width], "bad" if worker in held else "text"),),
            1,
            full=_line(worker),
        )
        for worker in busiest[:SHOWN]
    ]
    if len(workers) > SHOWN:
        more = f"{plural(len(workers) - SHOWN, 'more process', 'more processes')}: observe workers"
        lines.append(Line("workers/more", ((more, "faint"),), 1))
    return lines


def summary(workers: Sequence[dict[str, Any]]) -> str:
    """In a line: how many there are, and what they use together."""
    memory = sum(worker["memory"] for worker in workers)
    cpu = sum(worker["cpu"] for worker in workers)
    return f"{len(workers):,}, {size(memory)}, {percent(cpu)} of a core"


def _heading() -> str:
    return " ".join(pad(title, cells, right=title != "kind") for title, cells in TITLES)


def _line(worker: dict[str, Any]) -> str:
    cells = (
        str(worker["number"]),
        "own" if worker["isolated"] else "shared",
        str(worker["os_pid"]) if worker["os_pid"] else "starting",
        short_count(worker["agents"]),
        short_count(worker["handled"]),
        size(worker["memory"]) if worker["memory"] else NOTHING,
        percent(worker["cpu"]),
        size(worker["waiting_bytes"]) if worker["waiting_bytes"] else NOTHING,
    )
    shown = " ".join(
        pad(cell, width, right=title != "kind") for cell, (title, width) in zip(cells, TITLES, strict=True)
    )
    text = f"{shown}  {one_line(worker['limits']) or NOTHING}"
    held = worker.get("held")
    if held:
        who = one_line(held["name"] or held["class"] or "an agent")
        text += f"  held by {who} #{held['pid']} for {duration(held['since_s'])}, in {held['where']} code"
    return text
