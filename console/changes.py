"""Which parts of an agent's state say something else than when they were last looked at. Pure; times are passed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from observe.console.columns import Piece
from observe.console.format import clip, one_line
from observe.console.lines import Line
from observe.probe.wire_agent import Value

SHOWN_S: Final = 10.0
"""Seconds for which a change is marked: ten pictures or so, long enough to be seen from the corner of an eye."""

MOST: Final = 5000
"""Parts compared; the wire carries about as many."""


@dataclass(frozen=True, slots=True)
class Change:
    """One part that differs."""

    before: str | None
    """As it was; None: it is new. Empty for what holds other parts: they say it."""

    until: float


@dataclass(slots=True)
class Changes:
    """What was seen last of one agent's state, and what has changed since."""

    _seen: dict[str, str] = field(default_factory=dict)
    _changed: dict[str, Change] = field(default_factory=dict)

    def forget(self) -> None:
        """The next picture is of another agent."""
        self._seen.clear()
        self._changed.clear()

    def look(self, state: Value | None, now: float) -> None:
        """Compare a picture with the one before it."""
        if state is None:
            return
        seen = dict(_parts(state))
        if self._seen:
            for key, text in seen.items():
                before = self._seen.get(key)
                if before != text:
                    self._changed[key] = Change(before, now + SHOWN_S)
        self._seen = seen
        self._changed = {
            key: change for key, change in self._changed.items() if change.until > now and key in seen
        }

    def marked(self, lines: Sequence[Line]) -> list[Line]:
        """The lines, with a mark on those that have changed lately."""
        if not self._changed:
            return list(lines)
        return [self._mark(line) for line in lines]

    def _mark(self, line: Line) -> Line:
        change = self._changed.get(line.key)
        if change is None:
            return line
        if change.before is None:
            piece: Piece = ("  ◂ new", "warn")
        elif line.open is not None or not change.before:
            piece = ("  ◂ changed", "warn")
        else:
            piece = (f"  ◂ was {clip(one_line(change.before), 40)}", "warn")
        return replace(line, pieces=(*line.pieces, piece))


def _parts(state: Value) -> Iterator[tuple[str, str]]:
    """Each part with the key that its line has on the agent's page, and its text."""
    waiting = [(f"state/{number}:{label}", part) for number, (label, part) in enumerate(state.items or [])]
    count = 0
    while waiting and count < MOST:
        key, value = waiting.pop()
        count += 1
        yield key, "" if value.masked else value.text
        waiting += [
            (f"{key}/{number}:{label}", part) for number, (label, part) in enumerate(value.items or [])
        ]
