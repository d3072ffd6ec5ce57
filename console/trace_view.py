"""The page of trace sessions as lines: the sessions, their events, and the events as a sequence chart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from observe.console.columns import Piece
from observe.console.format import clip, clock_ms, duration, one_line, pad, plural
from observe.console.lines import Line
from observe.console.sequence import as_text, chart
from observe.console.trace_lines import line as rich_line
from observe.console.waterfall import as_lines, bars
from observe.probe.wire_traces import TraceEvent

if TYPE_CHECKING:
    from rich.text import Text

    from observe.console.trace_feed import Session

STEP_TONES: Final = {"crash": "bad", "error": "bad", "exit": "warn", "restart": "info", "spawn": "good", "state": "accent"}  # fmt: skip

TONES: Final = {
    "dim": "dim", "bold": "strong", "cyan": "info", "red": "bad", "bold red": "hot", "yellow": "warn", "green": "good",
    "magenta": "accent", "blue": "key", "": "text",
}  # fmt: skip
"""The styles of the command's lines as tones of the console's themes."""

WIDE: Final = 110
"""Cells from which a line also says why a session has ended."""

NOTHING_YET: Final = (
    (
        "No session yet. ",
        "Y listens to agents within bounds; nothing else on the node runs slower meanwhile.",
    ),
    ("42", "one agent, and whoever takes its place after a restart"),
    ("cart-*", "by registered name"),
    ("class:Session", "by class"),
    ("under:carts", "all below a supervisor"),
    ("group:prices", "the members of a process group"),
    ("conversation:ID", "those with this conversation_id"),
    ("finding:stuck", "those that a finding is about"),
)


def session_lines(sessions: Sequence[Session], width: int, now: float) -> list[Line]:
    """A heading, and a line a session, the newest first."""
    if not sessions:
        return [
            Line(f"none/{number}", ((pad(left, 18), "key" if number else "strong"), (text, "dim")))
            for number, (left, text) in enumerate(NOTHING_YET)
        ]
    room = max(12, width - 58)
    titles = (
        f"{'':>3}  {pad('listens to', room)}  {'agents':>7}  {'heard':>9}  {'left out':>9}  {'for':>7}  state"
    )
    lines = [Line("heading", ((titles, "heading"),), heading=True)]
    for one in reversed(sessions):
        took = (one.ended_at if one.ended_at is not None else now) - one.began_at
        why = f"ended: {one_line(one.ended)}" if width >= WIDE else "ended"
        state: Piece = (why, "dim") if one.ended else ("● listening", "good")
        lines.append(
            Line(
                f"session/{one.number}",
                (
                    (f"{one.number:>3}  ", "dim"),
                    (pad(clip(one_line(asked(one)), room), room), "strong"),
                    (f"  {one.agents:>7,}  {one.heard:>9,}  ", "text"),
                    (f"{one.dropped:>9,}", "warn" if one.dropped else "dim"),
                    (f"  {duration(took):>7}  ", "dim"),
                    state,
                ),
                full=asked(one),
            )
        )
    return lines


def asked(session: Session) -> str:
    """What a session listens to, in one line."""
    wanted = session.wanted
    kinds = f"  {','.join(wanted.events)}" if wanted.events else ""
    where = f"  where {wanted.where}" if wanted.where else ""
    return f"{wanted.selector}{kinds}{where}"


def session_of(line: Line | None) -> int | None:
    """The number of the session that a line is about."""
    kind, _, number = line.key.partition("/") if line is not None else ("", "", "")
    return int(number) if kind == "session" else None


def event_line(event: TraceEvent) -> Line:
    """As `observe trace` shows it, on one line."""
    return Line(f"event/{event.n}", _pieces(rich_line(event)), pid=event.pid or None)


def _pieces(text: Text) -> tuple[Piece, ...]:
    plain, pieces, end = text.plain, [], 0
    if text.style and not text.spans:
        return ((one_line(plain), TONES.get(str(text.style), "text")),)
    for span in text.spans:
        if span.start > end:
            pieces.append((one_line(plain[end : span.start]), "text"))
        pieces.append((one_line(plain[span.start : span.end]), TONES.get(str(span.style), "text")))
        end = span.end
    if end < len(plain):
        pieces.append((one_line(plain[end:]), "text"))
    return tuple(pieces)


def chart_lines(events: Sequence[TraceEvent], width: int) -> tuple[str, list[Line]]:
    """The lanes, and a line a step."""
    drawn = chart(events)
    head, *texts = as_text(drawn, width)
    lines: list[Line] = []
    seen: dict[str, int] = {}
    for step, text in zip(drawn.steps, texts, strict=False):
        key = f"step/{step.at}/{step.source}/{step.target}"
        seen[key] = seen.get(key, 0) + 1
        time = clock_ms(step.at)
        tone = "bad" if step.is_bad else STEP_TONES.get(step.kind, "text")
        rest = one_line(text[len(time) :])
        lines.append(Line(f"{key}/{seen[key]}", ((time, "dim"), (rest, tone)), full=step.label))
    return head, lines


def waterfall_lines(events: Sequence[TraceEvent], width: int) -> tuple[str, list[Line]]:
    """The scale of time, and a line a piece of work."""
    drawn = bars(events)
    head, *texts = as_lines(drawn, width)
    if not drawn:
        return "", [Line("none", ((head.plain, "dim"),))]
    lines = [
        Line(f"bar/{number}", _pieces(text), full=text.plain.rstrip(), pid=bar.pid or None)
        for number, (bar, text) in enumerate(zip(drawn, texts, strict=False))
    ]
    return head.plain, [*lines, *(Line("more", _pieces(text)) for text in texts[len(drawn) :])]


def where_pieces(
    sessions: Sequence[Session], session: Session | None, text: str, matched: int
) -> list[Piece]:
    """How many sessions there are, and what of the chosen one is seen."""
    going = sum(1 for one in sessions if not one.ended)
    pieces: list[Piece] = [(f"{plural(len(sessions), 'session')}", "strong"), (f", {going} listening  ", "good" if going else "dim")]  # fmt: skip
    if session is None:
        return pieces
    if session.ended:
        pieces.append((f"ended: {one_line(session.ended)}  ", "dim"))
    pieces.append((f"{session.heard:,} heard  ", "text"))
    if session.dropped:
        pieces.append((f"{session.dropped:,} left out  ", "warn"))
    if session.forgotten:
        pieces.append((f"{session.forgotten:,} older not kept  ", "dim"))
    if text:
        pieces.append((f"{matched:,} match {text}  ", "dim"))
    return pieces
