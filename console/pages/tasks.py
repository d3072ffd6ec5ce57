"""The asyncio tasks of the service, agents' or not; below, where the chosen one stands."""

from __future__ import annotations

from typing import ClassVar, Final

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import plural
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.task_lines import detail_lines, task_lines, task_of
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.probe.client import NodeClient
from observe.probe.errors import RemoteError
from observe.probe.wire_tasks import TaskDetail, TaskLine, TasksPage

LIMIT: Final = 500
"""Tasks asked for; a filter finds the others."""

ORDERS: Final = (("id", False), ("age_s", True), ("state", False), ("coroutine", False), ("place", False))
"""Columns to sort by, and whether downwards, in the order of the key."""


class TasksScreen(ListPage):
    """What runs on the event loop beside the agents."""

    DEFAULT_CSS = """
    TasksScreen #task-list { height: 3fr; }
    TasksScreen #task-stack { height: 2fr; border-top: hkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("tasks")
    page_name = "tasks"
    found: TasksPage | None
    filter_bar: FilterBar
    below: LineView

    def __init__(self) -> None:
        super().__init__(id="tasks")
        self.detail: TaskDetail | None = None
        self._order = 0
        self._shown_below = 0
        self.filter_bar = FilterBar(
            "name, coroutine, state, wait or place;  state=waiting  age_s>10m  waiting_on~Lock", agents=False
        )
        self.view = LineView(Folds(), id="task-list")
        self.below = LineView(Folds(), id="task-stack")

    async def fetch(self) -> None:
        """The tasks, and the chosen one's stack."""
        text, (sort, descending) = self.filter, ORDERS[self._order]
        found = await self.observer.attachment.ask(
            lambda node: node.tasks(text, sort=sort, descending=descending, limit=LIMIT)
        )
        if found is None or text != self.filter:
            return
        self.found = found
        self.draw()
        chosen = self.chosen
        self.detail = await self._opened(chosen.id) if chosen is not None else None
        self.draw_below()

    async def _opened(self, task: int) -> TaskDetail | None:
        async def request(node: NodeClient) -> TaskDetail | None:
            try:
                return await node.task(task)
            except RemoteError as error:
                if error.code != "no_such_task":
                    raise
                return None  # it has ended since the list was made, as most do sooner or later

        return await self.observer.attachment.ask(request)

    @property
    def chosen(self) -> TaskLine | None:
        """The task on the line of the cursor."""
        line = self.view.current
        number = task_of(line.key) if line is not None else None
        found = self.found.tasks if self.found is not None else []
        return next((one for one in found if one.id == number), None)

    def draw(self) -> None:
        """Make the lines anew."""
        found = self.found
        if found is None:
            lines = [Line("none", ((self.not_yet, "dim"),))]
        elif not found.tasks:
            lines = [Line("none", (("no task matches" if self.filter else "no tasks", "dim"),))]
        else:
            lines = task_lines(found.tasks, self.view.text_width)
        first = not self.view.lines or task_of(self.view.lines[-1].key) is None
        self.view.show(lines)
        if first and len(self.view.lines) > 1:
            self.view.go_to(1)
        if self.shown:
            self.observer.show_where()

    def draw_below(self) -> None:
        chosen, detail = self.chosen, self.detail
        if detail is not None and (chosen is None or detail.task.id != chosen.id):
            detail = None
        if detail is None:
            self._shown_below = 0
            self.below.reset()
            self.below.show([Line("none", (("" if chosen is None else "asking …", "dim"),))])
            return
        lines = detail_lines(detail)
        if self._shown_below != detail.task.id:
            self._shown_below = detail.task.id
            self.below.reset()
        self.below.show(lines)

    def where(self) -> list[Piece]:
        """How many there are, and what is unusual."""
        found = self.found
        if found is None:
            return [("asking for the tasks …", "dim")]
        pieces: list[Piece] = []
        if self.filter:
            pieces.append((f"{found.matched:,} of {plural(found.total, 'task')}", "strong"))
            pieces.append((f" match {self.filter}  ", "dim"))
        else:
            pieces.append((f"{plural(found.total, 'task')}  ", "strong"))
        if found.matched > len(found.tasks):
            pieces.append((f"{len(found.tasks):,} shown  ", "dim"))
        pieces.append((f"by {ORDERS[self._order][0]}  ", "dim"))
        if found.rings:
            pieces.append((f"{found.rings:,} wait in a ring  ", "bad"))
        if not found.recorded:
            pieces.append(("creators are not recorded: Node(tasks=True)  ", "dim"))
        return pieces

    # -- the filter and the order

    def action_order(self) -> None:
        """Sort by the next column."""
        self._order = (self._order + 1) % len(ORDERS)
        self.poller.wake()

    # -- the lines

    def moved(self, line: Line) -> None:
        """What it says in full is asked for."""
        super().moved(line)
        self.poller.wake()

    def action_open(self) -> None:
        """To the stack; there, go to the agent on the line."""
        line = self.below.current
        if not self.below.has_focus:
            self.below.focus()
        elif line is not None and line.pid is not None:
            self.observer.visit_pid(line.pid)

    def action_cancel_task(self) -> None:
        """Ask the chosen task to cancel, after a question."""
        chosen = self.chosen
        if chosen is None:
            return
        if chosen.protected:
            self.observer.say(f"{chosen.name} cannot be cancelled: {chosen.protected}", "warn")
        else:
            self.observer.ask_to_cancel(chosen)
