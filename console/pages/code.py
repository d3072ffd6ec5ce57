"""The loaded code: modules of the project, what has changed on the disk, and whom a reload would touch."""

from __future__ import annotations

from typing import ClassVar

from observe.console.bindings import bindings_of
from observe.console.code_lines import detail_lines, headings, module_lines, module_of, where_pieces
from observe.console.columns import Piece
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.client import NodeClient
from observe.probe.errors import RemoteError
from observe.probe.filters import quote
from observe.probe.wire_reload import LoadedCode, ModuleLine


class CodePage(ListPage):
    """Modules above, those that have changed first; the difference of the chosen one below."""

    DEFAULT_CSS = """
    CodePage #code-modules { height: 2fr; }
    CodePage #code-module { height: 3fr; border-top: hkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("code")
    page_name = "code"
    found: LoadedCode | None
    filter_bar: FilterBar
    headline: PieceLines
    below: LineView

    def __init__(self) -> None:
        super().__init__(id="code")
        self.only_changed = False
        self.marked: set[str] = set()
        self._diff_of: tuple[str, float | None] = ("", None)
        self._diff: list[str] = []
        self._shown_below = ""
        self._to_show = ""
        """The module that was just reloaded, until it is shown as it is now."""
        self.filter_bar = FilterBar("part of a module's name or of a class", agents=False)
        self.headline = PieceLines()
        self.view = LineView(Folds(), id="code-modules")
        self.below = LineView(Folds(), id="code-module")

    async def fetch(self) -> None:
        """The modules; and of the chosen one the difference, when it is another one than is shown."""
        chosen = self.chosen
        wanted = chosen if chosen is not None and chosen.state == "changed" and self._is_new(chosen) else None
        found = await self._asked(wanted.name if wanted is not None else "")
        if found is None:
            return
        self.found, to_show = found, self._to_show
        if wanted is not None:
            now = next((one for one in found.modules if one.name == wanted.name), wanted)
            self._diff_of, self._diff = (now.name, now.changed_at), found.diff
        self.marked &= {one.name for one in found.modules}
        self.draw()
        if to_show == self._to_show:
            self._to_show = ""
        chosen = self.chosen
        if chosen is not None and chosen.state == "changed" and self._is_new(chosen):
            self.poller.wake()

    def _is_new(self, one: ModuleLine) -> bool:
        return self._diff_of != (one.name, one.changed_at)

    async def _asked(self, diff: str) -> LoadedCode | None:
        async def request(node: NodeClient) -> LoadedCode:
            try:
                return await node.code(diff)
            except RemoteError as error:
                if not diff or error.code != "refused":
                    raise
                return await node.code()  # it was unloaded, or its file taken away, since it was listed

        return await self.observer.attachment.ask(request)

    # -- drawing

    @property
    def modules(self) -> list[ModuleLine]:
        """Those that pass the filter: what has changed, then what was reloaded, then of what agents live."""
        text = self.filter.casefold()
        found = [
            one
            for one in (self.found.modules if self.found is not None else ())
            if (not self.only_changed or one.state != "same")
            and (text in one.name.casefold() or any(text in name.casefold() for name in one.classes))
        ]
        return sorted(found, key=lambda one: (one.state == "same", one.version == 1, not one.agents))

    @property
    def chosen(self) -> ModuleLine | None:
        """The module on the line of the cursor."""
        name = module_of(self.view.current)
        return next((one for one in self.modules if one.name == name), None)

    def draw(self) -> None:
        """Make the lines anew."""
        width = self.view.text_width
        self.headline.show(headings(width))
        lines = module_lines(self.modules, self.marked, width)
        if not lines:
            none = (
                self.not_yet
                if self.found is None
                else "no module matches"
                if self.found.total
                else "no module of the project"
            )
            lines = [Line("none", ((none, "dim"),))]
        self.view.show(lines)
        if self._to_show:
            self._show_line(self._to_show)
        self.draw_below()
        if self.shown:
            self.observer.show_where()

    def _show_line(self, name: str) -> None:
        for place, line in enumerate(self.view.lines):
            if module_of(line) == name:
                self.view.go_to(place)

    def draw_below(self) -> None:
        chosen = self.chosen
        name = chosen.name if chosen is not None else ""
        if name != self._shown_below:
            self._shown_below = name
            self.below.reset()
        if chosen is None:
            self.below.show([])
            return
        diff = None if self._diff_of[0] != chosen.name else self._diff
        self.below.show(detail_lines(chosen, diff, self.observer.node.node_now(self.observer.node.clock())))

    def where(self) -> list[Piece]:
        """How many modules, and how many of them have changed."""
        shown = len(self.modules)
        return where_pieces(self.found, shown, self.filter, len(self.marked), self.only_changed)

    # -- the filter

    @property
    def is_narrowed(self) -> bool:
        """By the filter, or to what has changed."""
        return self.only_changed or super().is_narrowed

    def widen(self) -> None:
        """All modules."""
        self.only_changed = False
        super().widen()

    def narrow(self, text: str) -> None:
        """Show modules that match; they are all here."""
        self.filter = text.strip()
        self.view.reset()
        self.draw()

    def action_only_changed(self) -> None:
        """Only what is another on the disk, or all."""
        self.only_changed = not self.only_changed
        self.view.reset()
        self.draw()

    # -- acting

    def action_mark(self) -> None:
        """Mark the module, or unmark it, and go to the next."""
        chosen = self.chosen
        if chosen is not None:
            self.marked ^= {chosen.name}
            self.draw()
            self.view.action_line_down()

    def action_reload(self) -> None:
        """Reload the marked modules, or the chosen one: first what that would touch."""
        chosen = self.chosen
        names = sorted(self.marked) or ([chosen.name] if chosen is not None else [])
        if not names:
            self.observer.say("there is no module on this line", "warn")
        else:
            self.observer.ask_to_reload(names, rollback=False, done=self._reloaded)

    def action_rollback(self) -> None:
        """Undo the newest reload, after a question."""
        if self.found is None or not self.found.undoes:
            self.observer.say("nothing was reloaded that could be undone", "warn")
        else:
            self.observer.ask_to_reload(self.found.undoes, rollback=True, done=self._reloaded)

    def _reloaded(self, changed: bool | None) -> None:
        if changed:
            chosen = self.chosen
            self._to_show = min(self.marked, default=chosen.name if chosen is not None else "")
            self.marked.clear()
        self.poller.wake()

    # -- the lines

    def moved(self, line: Line) -> None:
        """What it says in full is asked for."""
        super().moved(line)
        self.poller.wake()

    def action_open(self) -> None:
        """To the difference."""
        self.below.focus()

    def action_agents(self) -> None:
        """The agents of the module's classes in the table."""
        chosen = self.chosen
        if chosen is None or not chosen.classes:
            self.observer.say("no class of agents is in this module", "warn")
        else:
            names = ",".join(quote(name.rpartition(".")[2]) for name in chosen.classes)
            self.observer.show_filtered(f"class={names}")

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """The modules that pass the filter, for a file."""
        columns = ["module", "version", "state", "lines", "added", "removed", "agents", "classes", "file"]
        return columns, [
            [
                one.name,
                one.version,
                one.state,
                one.lines,
                one.added,
                one.removed,
                one.agents,
                dict(one.classes),
                one.file,
            ]
            for one in self.modules
        ]
