"""The two lines at the bottom: where we are and what happened, and the keys of the page."""

from time import monotonic

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from observe.console.columns import Piece
from observe.console.control import Hand
from observe.console.format import clip, one_line
from observe.console.keys import Action, Page, footer, permitted
from observe.console.tones import tones_of

SAID_S = 8.0
"""Seconds for which a message stays: long enough to be read twice."""


class StatusBar(Widget):
    """Where we are on the left, what just happened on the right; on a small screen the latter has the room."""

    DEFAULT_CSS = "StatusBar { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._where: list[Piece] = []
        self._said: Piece = ("", "text")
        self._said_until = 0.0

    def on_mount(self) -> None:
        """Messages go away by themselves."""
        self.set_interval(1.0, self._expire)

    def _expire(self) -> None:
        if self._said[0] and monotonic() > self._said_until:
            self._said = ("", "text")
            self.refresh()

    def show(self, where: list[Piece]) -> None:
        """Say where we are."""
        if where != self._where:
            self._where = where
            self.refresh()

    def say(self, text: str, tone: str = "text") -> None:
        """Say what happened, for a while."""
        self._said = (one_line(text), tone)
        self._said_until = monotonic() + SAID_S
        self.refresh()

    def take_back(self, beginning: str) -> None:
        """Say no longer what begins so: it holds no more."""
        if self._said[0].startswith(beginning):
            self._said = ("", "text")
            self.refresh()

    @property
    def said(self) -> str:
        """The message that is shown now."""
        return self._said[0]

    def render_line(self, y: int) -> Strip:
        """The only line."""
        tones, width = tones_of(self.app), self.size.width
        said, tone = self._said
        said = clip(said, width - 2)
        room = max(0, width - cell_len(said) - (2 if said else 1))
        segments = [Segment(" ", tones.style("text", "panel"))]
        used = 1
        for text, piece_tone in self._where:
            text = clip(text, room - used)
            segments.append(Segment(text, tones.style(piece_tone, "panel")))
            used += cell_len(text)
        segments.append(
            Segment(" " * max(0, width - cell_len(said) - 1 - used), tones.style("text", "panel"))
        )
        segments.append(Segment(said + " ", tones.style(tone, "panel")))
        return Strip(segments).adjust_cell_length(width, tones.style("text", "panel"))


class KeyHints(Widget):
    """The keys of the page on the screen, from the registry; a click does what the key does."""

    DEFAULT_CSS = "KeyHints { height: 1; }"

    class Picked(Message):
        """A person clicked on a key."""

        def __init__(self, action: Action) -> None:
            super().__init__()
            self.action = action

    def __init__(self, node: Hand, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self.node = node
        self._page: Page = "agents"
        self._deeper = False
        self._places: list[tuple[int, int, Action]] = []

    def show(self, page: Page, *, deeper: bool = False) -> None:
        """The keys of another page; `deeper`: there is one to go back to."""
        self._page, self._deeper = page, deeper
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The only line."""
        tones, width = tones_of(self.app), self.size.width
        segments = [Segment(" ", tones.style("text"))]
        used = 1
        self._places = []
        for key, word, action in footer(self._page, deeper=self._deeper):
            cells = cell_len(key) + 1 + len(word)
            if used + cells > width:
                break
            may = permitted(action, self.node.role, readonly=self.node.only_looks)
            segments.append(Segment(key, tones.style("hotkey" if may else "faint")))
            segments.append(Segment(f" {word}  ", tones.style("dim" if may else "faint")))
            self._places.append((used, used + cells, action))
            used += cells + 2
        return Strip(segments).adjust_cell_length(width, tones.style("text"))

    def on_click(self, event: events.Click) -> None:
        """See the class."""
        for left, right, action in self._places:
            if left <= event.x < right:
                self.post_message(self.Picked(action))
