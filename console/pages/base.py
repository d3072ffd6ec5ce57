"""What all pages share: a fetcher that runs while the page is on the screen, and a line for the status bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from textual.containers import Vertical

from observe.console.attachment import Poller
from observe.console.columns import Piece
from observe.console.deeds import Deed
from observe.console.messages import PagePainted
from observe.console.navigation import Place
from observe.console.screens import PageName
from observe.console.state import Identity
from observe.console.widgets.line_view import LineView

if TYPE_CHECKING:
    from observe.console.app import ObserveApp


NOT_YET: Final = {
    "held": "the node cannot answer this while its scheduler is held: h opens who holds it",
    "dead": "the node is dead, and this was not looked at before",
    "stopped": "the node has stopped, and this was not looked at before",
    "lost": "the connection is lost, and this was not looked at before",
}
"""By the state of a node."""


class ConsolePage(Vertical):
    """One page between the header and the bottom lines."""

    DEFAULT_CSS = "ConsolePage { height: 1fr; }"

    page_name: PageName
    interval_s = 1.0
    """Seconds between two pictures."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self.poller = Poller(self._fetch_unless_paused, self.interval_s)
        self.shown = False
        self._painted = False

    @property
    def observer(self) -> ObserveApp:
        """The app, as what it is."""
        return cast("ObserveApp", self.app)

    def enter(self, place: Place) -> None:
        """The page comes to the screen."""
        self.shown = True
        self.run_worker(self.poller.run(), group="poll", exclusive=True)

    def leave(self) -> None:
        """The page leaves the screen: it asks the node for nothing more."""
        self.shown = False
        self.workers.cancel_group(self, "poll")

    def close_inner(self) -> bool:
        """Escape: close whatever is open within the page. Returns False when nothing is, and we go back."""
        return False

    def where(self) -> list[Piece]:
        """What the status bar says about this page."""
        return []

    def pause(self) -> list[Piece]:
        """What the status bar begins with while the picture stands still."""
        return [("PAUSED  ", "warn")] if self.observer.paused else []

    def targets(self) -> Sequence[Identity | int]:
        """The agents that an action would be about, or their pids; none on a line that is about nobody."""
        return ()

    def nobody(self) -> str:
        """Why there are none."""
        return "there is no agent on this line"

    def prefilled(self, deed: Deed) -> Mapping[str, str]:
        """What is on this page to be said already for what a deed wants to know."""
        return {}

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """What is listed here, for a file: columns and rows. Of views made of lines, a row a line."""
        rows: list[list[object]] = [
            [view.id or "", line.depth, line.text, line.pid]
            for view in self.query(LineView)
            if view.display
            for line in view.lines
        ]
        return ["view", "depth", "text", "pid"], rows

    @property
    def not_yet(self) -> str:
        """What stands in the place of an answer that has not come: why not, where that is known."""
        standing = self.observer.node.standing(self.observer.node.clock())
        return NOT_YET.get(standing.state, "asking …")

    def node_changed(self) -> None:
        """Vital signs, findings or the connection changed while this page is on the screen."""

    def painted(self) -> None:
        """The page has all that it shows at first. Only the first time counts."""
        if not self._painted:
            self._painted = True
            # Handled after the picture that is being made now has been shown.
            self.call_after_refresh(self.post_message, PagePainted())

    async def fetch(self) -> None:
        """Ask the node for what the page shows, and show it."""

    async def _fetch_unless_paused(self) -> None:
        if not self.observer.paused or not self.has_picture:
            await self.fetch()
            if self.has_picture:
                self.painted()

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze when the view is paused."""
        return True
