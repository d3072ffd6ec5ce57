"""The console on the past: a recording that plays, pauses, and is gone through, on the screens of a live node."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, Final

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from observe.console.app import ObserveApp
from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.deeds import Deed
from observe.console.format import clock, duration
from observe.console.screens import FIRST_SCREEN, PageName
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.errors import AttachError, ProbeError
from observe.probe.replay import NOTHING_IS_DONE, SPEEDS, Replay, moment

BAR_CELLS: Final = 30
LEAST_BAR_CELLS: Final = 8
REDRAW_S: Final = 0.25


def _cell(replay: Replay, at: float, cells: int) -> int:
    length = max(replay.end - replay.start, 1e-6)
    return max(0, min(round((at - replay.start) / length * (cells - 1)), cells - 1))


def cells_with_crashes(replay: Replay, cells: int) -> frozenset[int]:
    """Where on the line of so many cells something crashed."""
    return frozenset(_cell(replay, crash.wall_us / 1e6, cells) for crash in replay.past.crashes)


def replay_pieces(replay: Replay, crashed: Callable[[int], frozenset[int]], width: int) -> list[Piece]:
    """What says where in the recording one is, with a line that has the rest of the width; `crashed` says in which of so many cells
    something crashed."""
    state = (
        ("■ end", "warn") if replay.is_over else ("‖ paused", "warn") if replay.is_paused else ("▶", "good")
    )
    length = max(replay.end - replay.start, 1e-6)
    before: list[Piece] = [
        (" RECORDING ", "title"),
        (f"{state[0]}  ", state[1]),
        (f"{replay.speed:g}x  ", "text"),
        (f"{clock(replay.start)} ", "dim"),
    ]
    after: list[Piece] = [
        (f" {clock(replay.end)}  ", "dim"),
        (f"{duration(replay.at - replay.start)} of {duration(length)}  ", "text"),
    ]
    damaged = len(replay.past.damage)
    if damaged:
        after.append((f"damaged in {damaged} places  " if damaged > 1 else "damaged  ", "bad"))
    rest = width - sum(cell_len(text) for text, _ in (*before, *after))
    cells = max(LEAST_BAR_CELLS, min(rest, BAR_CELLS))
    marks = ["╪" if cell in crashed(cells) else "─" for cell in range(cells)]
    marks[_cell(replay, replay.at, cells)] = "●"
    return [*before, ("".join(marks), "spark"), *after]


class GoToDialog(ModalScreen[str | None]):
    """Answers with the time that a person typed, or None."""

    DEFAULT_CSS = """
    GoToDialog { align: center middle; }
    GoToDialog > Vertical {
        width: 72; max-width: 96%; height: auto; background: $panel; border: round $primary; padding: 0 2;
    }
    GoToDialog Label { width: 100%; height: auto; }
    GoToDialog Input, GoToDialog Input:focus { height: 1; border: none; padding: 0 1; margin: 1 0; background: $surface; }
    """
    BINDINGS: ClassVar = [Binding("escape", "leave", "Leave")]

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Go to"
        with box:
            yield Label("14:03:07, -90s from the end, +5m from the start, crash, start or end")
            yield Input(compact=True)

    def on_mount(self) -> None:
        """The keys go to the time."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip() or None)

    def action_leave(self) -> None:
        """Stay."""
        self.dismiss(None)


