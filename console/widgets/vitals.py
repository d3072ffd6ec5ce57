"""The header: how it is with the node, its vital signs with their recent past, and what is wrong, in that order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from observe.console.columns import Piece
from observe.console.format import clip, clock, count, duration, memory, pad, percent, rate, spark_lines
from observe.console.loss_lines import loss_piece
from observe.console.node_view import NodeView, Standing
from observe.console.tones import Ground, tones_of

TALL: Final = 40
"""Lines of the screen from which on the sparklines are two lines high and several findings are shown."""

MOST_FINDINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Sign:
    """One vital sign as it is shown."""

    name: str
    label: str
    text: Callable[[float], str]
    top: float | None
    """The value that fills the sparkline at least; None: the largest of its past."""

    warn: float
    bad: float
    relative: bool = False
    """Show how it moves rather than how large it is."""


SHOWN: Final = (
    Sign("agents", "agents", count, None, float("inf"), float("inf"), relative=True),
    Sign("rate", "msg/s", rate, 1.0, float("inf"), float("inf")),
    Sign("use", "busy", percent, 1.0, 0.8, 0.95),
    Sign("run_queue", "run queue", count, 10.0, 1000, 10_000),
    Sign("crashes_min", "crashes/m", count, 5.0, 1, 1),
    Sign("restarts_min", "restarts/m", count, 5.0, 1, 30),
    Sign("lag_s", "loop lag", duration, 0.01, 0.02, 0.1),
    Sign("memory", "memory", memory, None, float("inf"), float("inf"), relative=True),
)


class VitalsHeader(Widget):
    """Three lines on a small screen, more on a tall one, and a line of findings below."""

    DEFAULT_CSS = "VitalsHeader { height: 4; }"

    class FindingClicked(Message):
        """A person clicked on the line of findings."""

    def __init__(self, node: NodeView, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self.node = node
        self._lines: list[list[tuple[str, str, Ground]]] = []

    def on_mount(self) -> None:
        """The clock ticks, and so do ages in the first line."""
        self.set_interval(1.0, self.update)

    def on_resize(self) -> None:
        """See `update`."""
        self.update()

    @property
    def _spark_height(self) -> int:
        return 2 if self.app.size.height >= TALL else 1

    def update(self) -> None:
        """Make the lines anew and paint those that differ."""
        lines = self._make()
        if len(lines) != len(self._lines):
            self._lines = lines
            self.styles.height = len(lines)
            self.refresh(layout=True)
            return
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the header."""
        tones = tones_of(self.app)
        if y >= len(self._lines):
            return Strip.blank(self.size.width, tones.style("text"))
        segments = [Segment(text, tones.style(tone, ground)) for text, tone, ground in self._lines[y]]
        return Strip(segments).adjust_cell_length(self.size.width, tones.style("text"))

    def on_click(self, event: events.Click) -> None:
        """The line of findings leads to the agents concerned."""
        if event.y > 2 * self._spark_height:
            self.post_message(self.FindingClicked())

    # -- making the lines

    def _make(self) -> list[list[tuple[str, str, Ground]]]:
        width = self.size.width or self.app.size.width
        now = self.node.clock()
        standing = self.node.standing(now)
        return [self._first(standing, width, now), *self._tiles(width), *self._findings(standing, width)]

    def _first(self, standing: Standing, width: int, now: float) -> list[tuple[str, str, Ground]]:
        node, ground = self.node, standing.ground
        left: list[Piece] = [
            (f" {node.name} ", "title"),
            (f" {standing.glyph} {standing.word} ", standing.tone),
        ]
        right: list[Piece] = []
        if node.vitals is not None:
            cost = node.vitals.probe_cost
            most = node.vitals.probe_budget or 0.02
            right += [("observing costs ", "dim"), (f"{percent(cost)}  ", "warn" if cost > most else "text")]
            if node.vitals.probe_cpu and width >= 140:
                right += [("+ probe ", "dim"), (f"{percent(node.vitals.probe_cpu)}  ", "text")]
        right = [*loss_piece(node), *right]
        if node.info is not None and width >= 124:
            facts = f"pid {node.info.pid}  Python {node.info.python}  observe {node.info.version}  "
            right.append((facts, "dim"))
        right += [
            node.mode,
            (f"  {clock(now)} ", "text"),
        ]
        if standing.state not in ("up", "connecting"):
            right = [(f"  {clock(now)} ", "text")]  # the sentence needs the room
        used = sum(cell_len(text) for text, _ in (*left, *right))
        room = max(0, width - used)
        text = clip(standing.text, room)
        left.append((text + " " * (room - cell_len(text)), "strong" if ground == "bad" else "text"))
        return [(text, tone, ground) for text, tone in (*left, *right)]

    def _tiles(self, width: int) -> list[list[tuple[str, str, Ground]]]:
        """Two rows of four signs; each with its label, value and past."""
        per_row = 4
        height = self._spark_height
        lines: list[list[tuple[str, str, Ground]]] = []
        for first in range(0, len(SHOWN), per_row):
            row = SHOWN[first : first + per_row]
            parts: list[list[tuple[str, str, Ground]]] = [[] for _ in range(height)]
            for number, sign in enumerate(row):
                left = number * width // per_row
                cells = (number + 1) * width // per_row - left
                for part, tile in zip(parts, self._tile(sign, cells, height), strict=True):
                    part += tile
            lines += parts
        return lines

    def _tile(self, sign: Sign, cells: int, height: int) -> list[list[tuple[str, str, Ground]]]:
        signs = self.node.signs
        value = signs.now.get(sign.name)
        fresh = self.node.is_fresh
        text = "" if value is None else sign.text(value)
        tone = "strong"
        if value is not None and fresh:
            tone = "bad" if value >= sign.bad else "warn" if value >= sign.warn else "strong"
        elif not fresh:
            tone = "dim"
        past = signs.history[sign.name]
        label_width = 10 if cells < 24 else 11
        if height > 1:
            value_width = label_width
            room = max(0, cells - label_width - 4)
            sparks = spark_lines(past, room, height, top=sign.top, relative=sign.relative)
            texts = [pad(sign.label, value_width), pad(text, value_width)]
            return [
                [
                    (" " + texts[line] + " ", tone if line else "dim", "base"),
                    (sparks[line] + "  ", "spark", "base"),
                ]
                for line in range(height)
            ]
        value_width = 7 if cells >= 24 else min(6, max(4, len(text) + (len(sign.label) >= label_width)))
        room = max(0, cells - label_width - value_width - 3)
        [line] = spark_lines(past, room, 1, top=sign.top, relative=sign.relative)
        return [
            [
                (" " + pad(sign.label, label_width), "dim", "base"),
                (pad(text, value_width, right=True) + " ", tone, "base"),
                (line + " ", "spark", "base"),
            ]
        ]

    def _findings(self, standing: Standing, width: int) -> list[list[tuple[str, str, Ground]]]:
        if standing.more:
            return [[(" ▲ ", standing.tone, "base"), (pad(standing.more, width - 3), standing.tone, "base")]]
        found = self.node.findings
        if not found:
            text = self.node.verdict() if self.node.signs.at else ""
            return [[(pad(f" ● {text}" if text else "", width), "good" if "calm" in text else "dim", "base")]]
        most = MOST_FINDINGS if self._spark_height > 1 else 1
        lines: list[list[tuple[str, str, Ground]]] = []
        for number, one in enumerate(found[:most]):
            hint = f"  and {len(found) - most} more" if number == most - 1 and len(found) > most else ""
            hint += "  ! shows " if number == 0 else " "
            room = width - len(hint) - 3
            lines.append(
                [
                    (" ▲ ", one.level, "base"),
                    (pad(one.text, room), one.level, "base"),
                    (hint, "dim", "base"),
                ]
            )
        return lines
