"""One agent: all about it, its code, its values, its crashes, what is below it; and its end."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from observe.probe.wire_base import (
    AgentArgument,
    AgentName,
    Asked,
    Command,
    Frame,
    Role,
    Told,
    Traced,
    class_name_field,
)
from observe.probe.wire_conversations import ConversationLine
from observe.probe.wire_standing import (
    BudgetLine,
    CheckpointLine,
    LadderLine,
    PastActivity,
    RiskLine,
    TieLines,
)


class InspectArgs(Asked):
    agent: AgentArgument
    max_items: int = Field(default=100, ge=0, le=1000)
    """The most parts shown of each container, and messages of the mailbox."""
    locals: bool = False
    """Tell the local variables of its last crash as well."""

    def to_wire(self) -> dict[str, Any]:
        """Without what is not asked for: nodes of earlier versions do not know it."""
        fields = super().to_wire()
        return fields if self.locals else {name: part for name, part in fields.items() if name != "locals"}


class StackArgs(Asked):
    agent: AgentArgument


class TreeArgs(Asked):
    root: AgentArgument | None = None
    """Where to start; None for the node's root supervisor."""
    depth: int = Field(default=8, ge=0, le=24)
    max_children: int = Field(default=50, ge=0, le=1000)
    """The most children shown of each supervisor; `children_total` counts all."""


class CrashesArgs(Asked):
    limit: int = Field(default=50, ge=0, le=1000)


class KillArgs(Command):
    agent: AgentArgument


class Stack(Told):
    pid: int
    status: str
    frames: list[Frame]
    """Outermost first."""
    waiting_on: str | None = None
    """What the innermost await waits for."""
    note: str = ""


class Value(Told):
    """A Python value as it crosses the wire: bounded, cut, masked."""

    type: str
    text: str
    """A bounded `repr`."""
    size: int | None = None
    """Length, of something that has one."""
    items: list[Annotated[tuple[str, Value], Field(strict=False)]] | None = None
    """Parts of a container or object."""
    more: int | None = None
    """Parts left out."""
    cut: bool | None = None
    """`text` is not all of it."""
    error: str | None = None
    """Its `repr` raised."""
    masked: bool | None = None
    """It looked like a secret."""

    @model_serializer(mode="wrap")
    def _sparse(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what does not apply: most values have a type and a text and no more."""
        return {key: part for key, part in dump(self).items() if part is not None}


class Crash(Told):
    at: float
    pid: int
    name: str | None = None
    class_name: str = class_name_field()
    child: str
    supervisor: int
    reason: str
    """One line."""
    kind: str
    """The exception's type."""
    traceback: str
    message: Value | None = None
    """What it was handling."""
    fingerprint: str
    """The same for crashes of one type at one place."""
    restarted: int | None = None
    """Pid of its successor, once there is one."""


class CrashFrame(Told):
    """One frame of a crash with its local variables."""

    file: str
    line: int
    function: str
    values: Value


class Crashes(Told):
    crashes: list[Crash]
    """Newest first."""
    total: int
    """Since the probe started, also those that it no longer holds."""


class ChildLine(AgentName):
    status: str
    child: str
    restarts: int


class ActivityLine(Told):
    name: str
    since_s: float
    attributes: dict[str, Any] = Field(default_factory=dict)


class Detail(Told):
    """Everything about one agent."""

    agent: dict[str, Any]
    """All columns of the agents table."""
    module: str = ""
    doc: str = ""
    """First line of the class's docstring."""
    supervisor: AgentName | None = None
    children: list[ChildLine] = Field(default_factory=list)
    children_total: int = 0
    spec: dict[str, Any] | None = None
    """The child spec by which it was started."""
    state: Value | None = None
    conversations: list[ConversationLine] = Field(default_factory=list)
    mailbox: list[Value] = Field(default_factory=list)
    """Oldest first."""
    mailbox_total: int = 0
    stack: Stack | None = None
    last_crash: Crash | None = None
    activities: list[ActivityLine] = Field(default_factory=list)
    past: list[PastActivity] = Field(default_factory=list)
    """Activities that have ended, of the agent and those before it in its place; the newest first."""
    past_for_s: float | None = None
    """For how long they have been noted: since somebody looked at the agent."""
    crash_locals: list[CrashFrame] | None = None
    """Of the last crash, outermost first; None when they were not asked for or not kept."""
    locals_note: str = ""
    """Why they were not kept."""
    ties: TieLines | None = None
    """Links, monitors, groups."""
    risk: RiskLine | None = None
    """None of a supervisor, and where nothing is known of its class yet."""
    ladder: LadderLine | None = None
    checkpoint: CheckpointLine | None = None
    budget: BudgetLine | None = None
    """Its own; without a budget, what it has used of models, if anything."""
    budgets_above: list[BudgetLine] = Field(default_factory=list)
    """Of supervisors above, whose trees it is charged to; the nearest first."""
    note: str = ""
    """Why something is missing, when something is."""


class Branch(Told):
    """An agent and what is below it."""

    pid: int
    name: str | None = None
    class_name: str = class_name_field()
    status: str
    child: str
    restarts: int
    crashes: int
    mailbox: int
    strategy: str | None = None
    """Of a supervisor; None for others, and while the node cannot be asked."""
    intensity: int | None = None
    period_s: float | None = None
    restarts_within: int | None = None
    """Restarts within the last `period_s`. One more than `intensity`, and the supervisor gives up."""
    containment: str = "none"
    children: list[Branch] = Field(default_factory=list)
    children_total: int = 0
    by_status: dict[str, int] = Field(default_factory=dict)
    """How many of all its children are in each status."""


class Outcome(Traced):
    """What became of a command."""

    done: bool
    what: str
    """One line for people."""
    pid: int
    reason: str
    """The exit reason as the runtime saw it."""
    took_s: float


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "inspect": ("viewer", InspectArgs),
    "stack": ("viewer", StackArgs),
    "tree": ("viewer", TreeArgs),
    "crashes": ("viewer", CrashesArgs),
}
