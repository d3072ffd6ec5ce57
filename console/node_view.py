"""What the console knows of the node as a whole: the connection, its state, vital signs and findings. Pure.

Times called `now` are this machine's; `skew_s` turns them into the node's clock, by which its times are told.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import Literal

from observe.console.control import Hand, Taken
from observe.console.crash_groups import Group, group
from observe.console.findings import Finding, verdict, worst_first
from observe.console.format import NODE_GLYPHS, ago, clock, duration, one_line
from observe.console.signs import SIGNS, Signs
from observe.probe.held_where import held_by_system
from observe.probe.verbs_findings import StandingFindings
from observe.probe.wire import Held, NodeInfo, Vitals
from observe.probe.wire_agent import Crashes

LinkState = Literal["connecting", "up", "lost"]

STALE_S = 5.0
"""Age of the newest telemetry from which on the header says how old it is: ten ticks of the slowest kind."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How it is with the node, for the first line of the screen."""

    state: str
    """`up`, `held`, `dead`, `stopped`, `lost` or `connecting`."""

    word: str
    tone: str
    ground: Literal["header", "warn", "bad"]
    """What is behind the line."""

    text: str
    """What there is to say first."""

    more: str = ""
    """What there is to say next, when all is not well; it takes the place of the line of findings."""

    @property
    def glyph(self) -> str:
        """The state as a shape, for those who cannot tell its colour."""
        return NODE_GLYPHS.get(self.state, "?")


@dataclass(slots=True)
class NodeView(Hand):
    """The node as a whole."""

    target: str
    """What the person asked for."""

    readonly: bool = False
    """Chosen at the start, for good."""

    control: Taken | None = None
    """None: this console only looks, whatever its key allows."""

    clock: Callable[[], float] = time
    """This machine's clock."""

    role: str = ""
    link: LinkState = "connecting"
    link_text: str = ""
    link_since: float = 0.0
    info: NodeInfo | None = None
    vitals: Vitals | None = None
    vitals_came: float = 0.0
    """When the vital signs came, by this machine's clock: ages go on ticking from then."""

    left_out: int = 0
    """Events and pictures that the node left out for this console."""

    signs: Signs = field(default_factory=Signs)
    skew_s: float = 0.0
    """The node's clock less ours."""

    told: StandingFindings | None = None
    """What the node has diagnosed of itself; None: not asked yet."""

    groups: list[Group] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """All that is wrong, worst first."""

    @property
    def name(self) -> str:
        """The node's full name, once it is known."""
        return self.info.name if self.info else self.target

    def node_now(self, now: float) -> float:
        """The node's clock."""
        return now + self.skew_s

    def attached(self, info: NodeInfo, role: str, now: float) -> None:
        """The first connection stands."""
        self.role = role
        self.linked("up", "", info, now)

    def linked(self, state: LinkState, text: str, info: NodeInfo | None, now: float) -> bool:
        """The connection changed. Returns whether another incarnation of the node is at the other end."""
        if (state == "up") != (self.link == "up"):
            self.link_since = now  # between "lost" and "connecting" it goes back and forth with each attempt
        self.link, self.link_text = state, text
        if info is None:
            return False
        other = self.info is not None and self.info.incarnation != info.incarnation
        self.info, self.skew_s = info, info.now - now
        if other:
            self.forget()
        return other

    def forget(self) -> None:
        """What was seen is of another time: another incarnation of the node, or another moment of a recording."""
        self.signs, self.vitals = Signs(), None
        self.told, self.groups, self.findings = None, [], []

    def took_vitals(self, vitals: Vitals, now: float) -> None:
        """The newest vital signs."""
        self.vitals, self.vitals_came = vitals, now
        values = {name: float(getattr(vitals, name)) for name in SIGNS}
        self.signs.fold(vitals.at, values, vitals.history)
        self._judge()

    def took_findings(self, told: StandingFindings | None, crashes: Crashes | None, now: float) -> None:
        """What the node says is wrong, and what has crashed; what could not be asked stays as it was."""
        if told is not None:
            self.told = told
        if crashes is not None:
            recent = [crash for crash in crashes.crashes if self.node_now(now) - crash.at < 120]
            self.groups = group(recent)
        self._judge()

    def _judge(self) -> None:
        self.findings = worst_first(self.signs, self.told.findings if self.told else (), self.groups)

    def verdict(self) -> str:
        """What to say when nothing is wrong."""
        return verdict(self.signs, self.findings)

    def held(self, now: float) -> Held | None:
        """Who holds the scheduler, its time ticking on."""
        held = self.vitals.held if self.vitals else None
        if held is None:
            return None
        return held.model_copy(update={"since_s": held.since_s + max(0.0, now - self.vitals_came)})

    def picture_age(self, now: float) -> float:
        """Seconds since the newest telemetry was gathered."""
        return max(0.0, self.node_now(now) - self.signs.at) if self.signs.at else 0.0

    def _last_picture(self, now: float) -> str:
        if not self.signs.at:
            return "nothing was seen of it yet"
        return f"last picture {clock(self.signs.at)}, {ago(self.picture_age(now))}"

    def standing(self, now: float) -> Standing:
        """How it is with the node."""
        if self.link == "connecting" and self.vitals is None:
            return Standing("connecting", "CONNECTING", "warn", "header", f"to {self.target} …")
        state = self.vitals.state if self.vitals else self.info.state if self.info else "up"
        pid = self.info.pid if self.info else 0
        more = self._last_picture(now)
        if self.link != "up" and state not in ("dead", "stopped"):
            text = one_line(self.link_text) or "the connection is gone"
            since = duration(max(0.0, now - self.link_since))
            return Standing("lost", "LOST", "bad", "bad", f"reconnecting for {since}", f"{text}; {more}")
        if self.link != "up":
            more += "; its probe has gone as well: waiting for the node to come back"
        if state == "dead":
            cause = one_line(self.vitals.cause) if self.vitals else ""
            return Standing("dead", "DEAD", "bad", "bad", f"process {pid} {cause or 'is gone'}", more)
        if state == "stopped":
            return Standing("stopped", "STOPPED", "warn", "warn", "on purpose", more)
        held = self.held(now)
        if state == "held" or held is not None:
            return Standing("held", "HELD", "bad", "bad", *self._held_text(held))
        text = ""
        if self.info is not None:
            text = duration(max(0.0, self.node_now(now) - self.info.started_at))
        if self.picture_age(now) > STALE_S:
            return Standing("up", "UP", "warn", "header", f"{text}  {more}")
        return Standing("up", "UP", "good", "header", text)

    def _held_text(self, held: Held | None) -> tuple[str, str]:
        if held is None:
            return "by an agent or other code", "nothing else on the node runs meanwhile"
        if system := held_by_system(held.where):
            return f"for {duration(held.since_s)}", f"by {system}"
        who = f"{held.name or held.class_name} #{held.pid}" if held.pid else "code outside any agent"
        where = "C code that keeps the GIL" if held.where == "c" else "Python code that does not give way"
        place = ""
        if held.stack:
            inner = held.stack[-1]
            place = f" in {inner.function} ({inner.file.rpartition('/')[2]}:{inner.line})"
        return f"by {one_line(who)} for {duration(held.since_s)}", f"{where}{place}   h opens it"

    @property
    def is_fresh(self) -> bool:
        """Whether what is shown is how it is now, rather than the last picture of a node that is gone."""
        return self.link == "up" and (self.vitals is None or self.vitals.state not in ("dead", "stopped"))
