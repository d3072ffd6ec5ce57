"""The findings: what the node has diagnosed of itself, each with its evidence and what to do about it."""

from __future__ import annotations

from typing import ClassVar

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.findings import check_of, finding_page_lines
from observe.console.format import plural
from observe.console.lines import Folds
from observe.console.navigation import Place
from observe.console.pages.list_page import ListPage
from observe.console.widgets.line_view import LineView


class FindingsPage(ListPage):
    """What is wrong, why, and who is behind it."""

    BINDINGS: ClassVar = bindings_of("findings")
    page_name = "findings"

    def __init__(self) -> None:
        super().__init__(id="findings")
        self.folds = Folds()
        self.view = LineView(self.folds)

    def enter(self, place: Place) -> None:
        """Show them; they are asked for by the attachment, also while nobody looks at this page."""
        self.draw()
        self.view.focus()
        self.observer.attachment.findings.wake()
        super().enter(place)

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.observer.node.vitals is not None

    def node_changed(self) -> None:
        """Findings or vital signs came."""
        self.draw()
        if self.has_picture:
            self.painted()

    def draw(self) -> None:
        """Make the lines anew."""
        node = self.observer.node
        calm = node.verdict() if node.signs.at else "asking …"
        now = node.node_now(node.clock())
        self.view.show(finding_page_lines(node.findings, calm, self.folds, self.view.text_width, now))
        if self.shown:
            self.observer.show_where()

    def where(self) -> list[Piece]:
        """How many there are, and were."""
        node = self.observer.node
        pieces: list[Piece] = []
        pieces.append((f"{plural(len(node.findings), 'finding')}  ", "strong"))
        if node.told is not None:
            pieces.append((f"{node.told.begun:,} since the start  ", "dim"))
        return pieces

    def _number(self) -> int | None:
        line = self.view.current
        check = check_of(line.key) if line is not None else ""
        numbers = [n for n, one in enumerate(self.observer.node.findings) if one.check == check]
        return numbers[0] if numbers else None

    def action_open(self) -> None:
        """The worst agent; of a finding about none, or on its line of agents, the table of those concerned."""
        line, number = self.view.current, self._number()
        if line is None or number is None:
            return
        finding = self.observer.node.findings[number]
        if finding.pid and not line.key.endswith("/agents"):
            self.observer.visit_pid(finding.pid)
        elif finding.check in ("crashes", "one_cause"):
            self.observer.show_crash_group(str(finding.evidence.get("fingerprint", "")))
        else:
            self.observer.show_finding(number)

    def targets(self) -> list[int]:
        """The agent on the line, else the worst."""
        number, line = self._number(), self.view.current
        if number is None or line is None:
            return []
        pid = line.pid or self.observer.node.findings[number].pid
        return [pid] if pid else []

    def action_table(self) -> None:
        """All agents concerned, in the table."""
        number = self._number()
        if number is not None:
            self.observer.show_finding(number)
