"""Every message and value of the attach protocol, as docs/protocol.md describes it. No input, no output.

What a client asks is read strictly: wrong types and unknown keys are refused. What a node tells is read with tolerance
for keys that we do not know, so that a later version can add some. `to_wire()` makes the map that goes into a frame.

Times of the clock are Unix time in seconds; durations end in `_s` and are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from observe.probe import (
    wire_actions,
    wire_approvals,
    wire_audit,
    wire_budgets,
    wire_code,
    wire_console,
    wire_letters,
    wire_log,
    wire_names,
    wire_policies,
    wire_reload,
    wire_tasks,
    wire_traces,
)
from observe.probe.wire_base import (
    COMMAND_HORIZON_S,
    AgentArgument,
    AgentName,
    Asked,
    Command,
    Frame,
    Pid,
    Role,
    Told,
    Traced,
    class_name_field,
)
from observe.probe.wire_conversations import ConversationLine
from observe.probe.wire_lost import Lost
from observe.probe.wire_standing import (
    BudgetLine,
    CheckpointLine,
    LadderLine,
    PastActivity,
    RiskLine,
    TieLines,
)

__all__ = [
    "COMMAND_HORIZON_S",
    "AgentArgument",
    "AgentName",
    "Asked",
    "Command",
    "Frame",
    "Pid",
    "Role",
    "Told",
]
"""Of `wire_base`, for those who know this module alone."""

PROTOCOL_VERSION: Final = 1
PROTOCOL_VERSIONS: Final[tuple[int, ...]] = (1,)
"""All that this installation speaks, for `hello` and for cards."""

STATUS_NAMES: Final = ("starting", "idle", "runnable", "running", "waiting", "suspended", "exited", "frozen")
"""The index is the status number of the feed."""

COLUMNS: Final = (
    "pid", "name", "class", "status", "status_s", "mailbox", "mailbox_max", "handled", "rate", "reductions", "load",
    "restarts", "crashes", "activity", "activity_s", "age_s", "supervisor", "child", "process", "containment",
    "restarts_min", "crashes_min", "risk", "tokens", "cost",
)  # fmt: skip
"""The columns of the agents table in their order. docs/protocol.md says what each means."""

TEXT_COLUMNS: Final = frozenset({"name", "class", "status", "activity", "child", "containment"})

LEVELS: Final = ("none", "monitored", "restricted", "isolated", "suspended", "killed")
"""Of containment, each further than the one before."""

MAX_ROWS: Final = 1000
"""The most rows in one page: about 200 kB. A screen shows fifty."""

MAX_HISTORY_S: Final = 600.0
"""How far back the history of the vital signs goes."""

# -- envelopes ---------------------------------------------------------------------------------------------------------


class Request(Asked):
    """Client to server."""

    v: int
    """Protocol version of this frame."""
    id: int = Field(ge=1, le=2**53)
    """Unique in the connection; the reply repeats it."""
    verb: str = Field(max_length=64)
    args: dict[str, Any] = Field(default_factory=dict)


class ErrorBody(Told):
    """Why a request was not done."""

    code: str
    message: str
    hint: str = ""


class Reply(Told):
    """Server to client, once for each request."""

    id: int
    """That of the request; 0 when the request could not be read that far."""
    ok: bool
    result: dict[str, Any] | None = None
    error: ErrorBody | None = None
    receipt: str = ""
    """Of a command: the audit log's newest signed checkpoint, which covers what is recorded of the command."""


class Push(Told):
    """Server to client, for a subscription."""

    sub: int
    seq: int
    """Counts the pushes of this subscription from 1, by 1."""
    dropped: int = 0
    """Items (events) or pictures (agents, vitals) left out since the push before."""
    data: dict[str, Any]


# -- arguments ---------------------------------------------------------------------------------------------------------


class NoArgs(Asked):
    """For verbs that take none."""


class HelloArgs(Asked):
    versions: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(min_length=1, max_length=32)
    """Versions that the client speaks; the server chooses the highest that both do."""
    client: str = Field(default="", max_length=128)
    """What the client calls itself, for people: `observe ps 4711`, with its process id last."""
    version: str = Field(default="", max_length=64)
    """Of the client."""
    user: str = Field(default="", max_length=128)
    """For whom it says that it runs. Recorded as what was said, beside the key that proves who it is."""


class VitalsArgs(Asked):
    history_s: float = Field(default=0.0, ge=0.0, le=MAX_HISTORY_S)


class Query(Asked):
    """Which agents to show, in which order."""

    sort: str = Field(default="reductions", max_length=64)
    """A column; unknown ones are answered with `no_such_column`."""
    descending: bool = True
    filter: str = Field(default="", max_length=1024)
    """Terms that must all hold, in the language of `observe.probe.filters` (docs/filters.md)."""
    offset: int = Field(default=0, ge=0, lt=2**53)
    limit: int = Field(default=50, ge=0, le=MAX_ROWS)
    columns: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=64)
    """Which columns to send and in which order; None for all."""


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


class DeathsArgs(Asked):
    limit: int = Field(default=1, ge=0, le=20)


class WatchArgs(Asked):
    what: Literal["agents", "vitals", "events", "tape"]
    query: Query | None = None
    """For agents only."""
    interval_s: float = Field(default=0.5, ge=0.05, le=3600.0)
    credit: int = Field(default=2, ge=0, le=1000)
    """How many pushes may be sent before the client gives more credit."""


class RewatchArgs(Asked):
    sub: int
    query: Query


class CreditArgs(Asked):
    sub: int
    n: int = Field(ge=1, le=1000)


class UnwatchArgs(Asked):
    sub: int


class WhereArgs(Asked):
    node: str = Field(min_length=1, max_length=63)
    """Name without the host."""


