"""The two painting widgets on their own: what is painted when, and where the cursor and the view stay."""

from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult

from observe.console.columns import NAMES
from observe.console.lines import Folds, Line
from observe.console.state import AgentsView
from observe.console.widgets.agents_table import AgentsTable
from observe.console.widgets.line_view import LineView
from tests.console.test_state import answer, row


class TableApp(App[None]):
    """The table and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.view = AgentsView()
        self.table = AgentsTable(self.view)
        self.wanted = 0

    def compose(self) -> ComposeResult:
        yield self.table

    def on_agents_table_rows_wanted(self) -> None:
        self.wanted += 1


class LinesApp(App[None]):
    """A view of lines and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = LineView(Folds())

    def compose(self) -> ComposeResult:
        yield self.lines


def count_painted(widget: Any) -> list[int]:
    """The numbers of the lines that the widget is asked to paint from here on."""
    painted: list[int] = []
    paint = widget.render_line

    def counting(y: int) -> Any:
        painted.append(y)
        return paint(y)

    widget.render_line = counting
    return painted


def count_rows_made(table: AgentsTable) -> list[int]:
    """The pids of the rows that are painted anew from here on; the others keep the lines that they have."""
    made: list[int] = []
    paint = table.painted

    def counting(tones: Any, one: Any, *rest: Any) -> Any:
        made.append(one[0])
        return paint(tones, one, *rest)

    table.painted = counting  # type: ignore[method-assign, assignment]  # looked at from outside
    return made


async def test_a_million_rows_are_a_screenful_of_lines() -> None:
    """The table is as tall as the agents are many; it paints what is in sight."""
    app = TableApp()
    async with app.run_test(size=(80, 24)) as pilot:
        ask = app.view.ask()
        rows = [row(number) for number in range(1, ask.limit + 1)]
        change = app.view.fold(ask, list(NAMES), rows, matched=1_000_000, total=1_000_000, at=1.0, now=0.0)
        assert change is not None
        painted = count_painted(app.table)
        app.table.show(change)
        await pilot.pause()
        assert app.table.virtual_size.height == 1_000_001
        assert set(painted) == set(range(24))
        app.table.choose(999_999)
        await pilot.pause()
        assert app.view.top == 1_000_000 - 23
        assert app.wanted > 0


async def test_moving_the_cursor_paints_two_lines() -> None:
    """A key on a slow line costs as little as it can."""
    app = TableApp()
    async with app.run_test(size=(80, 24)) as pilot:
        change = answer(app.view, list(range(1, 101)))
        assert change is not None
        app.table.show(change)
        await pilot.pause()
        painted = count_rows_made(app.table)
        app.table.move(1)
        await pilot.pause()
        assert set(painted) == {1, 2}


async def test_a_picture_in_which_one_agent_changed_paints_one_line() -> None:
    """Twice a second, on four hundred agents at rest."""
    app = TableApp()
    async with app.run_test(size=(80, 24)) as pilot:
        change = answer(app.view, list(range(1, 101)))
        assert change is not None
        app.table.show(change)
        await pilot.pause()
        painted = count_rows_made(app.table)
        ask = app.view.ask()
        rows = [row(n, mailbox=9 if n == 5 else 0) for n in range(1, 1 + ask.limit)]
        change = app.view.fold(ask, list(NAMES), rows, matched=100, total=100, at=2.0, now=0.0)
        assert change is not None
        app.table.show(change)
        await pilot.pause()
        assert set(painted) == {5}


async def test_a_row_that_is_scrolled_is_not_painted_anew() -> None:
    """Held down, a key scrolls thirty times a second."""
    app = TableApp()
    async with app.run_test(size=(80, 24)) as pilot:
        change = answer(app.view, list(range(1, 101)))
        assert change is not None
        app.table.show(change)
        await pilot.pause()
        app.table.choose(22)
        await pilot.pause()
        made = count_rows_made(app.table)
        app.table.move(1)
        await pilot.pause()
        assert app.view.top == 1
        assert set(made) == {23, 24}  # which was chosen, and which is now


async def test_of_a_changed_row_only_the_cells_that_differ_go_to_the_terminal() -> None:
    """Name, class and place in the tree never change, and are half of the line."""
    app = TableApp()
    async with app.run_test(size=(200, 24)) as pilot:
        change = answer(app.view, list(range(1, 101)))
        assert change is not None
        app.table.show(change)
        await pilot.pause()
        regions: list[Any] = []
        app.table.refresh = lambda *given, **_: regions.extend(given)  # type: ignore[assignment, method-assign]  # looked at from outside
        ask = app.view.ask()
        rows = [row(n, mailbox=9 if n == 5 else 0) for n in range(1, 1 + ask.limit)]
        change = app.view.fold(ask, list(NAMES), rows, matched=100, total=100, at=2.0, now=0.0)
        assert change is not None
        app.table.show(change)
        [region] = regions
        assert (region.y, region.height) == (5, 1)
        shown = app.table.render_line(5).text
        assert shown[region.x : region.right].split() == ["9"]
        assert region.width < 20


async def test_the_table_follows_the_size_of_the_screen() -> None:
    """Somebody makes the window larger in the middle of the night."""
    app = TableApp()
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.view.height == 23
        await pilot.resize_terminal(120, 50)
        await pilot.pause()
        assert app.view.height == 49


def numbered(*numbers: int) -> list[Line]:
    return [Line(f"k{number}", ((f"line {number}", "text"),)) for number in numbers]


async def test_lines_above_come_and_go_and_what_is_read_stays_where_it_is() -> None:
    """A mailbox that fills above the traceback must not push it off the screen."""
    app = LinesApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.lines.show(numbered(*range(50)))
        await pilot.pause()
        app.lines.go_to(30)
        await pilot.pause()
        on_screen = 30 - app.lines.scroll_offset.y
        app.lines.show(numbered(100, 101, 102, *range(50)))
        await pilot.pause()
        assert app.lines.current is not None
        assert app.lines.current.key == "k30"
        assert app.lines.cursor - app.lines.scroll_offset.y == on_screen


async def test_only_lines_that_differ_are_painted() -> None:
    """A page at rest costs nothing."""
    app = LinesApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.lines.show(numbered(*range(8)))
        await pilot.pause()
        painted = count_painted(app.lines)
        changed = numbered(*range(8))
        changed[3] = Line("k3", (("line three", "text"),))
        app.lines.show(changed)
        await pilot.pause()
        assert set(painted) == {3}


async def test_a_line_that_is_too_long_ends_in_an_ellipsis() -> None:
    """So that one knows there is more."""
    app = LinesApp()
    async with app.run_test(size=(20, 5)) as pilot:
        app.lines.show([Line("k", (("x" * 50, "text"),)), Line("j", (("好" * 30, "text"),))])
        await pilot.pause()
        assert app.lines.render_line(0).text == "  " + "x" * 17 + "…"
        assert app.lines.render_line(1).cell_length == 20
