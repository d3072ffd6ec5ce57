"""Asks what to listen to, and within which bounds. Without bounds there is no session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, Static

from observe.console.trace_asked import Wanted, kinds, per_second, seconds
from observe.console.widgets.question import Question

FIELDS: Final = (
    ("selector", "listen to", "", "42, cart-*, class:Session, under:carts, group:NAME, finding:NAME"),
    ("events", "events", "", "send, call, receive, reply, handled, crash, state …; empty: the usual"),
    ("where", "where", "", 'took_ms > 50 and message.kind == "refund"; empty: all'),
    ("count", "at most", "1000", "events"),
    ("for", "for", "60s", "10s, 500ms or 2m"),
    ("rate", "at most", "1000/s", "events a second; more are counted and left out"),
    ("reason", "reason", "", "for the record"),
)
"""Name, label, what stands in it at first, what an empty one says."""

SEVERAL: Final = ", "
"""Between selectors: a session each."""


class TraceDialog(Question[None]):
    """`start` begins the sessions and returns why not, or nothing."""

    DEFAULT_CSS = """
    TraceDialog > Vertical { width: 78; }
    TraceDialog Horizontal { height: 1; }
    TraceDialog Label { width: 11; color: $text-muted; }
    TraceDialog Input, TraceDialog Input:focus { margin: 0; }
    TraceDialog #hint { margin: 1 0 0 0; }
    """

    def __init__(self, selector: str, reason: str, start: Callable[[list[Wanted]], Awaitable[str]]) -> None:
        super().__init__()
        self._given = {"selector": selector, "reason": reason}
        self._start = start

    def compose(self) -> ComposeResult:
        box = Vertical(classes="careful")
        box.border_title = "Listen to agents"
        with box:
            for name, label, value, hint in FIELDS:
                with Horizontal():
                    yield Label(label)
                    yield Input(self._given.get(name, value), placeholder=hint, id=f"want-{name}", max_length=500,
                                compact=True, select_on_focus=False)  # fmt: skip
            yield Static(id="hint")

    def on_mount(self) -> None:
        """The keys go to the first field that wants something."""
        self.query_one("#want-events" if self._given["selector"] else "#want-selector", Input).focus()
        self._say("Enter begins    Tab goes to the next field    Esc leaves", "dim")

    def _say(self, text: str, tone: str) -> None:
        self.put("hint", [[(text, tone)]])

    def wanted(self) -> list[Wanted]:
        """What stands in the fields.

        Raises:
            ValueError: one of them cannot be read.
        """
        said = {name: self.query_one(f"#want-{name}", Input).value.strip() for name, *_ in FIELDS}
        selectors = [one.strip() for one in said["selector"].split(SEVERAL) if one.strip()]
        if not selectors:
            raise ValueError("say whom to listen to: a pid, cart-*, class:Session, under:carts …")
        if not said["count"].isdigit():
            raise ValueError(f"{said['count']!r} is no number of events; write 1000")
        return [
            Wanted(one, kinds(said["events"]), said["where"], int(said["count"]), seconds(said["for"]),
                   per_second(said["rate"]), said["reason"])
            for one in selectors
        ]  # fmt: skip

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            wanted = self.wanted()
        except ValueError as error:
            self._say(str(error), "warn")
            return
        self._say("asking the node …", "dim")
        self.run_worker(self._begin(wanted), group="begin", exclusive=True)

    async def _begin(self, wanted: list[Wanted]) -> None:
        refused = await self._start(wanted)
        if not self.is_attached:
            return
        if refused:
            self._say(refused, "warn")
        else:
            self.dismiss(None)
