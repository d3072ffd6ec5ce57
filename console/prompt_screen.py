"""A screen that paints at once what a key has changed.

Textual collects what is to be painted and paints it at the next beat of sixty in a second: a key waits for up to 16 ms for
nothing. Here the first change after a rest is painted as soon as there is nothing else to do; only what follows within a
beat, as in a flood of refreshes, is collected. And all is painted anew when the theme changes.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from textual import events
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget

BEAT_S: Final = 1 / 60
"""No two pictures follow each other faster: no terminal shows more."""


class PromptScreen(Screen[None]):
    """See the module's docstring."""

    _painted_at = 0.0

    def on_mount(self) -> None:
        """Our widgets choose their colours themselves, so Textual does not know that another theme has changed them."""
        self.app.theme_changed_signal.subscribe(self, self._in_other_colours)

    def _in_other_colours(self, _theme: Theme) -> None:
        for widget in self.walk_children(Widget):
            widget.refresh()

    async def _on_idle(self, event: events.Idle) -> None:
        """Everything that was under way has been done: paint what has changed, unless there was a picture just now."""
        now = monotonic()
        if now - self._painted_at < BEAT_S or not self._has_changed():
            return  # Textual's own beat takes it
        event.prevent_default()
        self._painted_at = now
        self._on_timer_update()

    def _has_changed(self) -> bool:
        return self.is_current and bool(
            self._dirty_widgets or self._layout_required or self._scroll_required or self._repaint_required
        )
