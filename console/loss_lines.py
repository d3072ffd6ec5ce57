"""What was left out, as lines of the overview and a word in the header: nothing is dropped silently. Pure."""

from __future__ import annotations

from typing import Final

from observe.console.columns import Piece
from observe.console.format import NOTHING, pad, plural, short_count
from observe.console.lines import Folds, Line, heading
from observe.console.node_view import NodeView
from observe.probe.wire_lost import Lost, SpanAccount

LABEL: Final = 16
"""Cells for the name of a count, as of the vital signs."""

REASONS: Final = {
    "queue_full": "the backend is slower than the node",
    "export_failed": "the backend did not take them",
    "worker_death": "their worker was killed before it had sent them",
    "shutdown": "no time was left at the end",
}


def loss_total(lost: Lost) -> int:
    """All that was left out, of whatever kind."""
    spans = sum(lost.spans.dropped.values()) if lost.spans is not None else 0
    return lost.telemetry + lost.facts + lost.consoles + lost.traced + lost.records + spans


def loss_piece(node: NodeView) -> list[Piece]:
    """For the header: how much was left out, where anything was."""
    lost = node.vitals.lost if node.vitals is not None else None
    total = loss_total(lost) if lost is not None else 0
    return [("left out ", "dim"), (f"{short_count(total)}  ", "warn")] if total else []


def loss_lines(node: NodeView, folds: Folds) -> list[Line]:
    """A section of the overview. Not known is not zero: a node of an earlier version does not tell."""
    if node.vitals is None:
        return []
    lost = node.vitals.lost
    total = loss_total(lost) if lost is not None else 0
    says = "not told by this node" if lost is None else "nothing" if not total else f"{total:,}"
    title = heading("lost", "Left out", folds, says, "warn" if total else "dim")
    if lost is None or not title.open:
        return [title]
    own = min(node.left_out, lost.consoles)
    return [
        title,
        _line("telemetry", lost.telemetry, "frames; the table is told anew each time"),
        _line("facts", lost.facts, "crashes, restarts and reports"),
        _line("this console", own, "events and pictures"),
        _line("other consoles", lost.consoles - own, "events and pictures; observe consoles says whose"),
        _line("trace sessions", lost.traced, "events, by rate or because their console was slow"),
        _line("flight recorder", lost.records, "records"),
        *_span_lines(lost.spans),
    ]


def _span_lines(spans: SpanAccount | None) -> list[Line]:
    if spans is None:
        return [
            Line(
                "lost/spans",
                ((pad("spans", LABEL), "dim"), (pad(NOTHING, 7, right=True), "dim"), (" not traced", "dim")),
                1,
            )
        ]
    dropped = sum(spans.dropped.values())
    text = f"of {plural(spans.started, 'span')}: {spans.exported:,} sent, {spans.waiting:,} waiting, {spans.open:,} open"
    lines = [_line("spans", dropped, text)]
    for reason, number in sorted(spans.dropped.items(), key=lambda item: -item[1]):
        lines.append(_line(f"  {reason}", number, REASONS.get(reason, "")))
    return lines


def _line(label: str, number: int, what: str) -> Line:
    shown: tuple[Piece, ...] = (
        (pad(label, LABEL), "dim"),
        (pad(f"{number:,}", 7, right=True) + " ", "warn" if number else "strong"),
        (what, "dim"),
    )
    return Line(f"lost/{label.strip()}", shown, 1)
