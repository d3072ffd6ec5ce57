"""All that can be done here, with keys; what may not be done stands there too, with the reason."""

from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from observe.console.deeds import DEEDS, Deed
from observe.console.format import clip, pad
from observe.console.keys import find, key_name


class DeedMenu(ModalScreen[str | None]):
    """Answers with the id of a deed, or None."""

    DEFAULT_CSS = """
    DeedMenu { align: center middle; }
    DeedMenu > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 90%; background: $panel; border: round $primary;
        padding: 0 1;
    }
    DeedMenu Label { color: $text-muted; }
    DeedMenu OptionList, DeedMenu OptionList:focus {
        height: auto; max-height: 100%; border: none; background: $panel; padding: 0;
    }
    """
    BINDINGS: ClassVar = [
        Binding("escape,q,A", "leave", "Close"),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, title: str, refused: dict[str, str]) -> None:
        """`refused` says, by the ids of those that may not be done, why not."""
        super().__init__()
        self._title = title
        self._refused = refused
        reasons = set(refused.values())
        self._reason = reasons.pop() if len(refused) == len(DEEDS) and len(reasons) == 1 else ""
        """Why none of them may be done, if it is the same reason: it is said once."""

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(f"{self._title}    {self._reason or 'Enter or the key chooses'}, Esc leaves")
            yield OptionList(
                *(Option(self._line(deed), id=deed.id, disabled=deed.id in self._refused) for deed in DEEDS)
            )

    def _line(self, deed: Deed) -> Text:
        reason = "" if self._reason else self._refused.get(deed.id)
        text = Text(f"{key_name(find('agent', deed.id).keys[0])} ", no_wrap=True, overflow="ellipsis")
        text.append(pad(deed.name, 20))
        text.append(clip(reason or deed.description, 50), style="dim")
        return text

    def on_mount(self) -> None:
        """The keys go to the list."""
        self.query_one(OptionList).focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def on_key(self, event: events.Key) -> None:
        """Its key does the same as Enter on its line."""
        for deed in DEEDS:
            if event.key in find("agent", deed.id).keys:
                event.stop()
                if deed.id not in self._refused:
                    self.dismiss(deed.id)

    def action_down(self) -> None:
        """One line down."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """One line up."""
        self.query_one(OptionList).action_cursor_up()

    def action_leave(self) -> None:
        """Nothing."""
        self.dismiss(None)
