"""The help overlay, made from the registry of actions and the columns' own descriptions."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label

from observe.console.columns import COLUMNS, STATUS_TONES, Piece
from observe.console.format import STATUS_GLYPHS, pad
from observe.console.keys import (
    FLEET_PAGES,
    LINE_KEYS,
    Page,
    everywhere,
    key_name,
    keys_of,
    on_page,
    permitted,
)
from observe.console.lines import Line, wrap
from observe.console.widgets.line_view import LineView

TITLES = {
    "overview": "The overview",
    "agents": "The table of agents",
    "detail": "One agent",
    "tree": "The tree",
    "crashes": "Crashes",
    "findings": "Findings",
    "groups": "Groups",
    "code": "The code",
    "tasks": "Tasks",
    "traces": "Trace sessions",
    "approvals": "Approvals",
    "audit": "The audit log",
    "log": "The log",
    "letters": "Dead letters",
    "budgets": "Budgets and cost",
    "names": "Groups and names",
    "replay": "The recording",
    "nodes": "The nodes of a fleet",
    "fleet_agents": "The agents of all nodes",
}

FILTER_HELP = (
    ("text", "part of a name, class, status or activity, whatever the case; or exactly a pid"),
    ("column>number", "compares one column, as do < and =: mailbox>10, load>0.2, age_s<60"),
    ("column=text", "the same for texts: status=waiting, class=Session"),
    ("a b", "all terms must hold"),
)


def help_lines(
    page: Page, role: str, width: int, *, barred: str = "", also: Sequence[Page] = ()
) -> list[Line]:
    """All lines of the help for a page. `barred`: why nothing may be changed at the moment, whatever the role; `also` are pages
    whose actions work here as well."""
    lines: list[Line] = []

    def entry(left: str, text: str, tone: str = "hotkey", cells: int = 12, word: str = "text") -> None:
        for number, part in enumerate(wrap(text, width - cells - 4)):
            pieces: tuple[Piece, ...] = ((pad(left if not number else "", cells) + " ", tone), (part, word))
            lines.append(Line(str(len(lines)), pieces))

    def title(text: str) -> None:
        if lines:
            lines.append(Line(str(len(lines)), ()))
        lines.append(Line(str(len(lines)), ((text, "heading"),), heading=True))

    pages: list[tuple[Page, str]] = [(page, TITLES.get(page, "")), (everywhere(page), "Everywhere")]
    if page not in FLEET_PAGES:
        pages.insert(1, ("agent", "Acting on agents and on the node"))
    pages = [(other, TITLES.get(other, "")) for other in also] + pages
    told = False
    for name, section in pages:
        title(section)
        for action in on_page(name):
            has_role = not role or permitted(action, role, readonly=False)
            if barred and has_role and not permitted(action, role, readonly=True) and not told:
                entry("", f"What is faint may not be done now ({barred}).", "text", 0)
                told = True
            may = permitted(action, role, readonly=bool(barred))
            note = "" if has_role else f" (takes the role {action.role}; you have {role})"
            text = f"{action.name}: {action.description}{note}"
            entry(keys_of(action), text, "hotkey" if may else "faint", word="text" if may else "faint")
    if page != "agents":
        title("Lines that fold")
        for keys, _, meaning in LINE_KEYS:
            entry(" ".join(key_name(key) for key in keys), meaning)
    title("Columns")
    for column in COLUMNS:
        label = column.name if column.title == column.name else f"{column.name}"
        shown = "" if column.title == column.name else f" (headed: {column.title})"
        entry(label, column.meaning + shown, "key")
    title("Status")
    for status, glyph in STATUS_GLYPHS.items():
        if status == "holding":
            continue  # no status of the table's
        lines.append(
            Line(str(len(lines)), ((f"{glyph} ", STATUS_TONES.get(status, "text")), (status, "text")))
        )
    title("Filter")
    for left, text in FILTER_HELP:
        entry(left, text, "key", 14)
    return lines


class HelpOverlay(ModalScreen[None]):
    """Everything that can be done on the page below."""

    DEFAULT_CSS = """
    HelpOverlay { align: center middle; }
    HelpOverlay > Vertical {
        width: 100; max-width: 96%; height: 92%; background: $background; border: round $primary; padding: 0 1;
    }
    HelpOverlay Label { color: $text-muted; width: 100%; }
    """
    BINDINGS: ClassVar = [Binding("escape,q,question_mark,f1,enter", "leave", "Close")]

    def __init__(self, page: Page, role: str, *, barred: str = "", also: Sequence[Page] = ()) -> None:
        super().__init__()
        self._page: Page = page
        self._role = role
        self._barred = barred
        self._also = also

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("Help    ↑↓ PgUp PgDn scroll, Esc leaves")
            yield LineView()

    def on_mount(self) -> None:
        """The keys go to the lines."""
        self.query_one(LineView).focus()

    def on_line_view_refolded(self) -> None:
        """Wrap for the width that there is."""
        view = self.query_one(LineView)
        view.show(help_lines(self._page, self._role, view.text_width, barred=self._barred, also=self._also))

    def action_leave(self) -> None:
        """Back to the page."""
        self.dismiss(None)
