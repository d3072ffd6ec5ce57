"""The command palette: every action of the registry on this page, and sorting by each column. What may not be done now says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from observe.console.columns import COLUMNS
from observe.console.deeds import BY_ID
from observe.console.keys import Action, available, key_name, on_page

if TYPE_CHECKING:
    from observe.console.app import ObserveApp


class Command(NamedTuple):
    """One line of the palette."""

    name: str
    description: str
    callback: Callable[[], object]
    is_now: bool = True
    """Whether it may be done now; else the description says why not, and so does the attempt."""


class ActionCommands(Provider):
    """Offers what the page on the screen can do."""

    def _commands(self) -> Iterator[Command]:
        app = cast("ObserveApp", self.app)
        also = [action for page in getattr(app, "also", ()) for action in on_page(page)]
        later = []
        for action in (*also, *available(app.page.page_name)):
            if not action.palette:
                continue
            name = f"{action.name}  ({key_name(action.keys[0])})"
            why_not = _why_not(app, action)
            if why_not:
                later.append(Command(name, f"Not now: {why_not}", partial(app.perform, action), False))
            else:
                yield Command(name, action.description, partial(app.perform, action))
        for column in COLUMNS:
            yield Command(f"Sort by {column.name}", column.meaning, partial(app.sort_by, column.name))
        yield Command("Theme…", "Choose the colours", app.action_change_theme)
        yield from later  # who looks for it learns what it takes

    async def discover(self) -> Hits:
        """Everything, while nothing is typed."""
        for one in self._commands():
            yield DiscoveryHit(one.name, one.callback, help=one.description)

    async def search(self, query: str) -> Hits:
        """What resembles the text."""
        matcher = self.matcher(query)
        for one in self._commands():
            score = max(matcher.match(one.name), matcher.match(one.description) / 2 if one.is_now else 0.0)
            if score > 0:
                yield Hit(score, matcher.highlight(one.name), one.callback, help=one.description)


def _why_not(app: ObserveApp, action: Action) -> str:
    """Why this may not be done now; empty when it may."""
    if action.page == "agent" and action.id in BY_ID and hasattr(app, "why_not"):
        return app.why_not(BY_ID[action.id])
    return app.node.why_not(action)
