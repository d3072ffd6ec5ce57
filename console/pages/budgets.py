"""What agents may spend, have spent and spend a minute: the worst first, with how long a limit lasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from observe.console.bindings import bindings_of
from observe.console.budget_lines import (
    BYS,
    COLUMNS,
    SORT_NAMES,
    SORTS,
    heading_pieces,
    row,
    spent_lines,
)
from observe.console.columns import Piece
from observe.console.format import count, duration, money, plural, short_count
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.state import Identity
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.wire_budgets import BudgetPage, BudgetsBy, BudgetsSort

LIMIT: Final = 200
"""Lines asked for; a filter finds the others."""

NOUNS: Final[dict[BudgetsBy, tuple[str, str]]] = {
    "owner": ("budget", "budgets"),
    "class": ("class", "classes"),
    "policy": ("line of caps", "lines of caps"),
}

NOBODY: Final[dict[BudgetsBy, str]] = {
    "owner": "no agent has a budget, and none has used a model or a tool",
    "class": "no agent has a budget, and none has used a model or a tool",
    "policy": "nobody has spent of a policy's cap: `observe policies` lists the caps, docs/policies.md says how to write one",
}


class BudgetsScreen(ListPage):
    """A line for each agent that spends, and for each supervisor with a budget for its tree; or one a class; or for what policies cap."""

    BINDINGS: ClassVar = bindings_of("budgets")
    page_name = "budgets"
    found: BudgetPage | None
    filter_bar: FilterBar
    headline: PieceLines
    interval_s = 2.0

    def __init__(self) -> None:
        super().__init__(id="budgets")
        self.by: BudgetsBy = "owner"
        self.sort: BudgetsSort = "share"
        self.filter_bar = FilterBar("words of a name or class", agents=False)
        self.headline = PieceLines()
        self.view = LineView(Folds())

    async def fetch(self) -> None:
        """What was spent; an answer to an older question is passed over."""
        asked = by, sort, text = self.by, self.sort, self.filter
        found = await self.observer.attachment.ask(
            lambda node: node.budgets(by=by, sort=sort, text=text, limit=LIMIT)
        )
        if found is not None and asked == (self.by, self.sort, self.filter):
            self.found = found
            self.draw()

    def draw(self) -> None:
        """Make the lines anew."""
        width = self.view.text_width
        self.headline.show(heading_pieces(self.sort, width, self.by))
        found = self.found
        if found is None:
            lines = [Line("none", ((self.not_yet, "dim"),))]
        elif not found.lines:
            none = "none matches" if self.filter else NOBODY[self.by]
            lines = [Line("none", ((none, "dim"),))]
        else:
            lines = [line for one in found.lines for line in spent_lines(one, self.view.folds, width)]
        self.view.show(lines)
        if self.shown:
            self.observer.show_where()

    def where(self) -> list[Piece]:
        """What is spent a minute by all, and how many are near a limit."""
        found = self.found
        if found is None:
            return [("asking for the budgets …", "dim")]
        pieces: list[Piece] = []
        if found.tokens_min is None:
            pieces.append(("rates follow  ", "dim"))
        else:
            text = f"{short_count(found.tokens_min)} tokens, {money(found.cost_min)} a minute  "
            pieces.append((text, "strong"))
            pieces.append((f"over {duration(found.over_s)}  ", "dim"))
        pieces.append((f"{plural(found.total, *NOUNS[self.by])}  ", "dim"))
        if found.nearly:
            pieces.append((f"▲ {count(found.nearly)} nearly spent  ", "warn"))
        if self.filter:
            pieces.append((f"{count(found.matched)} match {self.filter}  ", "dim"))
        pieces.append((f"by {SORT_NAMES[self.sort]}  ", "dim"))
        if found.elsewhere:
            pieces.append((f"{count(found.elsewhere)} in workers not seen  ", "dim"))
        if found.left_out:
            pieces.append((f"{count(found.left_out)} not looked at  ", "warn"))
        return pieces

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """The lines in full."""
        return list(COLUMNS), [row(one) for one in self.found.lines] if self.found is not None else []

    def targets(self) -> Sequence[Identity | int]:
        """The agent or supervisor of the line."""
        line = self.view.current
        return (line.pid,) if line is not None and line.pid is not None else ()

    def _asked_anew(self) -> None:
        self.found = None
        self.draw()
        self.poller.wake()

    def action_next_sort(self) -> None:
        """By the next column."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self._asked_anew()

    def action_by_class(self) -> None:
        """A line for each class; again, for each that spends of a policy's cap; again, for each agent."""
        self.by = BYS[(BYS.index(self.by) + 1) % len(BYS)]
        self.view.reset()
        self._asked_anew()

    def action_open(self) -> None:
        """Open the agent; of a class, its agents in the table; of a cap that several spend of, unfold its limits."""
        line = self.view.current
        if line is None:
            return
        kind, _, key = line.key.removeprefix("budget/").partition("/")
        if line.pid is not None:
            self.observer.visit_pid(line.pid)
        elif kind == "class":
            self.observer.show_filtered(f"class={key.partition('/')[0]}")
        elif kind == "cap":
            self.view.action_unfold()
