"""The command palette: every action of the registry that can be done here, and sorting by each column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from observe.console.columns import COLUMNS
from observe.console.keys import available, key_name, on_page, permitted

if TYPE_CHECKING:
    from observe.console.app import ObserveApp


class ActionCommands(Provider):
    """Offers what the page on the screen can do."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        app = cast("ObserveApp", self.app)
        also = [action for page in getattr(app, "also", ()) for action in on_page(page)]
        for action in (*also, *available(app.page.page_name)):
            if action.palette and permitted(action, app.node.role, readonly=app.node.only_looks):
                name = f"{action.name}  ({key_name(action.keys[0])})"
                yield name, action.description, partial(app.perform, action)
        for column in COLUMNS:
            yield f"Sort by {column.name}", column.meaning, partial(app.sort_by, column.name)
        yield "Theme…", "Choose the colours", app.action_change_theme

    async def discover(self) -> Hits:
        """Everything, while nothing is typed."""
        for name, description, callback in self._commands():
            yield DiscoveryHit(name, callback, help=description)

    async def search(self, query: str) -> Hits:
        """What resembles the text."""
        matcher = self.matcher(query)
        for name, description, callback in self._commands():
            score = max(matcher.match(name), matcher.match(description) / 2)
            if score > 0:
                yield Hit(score, matcher.highlight(name), callback, help=description)
