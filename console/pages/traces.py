"""Trace sessions: what chosen agents send, receive, answer and do, as lines, as a sequence chart or as a waterfall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final, Literal, get_args

from pydantic import ValidationError
from textual import on
from textual.app import ComposeResult

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import clock
from observe.console.lines import Folds, Line
from observe.console.navigation import Place
from observe.console.pages.list_page import ListPage
from observe.console.trace_asked import Wanted
from observe.console.trace_feed import MOST_SESSIONS, Feed, Session
from observe.console.trace_save import saved
from observe.console.trace_view import chart_lines, session_lines, session_of, waterfall_lines, where_pieces
from observe.console.widgets.export_dialog import ExportDialog
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.errors import AttachError
from observe.probe.tracing_client import Trace

Drawing = Literal["lines", "chart", "waterfall"]
DRAWINGS: Final[tuple[Drawing, ...]] = get_args(Drawing)

MOST: Final[dict[Drawing, int]] = {"lines": 500, "chart": 200, "waterfall": 200}
"""Events shown, or drawn: the newest that pass the filter. All that are kept can be saved."""

LISTED: Final = 6
"""Lines for the sessions."""


class TracesPage(ListPage):
    """The sessions above, what the chosen one hears below. They go on while other pages are looked at."""

    DEFAULT_CSS = """
    TracesPage #trace-sessions { height: auto; }
    TracesPage #trace-events { height: 1fr; }
    """
    BINDINGS: ClassVar = bindings_of("traces")
    page_name = "traces"
    filter_bar: FilterBar
    headline: PieceLines
    interval_s = 0.25

    def __init__(self) -> None:
        super().__init__(id="traces")
        self.feed = Feed()
        self.drawing: Drawing = "lines"
        self.newest_first = False
        self._traces: dict[int, Trace] = {}
        self._chosen: int | None = None
        self._matched = 0
        self._drawn: object = None
        self.filter_bar = FilterBar("words that are on the line, -word for those that are not", agents=False)
        self.sessions = LineView(Folds(), id="trace-sessions")
        self.headline = PieceLines()
        self.view = LineView(Folds(), id="trace-events")

    def compose(self) -> ComposeResult:
        yield self.filter_bar
        yield self.sessions
        yield self.headline
        yield self.view

    @property
    def has_picture(self) -> bool:
        """Always: what is heard is told, and not asked for."""
        return True

    def enter(self, place: Place) -> None:
        """To the events, if there are any to come."""
        super().enter(place)
        if not self.feed.sessions:
            self.sessions.focus()

    # -- sessions

    @property
    def chosen(self) -> Session | None:
        """The session whose events are shown."""
        return self.feed.numbered(self._chosen)

    async def start(self, wanted: list[Wanted]) -> str:
        """Begin sessions. Returns why not, or nothing."""
        for one in wanted:
            if self.feed.is_full:
                return f"{MOST_SESSIONS} sessions are listening: X stops one"
            node = self.observer.attachment.node
            if node is None:
                return "the node is not attached"
            try:
                trace = await node.trace(
                    one.selector, events=one.events, where=one.where, count=one.count, for_s=one.for_s, rate=one.rate,
                    reason=one.reason,
                )  # fmt: skip
            except ValidationError as error:
                fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
                return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            except AttachError as error:
                return f"{one.selector}: {error}" + (f" ({error.hint})" if error.hint else "")
            session = self.feed.begin(one, trace.agents, self.observer.node.clock())
            self._chosen = session.number
            self._traces[session.number] = trace
            self.run_worker(self._listen(session, trace), group="listen")
        self.observer.visit(Place("traces"))
        self.view.focus()
        self.draw()
        return ""

    async def _listen(self, session: Session, trace: Trace) -> None:
        try:
            async with trace:
                async for push in trace:
                    session.take(push.data.events, trace.dropped)
            why = trace.ended or "stopped here"
        except AttachError as error:
            why = str(error)
        session.end(why, self.observer.node.clock())
        self._traces.pop(session.number, None)
        self.draw()

    async def action_stop(self) -> None:
        """End the chosen session; one that has ended is taken off the list."""
        session = self.chosen
        if session is None:
            self.observer.say("there is no session to stop", "warn")
            return
        trace = self._traces.get(session.number)
        if trace is not None:
            session.end("stopped here", self.observer.node.clock())
            await trace.close()
        elif session.ended:
            self.feed.forget(session)
            self._chosen = self.feed.sessions[-1].number if self.feed.sessions else None
        self.draw()

    # -- drawing

    async def fetch(self) -> None:
        """What was heard meanwhile. The node is asked for nothing: it tells."""
        self.draw()

    def draw(self) -> None:
        """Make the lines anew, if anything is new."""
        if not self.is_mounted or (self.observer.paused and self._drawn is not None):
            return
        now = self.observer.node.clock()
        lines = session_lines(self.feed.sessions, self.sessions.text_width, now)
        self.sessions.styles.height = min(len(lines), LISTED if self.feed.sessions else len(lines))
        self.sessions.show(lines)
        row = next(
            (n for n, line in enumerate(lines) if self._chosen and session_of(line) == self._chosen), None
        )
        if row is not None and session_of(self.sessions.current) != self._chosen:
            self.sessions.go_to(row)
        session = self.chosen
        state = (session and (session.number, session.heard), self.filter, self.drawing, self.newest_first, self.view.text_width)  # fmt: skip
        if state != self._drawn:
            self._drawn = state
            self._draw_events(session)
        if self.shown:
            self.observer.show_where()

    def _draw_events(self, session: Session | None) -> None:
        view, width = self.view, self.view.text_width
        self.headline.display = session is not None
        if session is None:
            view.show([])
            return
        found = session.newest(self.filter, MOST[self.drawing])
        self._matched = sum(1 for _ in session.matching(self.filter)) if self.filter else len(session.kept)
        if self.drawing != "lines":
            draw = chart_lines if self.drawing == "chart" else waterfall_lines
            head, lines = draw([one.event for one in found], width)
            self.headline.show([(f"  {head}", "heading")])
        else:
            lines = [one.line for one in found]
            self.headline.show([(f"  {'time':<12}  who, what, to or from whom", "heading")])
        if self.newest_first:
            lines.reverse()
        if not lines:
            text = "nothing heard passes the filter" if self.filter and session.heard else "listening …"
            lines = [Line("none", ((text if not session.ended else "nothing was heard", "dim"),))]
        at_end = view.cursor >= len(view.lines) - 1
        at_top = view.cursor == 0
        view.show(lines)
        if self.newest_first and at_top:
            view.go_to(0)
        elif not self.newest_first and at_end:
            view.go_to(len(lines) - 1)

    def where(self) -> list[Piece]:
        """How many sessions, and how much was heard."""
        return where_pieces(self.feed.sessions, self.chosen, self.filter, self._matched)

    def _anew(self) -> None:
        self.view.reset()
        self._drawn = None
        self.draw()

    # -- keys

    def narrow(self, text: str) -> None:
        """Show events that match; they are all here."""
        self.filter = text
        self._anew()

    def action_chart(self) -> None:
        """Lines, a chart, or a waterfall."""
        self.drawing = DRAWINGS[(DRAWINGS.index(self.drawing) + 1) % len(DRAWINGS)]
        self._anew()

    def action_order(self) -> None:
        """The newest at the bottom or at the top."""
        self.newest_first = not self.newest_first
        self._anew()

    def action_save(self) -> None:
        """Write what the chosen session keeps into a file."""
        session = self.chosen
        if session is None:
            self.observer.say("there is no session to save", "warn")
            return
        node, observer = self.observer.node, self.observer
        events = [one.event for one in session.matching(self.filter)][::-1]
        name = f"trace-{node.name.partition('@')[0]}-{session.number}-{clock(node.clock())}.jsonl"
        write: Callable[[Path], int] = lambda path: saved(path, node.name, session.wanted.selector, events)
        dialog = ExportDialog(
            name.replace(":", ""), write, f"Write {len(events):,} events into a file",
            "its end says what: .jsonl for `observe trace show`, .mmd .svg .txt .otlp",
        )  # fmt: skip
        observer.push_screen(dialog, lambda text: observer.say(text, "good") if text else None)

    def action_copy(self) -> None:
        """Put the line on the clipboard."""
        line = self.sessions.current if self.sessions.has_focus else self.view.current
        if line is not None:
            self.observer.copy(line.full or line.text.strip())

    @on(LineView.Moved)
    def _session_chosen(self, event: LineView.Moved) -> None:
        number = session_of(event.line) if event.view is self.sessions else None
        if number is not None and number != self._chosen:
            self._chosen = number
            self._anew()

    def action_open(self) -> None:
        """From a session to its events; there, go to the agent on the line."""
        line = self.view.current
        if self.sessions.has_focus:
            self.view.focus()
        elif line is not None and line.pid is not None:
            self.observer.visit_pid(line.pid)