class KillArgs(Command):
    agent: AgentArgument


# -- values ------------------------------------------------------------------------------------------------------------


class NodeInfo(Told):
    name: str
    """`shop@host`."""
    incarnation: str
    pid: int
    """Of the service, as the operating system counts."""
    host: str
    started_at: float
    now: float
    """The server's clock. Commands expire by it."""
    python: str
    version: str
    """Of observe."""
    state: str
    """`up`, `held` (something holds the scheduler), `dead` (gone without a word) or `stopped` (on purpose)."""
    agents: int
    probe_pid: int


class Welcome(Told):
    """The result of `hello`."""

    version: int
    role: str
    node: NodeInfo


class Pong(Told):
    now: float


class Page(Told):
    """A window of the agents table."""

    columns: list[str]
    rows: list[list[Any]]
    matched: int
    """Rows that passed the filter."""
    total: int
    """Live agents."""
    at: float
    """When the newest telemetry in it was gathered."""
    offset: int

    def as_dicts(self) -> list[dict[str, Any]]:
        """The rows, each as a map from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_wire(self) -> dict[str, Any]:
        """As in `Told`, without a copy of each row."""
        return dict(self.__dict__)


class Stack(Told):
    pid: int
    status: str
    frames: list[Frame]
    """Outermost first."""
    waiting_on: str | None = None
    """What the innermost await waits for."""
    note: str = ""


class Held(Told):
    """Who holds the scheduler. Nothing else on the node runs meanwhile."""

    pid: int
    """The agent; 0 when it is other code on the loop's thread."""
    name: str | None = None
    class_name: str = class_name_field()
    since_s: float
    where: str
    """`python`: other threads still run beside it; `c`: C code that keeps the GIL; `stopped`: its process is stopped;
    `starved`: its process gets no processor. More may come."""
    stack: list[Frame] = Field(default_factory=list)


class Vitals(Told):
    """The vital signs of a node."""

    at: float
    state: str
    agents: int
    rate: float
    """Messages handled a second."""
    run_queue: int
    """Agents that are ready to run. Steadily above 0: the scheduler cannot keep up."""
    use: float
    """Share of time for which the scheduler was busy, 0 to 1."""
    lag_s: float
    """How late the loop ran its last timer."""
    memory: int
    """Resident bytes of the service's process."""
    cpu: float
    """Share of one core, all threads of the service; above 1 when several run."""
    crashes_min: int
    """In the last 60 s, as are `restarts_min`."""
    restarts_min: int
    tokens_min: int = 0
    """That activities have used which have ended in the last 60 s, as is `cost_min`; also in worker processes."""
    cost_min: float = 0.0
    spawned: int
    exited: int
    probe_cost: float
    """Share of a core that telemetry took from the scheduler."""
    probe_budget: float = 0.0
    """Share that it may take; 0 when that is not known. Kept by slowing telemetry down."""
    probe_tick_s: float = 0.0
    """Seconds between two ticks of telemetry at present."""
    probe_cpu: float = 0.0
    """Share of a core that the probe itself took, beside the service."""
    held: Held | None = None
    cause: str = ""
    """Of a node that is gone: why, in one line. `deaths` has the whole report."""
    lost: Lost | None = None
    """What was left out; None: not known."""
    history: dict[str, list[float]] = Field(default_factory=dict)
    """For each number above one value a second, oldest first."""


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


class Event(Told):
    """Something that happened on the node."""

    seq: int
    at: float
    kind: str
    """`spawn`, `exit`, `crash`, `restart`, `finding`, `rung`, `limit`, `governed` or `node`."""
    pid: int = 0
    name: str | None = None
    class_name: str | None = Field(default=None, validation_alias="class", serialization_alias="class")
    text: str
    """A line for people."""
    reason: str | None = None
    fingerprint: str | None = None


class Events(Told):
    """The data of a push of an `events` watch."""

    events: list[Event]


class TapePiece(Told):
    """The data of a push of a `tape` watch."""

    records: bytes
    """The next bytes of a recording, without the eight at its beginning."""


class Where(Told):
    """The result of `where`."""

    node: str
    port: int


class Subscription(Told):
    """The result of `watch` and `rewatch`."""

    sub: int


# -- the table of verbs ------------------------------------------------------------------------------------------------

VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "hello": ("viewer", HelloArgs),
    "ping": ("viewer", NoArgs),
    "vitals": ("viewer", VitalsArgs),
    "agents": ("viewer", Query),
    "inspect": ("viewer", InspectArgs),
    "stack": ("viewer", StackArgs),
    "tree": ("viewer", TreeArgs),
    "crashes": ("viewer", CrashesArgs),
    "deaths": ("viewer", DeathsArgs),
    "findings": ("viewer", NoArgs),
    "consoles": ("viewer", NoArgs),
    "workers": ("viewer", NoArgs),
    "watch": ("viewer", WatchArgs),
    "rewatch": ("viewer", RewatchArgs),
    "credit": ("viewer", CreditArgs),
    "unwatch": ("viewer", UnwatchArgs),
    **wire_audit.VERBS,
    "where": ("viewer", WhereArgs),
    "kill": ("operator", KillArgs),
    **wire_actions.VERBS,
    **wire_approvals.VERBS,
    **wire_policies.VERBS,
    **wire_reload.VERBS,
    **wire_tasks.VERBS,
    **wire_console.VERBS,
    **wire_traces.VERBS,
    **wire_code.VERBS,
    **wire_log.VERBS,
    **wire_letters.VERBS,
    **wire_budgets.VERBS,
    **wire_names.VERBS,
    "yield": ("admin", NoArgs),
}
"""Every verb that exists, the role that it takes at least, and its arguments. Nothing else can be reached."""