class ReplayApp(ObserveApp):
    """The console on a recording. Time is that of the recording; what acts is refused."""

    BINDINGS: ClassVar = bindings_of("replay")

    def __init__(self, replay: Replay, *, screen: PageName = FIRST_SCREEN) -> None:
        super().__init__(
            replay.client, replay.past.path.name, readonly=True, screen=screen, clock=lambda: replay.at
        )
        self.replay = replay
        self.also = ("replay",)
        self._crashed = cache(partial(cells_with_crashes, replay))
        self.bar = PieceLines(1, "warn")

    def compose(self) -> ComposeResult:
        yield self.bar
        yield from super().compose()

    def on_mount(self) -> None:
        """Play."""
        self._show_bar()
        self.set_interval(REDRAW_S, self._show_bar)
        for damage in self.replay.past.damage[:1]:
            self.say(f"{damage}; it is played up to there", "bad")

    def _show_bar(self) -> None:
        self.bar.show(replay_pieces(self.replay, self._crashed, self.size.width))

    @property
    def barred(self) -> str:
        """Why nothing may be done."""
        return NOTHING_IS_DONE

    def why_not(self, deed: Deed) -> str:
        """Why nothing may be done."""
        return NOTHING_IS_DONE

    def action_control(self) -> None:
        """Nobody has control of the past."""
        self.say(NOTHING_IS_DONE, "warn")

    # -- actions of the registry

    def action_play(self) -> None:
        """Play or pause."""
        self.replay.is_paused = not self.replay.is_paused
        self._show_bar()

    def action_faster(self) -> None:
        """Twice as fast."""
        self._change_speed(1)

    def action_slower(self) -> None:
        """Half as fast."""
        self._change_speed(-1)

    def _change_speed(self, step: int) -> None:
        near = min(range(len(SPEEDS)), key=lambda number: abs(SPEEDS[number] - self.replay.speed))
        self.replay.speed = SPEEDS[max(0, min(near + step, len(SPEEDS) - 1))]
        self._show_bar()

    def action_back_10(self) -> None:
        """Ten seconds back."""
        self.go_to(self.replay.at - 10)

    def action_on_10(self) -> None:
        """Ten seconds on."""
        self.go_to(self.replay.at + 10)

    def action_back_60(self) -> None:
        """A minute back."""
        self.go_to(self.replay.at - 60)

    def action_on_60(self) -> None:
        """A minute on."""
        self.go_to(self.replay.at + 60)

    def action_next_crash(self) -> None:
        """To the next crash, and stand there."""
        self._to_mark(forwards=True)

    def action_crash_before(self) -> None:
        """To the crash before, and stand there."""
        self._to_mark(forwards=False)

    def _to_mark(self, *, forwards: bool) -> None:
        mark = self.replay.next_crash() if forwards else self.replay.crash_before()
        if mark is None:
            self.say("no crash after this moment" if forwards else "no crash before this moment")
            return
        self.replay.is_paused = True
        self.go_to(mark.wall_us / 1e6, mark.text)

    def action_go_to(self) -> None:
        """Ask for a time, and go there."""
        self.push_screen(GoToDialog(), self._go_to_text)

    def _go_to_text(self, text: str | None) -> None:
        if text is None:
            return
        try:
            self.go_to(moment(self.replay.past, text))
        except ProbeError as error:
            self.say(str(error), "bad")

    def go_to(self, at: float, text: str = "") -> None:
        """Show another moment, and say what is there."""
        self.run_worker(self._go_to(at, text), group="seek", exclusive=True)

    async def _go_to(self, at: float, text: str) -> None:
        await self.replay.seek(at)
        self.node.forget()
        await self.attachment.catch_up()
        self.attachment.rows.wake()
        self.attachment.findings.wake()
        self.page.poller.wake()
        self._show_bar()
        self.show_node()
        if text:
            self.say(text, "bad")


async def _run(path: Path, at: str, speed: float, paused: bool, screen: PageName) -> ReplayApp:
    async with Replay(path, at=at, speed=speed, paused=paused) as replay:
        app = ReplayApp(replay, screen=screen)
        await app.run_async()
        return app


def run_replay(
    path: Path, *, at: str = "", speed: float = 1.0, paused: bool = False, screen: PageName = FIRST_SCREEN
) -> int:
    """Open the console on a recording and return the exit status when the person leaves.

    Raises:
        NotARecording: there is none, or no such time in it.
        AttachError: there is no terminal to draw on.
    """
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        raise AttachError(
            "the console draws on stderr, which is not a terminal here", hint="do not redirect it with 2>"
        )
    app = asyncio.run(_run(path, at, speed, paused, screen))
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
