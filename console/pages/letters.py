"""Messages that reached nobody: for whom, from whom, why; below, the chosen one in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import count, plural
from observe.console.letter_lines import (
    BYS,
    COLUMNS,
    By,
    counted,
    detail_lines,
    grouped,
    letter_lines,
    letter_of,
    row,
)
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.state import Identity
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.probe.wire_letters import MAX_LETTERS, DeadLetterLine, DeadLetterPage


class LettersScreen(ListPage):
    """In groups, the largest first."""

    DEFAULT_CSS = """
    LettersScreen #letter-list { height: 3fr; }
    LettersScreen #letter-detail { height: 2fr; border-top: hkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("letters")
    page_name = "letters"
    found: DeadLetterPage | None
    filter_bar: FilterBar
    below: LineView

    def __init__(self) -> None:
        super().__init__(id="letters")
        self.detail: DeadLetterLine | None = None
        self.by: By = "target"
        self._detail_of = 0
        self.filter_bar = FilterBar("words of whom it was for, who sent it, or what it says", agents=False)
        self.view = LineView(Folds(), id="letter-list")
        self.below = LineView(Folds(), id="letter-detail")

    async def fetch(self) -> None:
        """The letters, and the chosen one in full."""
        text = self.filter
        found = await self.observer.attachment.ask(
            lambda node: node.dead_letters(text=text, limit=MAX_LETTERS)
        )
        if found is None or text != self.filter:
            return
        self.found = found
        self.draw()
        chosen = self.chosen
        if chosen is None:
            self.detail = None
        elif (
            self.detail is None
            or self.detail.number != chosen.number
            or (self.detail.sent_to, self.detail.heir) != (chosen.sent_to, chosen.heir)
        ):
            full = await self.observer.attachment.ask(lambda node: node.dead_letters(letter=chosen.number))
            self.detail = full.letters[0] if full is not None and full.letters else None
        self.draw_below()

    @property
    def chosen(self) -> DeadLetterLine | None:
        """The letter on the line of the cursor; of a group, its newest."""
        line = self.view.current
        if line is None or self.found is None:
            return None
        number = letter_of(line.key)
        if number is not None:
            return next((one for one in self.found.letters if one.number == number), None)
        for group in grouped(self.found.letters, self.by):
            if line.key == f"group/{self.by}/{group.key}":
                return group.letters[0]
        return None

    def draw(self) -> None:
        """Make the lines anew."""
        found, now = self.found, self.observer.node.clock()
        if found is None:
            lines = [Line("none", ((self.not_yet, "dim"),))]
        elif not found.letters:
            none = (
                "none matches" if self.filter else "no message has reached nobody: there are no dead letters"
            )
            lines = [Line("none", ((none, "dim" if self.filter else "good"),))]
        else:
            lines = list(letter_lines(found.letters, self.by, self.view.folds, self.view.text_width, now))
        self.view.show(lines)
        if self.shown:
            self.observer.show_where()

    def draw_below(self) -> None:
        chosen, detail = self.chosen, self.detail
        if detail is None or chosen is None or detail.number != chosen.number:
            self._detail_of = 0
            self.below.reset()
            self.below.show([Line("none", (("" if chosen is None else "asking …", "dim"),))])
            return
        if self._detail_of != detail.number:
            self._detail_of = detail.number
            self.below.reset()
        now = self.observer.node.clock()
        self.below.show(detail_lines(detail, self.below.folds, self.below.text_width, now))

    def where(self) -> list[Piece]:
        """How many there are, how many lately, and why."""
        found = self.found
        if found is None:
            return [("asking for the dead letters …", "dim")]
        pieces: list[Piece] = []
        pieces.append((f"{plural(found.total, 'dead letter')}  ", "strong"))
        pieces.append((f"{count(found.in_a_minute)} in a minute  ", "warn" if found.in_a_minute else "dim"))
        if self.filter:
            pieces.append((f"{count(found.matched)} match {self.filter}  ", "dim"))
        if found.kept < found.total:
            pieces.append((f"the newest {count(found.kept)} kept  ", "dim"))
        if found.matched > len(found.letters):
            pieces.append((f"{count(len(found.letters))} shown  ", "dim"))
        pieces.append((f"by {self.by}  ", "dim"))
        if self.by != "why":
            pieces.append((counted(found.by_why), "dim"))
        return pieces

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """The letters."""
        return list(COLUMNS), [row(one) for one in self.found.letters] if self.found is not None else []

    def targets(self) -> Sequence[Identity | int]:
        """Whom the letter was for, or who would have it now."""
        pid = self._addressee()
        return (pid,) if pid else ()

    def nobody(self) -> str:
        """Why there is none."""
        return "nobody has this name"

    def _addressee(self) -> int:
        chosen = self.chosen
        return (chosen.heir_pid or chosen.target_pid) if chosen is not None else 0

    # -- the filter and the groups

    def action_next_by(self) -> None:
        """Group by the next thing that they have in common."""
        self.by = BYS[(BYS.index(self.by) + 1) % len(BYS)]
        self.view.reset()
        self.draw()
        self.poller.wake()

    # -- on a line

    def moved(self, line: Line) -> None:
        """What it says in full is asked for."""
        super().moved(line)
        self.poller.wake()

    def action_open(self) -> None:
        """To the message; there, the agent on the line, or unfold."""
        line = self.below.current
        if not self.below.has_focus:
            self.below.focus()
        elif line is not None and line.pid is not None:
            self.observer.visit_pid(line.pid)
        else:
            self.below.toggle()

    def action_agent(self) -> None:
        """Open whom it was for, or who has its place now."""
        pid = self._addressee()
        if pid:
            self.observer.visit_pid(pid)
        else:
            self.observer.say(self.nobody(), "warn")

    def action_resend(self) -> None:
        """Send it again, after a question."""
        chosen = self.chosen
        if chosen is None:
            return
        if chosen.sent_to:
            self.observer.say(f"it was sent again already, to {chosen.sent_to}", "warn")
        else:
            self.observer.ask_to_resend(chosen)
