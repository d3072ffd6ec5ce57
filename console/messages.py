"""What reaches the screen from the node: workers post these, handlers change the screen.

A newer picture replaces an older one that has not been handled yet, so that a flood of updates costs one repaint.
"""

from dataclasses import dataclass, field
from typing import Literal

from textual.message import Message

from observe.console.columns import Row
from observe.console.state import Ask
from observe.probe.client import NodeClient
from observe.probe.verbs_findings import StandingFindings
from observe.probe.wire import NodeInfo, Vitals
from observe.probe.wire_agent import Crashes
from observe.probe.wire_table import Page
from observe.probe.wire_watches import Event


class Picture(Message):
    """A state of something: only the newest counts."""

    def can_replace(self, message: Message) -> bool:
        """Whether `message`, which came after this one, makes this one superfluous."""
        return type(message) is type(self)


@dataclass
class PageArrived(Picture):
    """Rows of the agents table."""

    ask: Ask
    page: Page
    pinned: list[Row] = field(default_factory=list)
    """Those of the pinned agents that live."""

    ended: list[Row] = field(default_factory=list)
    """Those that ended in sight a moment ago and have no successor."""


@dataclass
class VitalsArrived(Picture):
    """Vital signs; with their past when the connection is fresh."""

    vitals: Vitals

    def can_replace(self, message: Message) -> bool:
        """As in `Picture`, but a past that came along is not lost."""
        return super().can_replace(message) and not self.vitals.history


@dataclass
class FindingsArrived(Picture):
    """What the node has diagnosed of itself, and its newest crashes; None: it could not be asked."""

    findings: StandingFindings | None
    crashes: Crashes | None


@dataclass
class Attached(Message):
    """The first connection stands."""

    node: NodeClient


@dataclass
class LinkChanged(Message):
    """The connection to the node was lost or is back."""

    state: Literal["up", "lost", "connecting"]
    text: str
    info: NodeInfo | None


@dataclass
class Happened(Message):
    """Events on the node, such as restarts."""

    events: list[Event]


@dataclass
class PagePainted(Message):
    """A page has shown its first picture."""


@dataclass
class Failed(Message):
    """The node could not be asked, or said no: a sentence for the status bar."""

    text: str
    hint: str = ""
