"""All that can be done here, with keys; what may not be done stands there too, with the reason."""

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.widgets.option_list import Option

from observe.console.deeds import DEEDS, Deed
from observe.console.keys import find, key_name
from observe.console.widgets.list_menu import ListMenu, menu_line


class DeedMenu(ListMenu[str]):
    """Answers with the id of a deed, or None."""

    BINDINGS: ClassVar = [Binding("A", "leave", show=False)]

    def __init__(self, title: str, refused: dict[str, str]) -> None:
        """`refused` says, by the ids of those that may not be done, why not."""
        super().__init__()
        self._title = title
        self._refused = refused
        reasons = set(refused.values())
        self._reason = reasons.pop() if len(refused) == len(DEEDS) and len(reasons) == 1 else ""
        """Why none of them may be done, if it is the same reason: it is said once."""

    def heading(self) -> str:
        return f"{self._title}    {self._reason or 'Enter or the key chooses'}, Esc leaves"

    def options(self) -> Iterable[Option]:
        return (Option(self._line(deed), id=deed.id, disabled=deed.id in self._refused) for deed in DEEDS)

    def _line(self, deed: Deed) -> Text:
        reason = "" if self._reason else self._refused.get(deed.id)
        return menu_line(key_name(find("agent", deed.id).keys[0]), deed.name, 20, reason or deed.description)

    def chosen(self, option_id: str) -> None:
        self.dismiss(option_id)

    def on_key(self, event: events.Key) -> None:
        """Its key does the same as Enter on its line."""
        for deed in DEEDS:
            if event.key in find("agent", deed.id).keys:
                event.stop()
                if deed.id not in self._refused:
                    self.dismiss(deed.id)
