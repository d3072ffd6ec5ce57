"""What a service and its own probe say to each other: feed and control link.

docs/protocol.md, sections 2 and 3. Both ends come from one installation, so there is no version here; the probe still
reads every frame strictly, because a fault in a service must not become a fault of the probe beside it.
"""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from observe.probe.wire_base import Pid

Number = Pid
"""A counter or clock reading that must fit a column of 64 bits."""

SPAWN_WIDTH: Final = 8
"""Columns of a `spawn` row: pid, class, name, supervisor, child, restarts, crashes, process."""

LODGERS: Final = 10**12
"""From here on pids are given by worker processes, to the items of a `supervised_map`."""

OLD_SPAWN_WIDTH: Final = 7
"""Without `process`, in recordings of before there was that column."""

ROWS_WIDTH: Final = 9
"""Columns of a `rows` row: pid, status, mailbox, mailbox_max, handled, reductions, since_us, activity,
activity_since_us."""

MAX_FRAME_ROWS: Final = 200_000
"""The most rows that one frame of the feed may hold: at 72 bytes a row just under the size of a frame."""


class FeedFrame(BaseModel):
    """What all frames of the feed have in common."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    seq: int = Field(ge=1)


class HelloFrame(FeedFrame):
    """First after each connection and each resync; everything alive follows."""

    node: str
    host: str
    incarnation: str
    pid: int
    started_at: float
    python: str
    version: str
    mono_us: Number
    wall: float
    """The same moment as `mono_us`, on the wall clock."""


class StringsFrame(FeedFrame):
    """Texts numbered `base`, `base` + 1, …"""

    base: int = Field(ge=1)
    texts: list[str]


class SpawnFrame(FeedFrame):
    n: int = Field(ge=0, le=MAX_FRAME_ROWS)
    data: bytes


class RowsFrame(FeedFrame):
    mono_us: Number
    n: int = Field(ge=0, le=MAX_FRAME_ROWS)
    data: bytes


class ExitFrame(FeedFrame):
    n: int = Field(ge=0, le=MAX_FRAME_ROWS * 10)
    data: bytes


class CrashFrame(FeedFrame):
    """A crash, as clients see it but for its successor."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    at: float
    pid: Pid
    name: str | None = None
    class_name: str = Field(alias="class")
    child: str
    supervisor: Pid
    reason: str
    kind: str
    traceback: str
    message: dict[str, Any] | None = None
    fingerprint: str


class RestartFrame(FeedFrame):
    at: float
    pid: Pid
    old: Pid
    supervisor: Pid = 0


class FindingFrame(FeedFrame):
    at: float
    kind: str
    pid: Pid = 0
    text: str
    cleared: bool = False
    """What was found is over."""
    class_name: str = Field(default="", alias="class")
    name: str | None = None
    stack: list[str] = Field(default_factory=list)
    """Where the agent was, outermost first."""


class ConcernFrame(FeedFrame):
    """A trouble of an agent that the service alone can see; the probe judges it."""

    at: float
    kind: str
    pid: Pid = 0
    amount: float
    text: str
    evidence: dict[str, Any] = Field(default_factory=dict)
    over: bool = False


class Done(BaseModel):
    """Activities of one name that have ended, of agents of one class."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    class_name: str = Field(alias="class")
    activity: str
    counts: list[Number]
    """Bucket, how many, bucket, how many, …"""
    total_us: Number = 0
    errors: Number = 0
    input_tokens: Number = 0
    output_tokens: Number = 0
    cost: float = 0.0


class DurationsFrame(FeedFrame):
    """How long activities took that have ended since the last such frame."""

    entries: list[Done]


class SpentFrame(FeedFrame):
    """What agents have used of models since they were started, or their budgets were renewed: of those of which it has changed."""

    pids: list[Pid] = Field(max_length=100_000)
    tokens: list[Number] = Field(max_length=100_000)
    costs: list[float] = Field(max_length=100_000)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not len(self.pids) == len(self.tokens) == len(self.costs):
            raise ValueError("columns of different lengths")
        if any(cost < 0 for cost in self.costs):
            raise ValueError("a cost below 0")
        return self


class RungFrame(FeedFrame):
    """A child with a ladder has failed, and this rung is taken."""

    at: float
    pid: Pid
    """Of the agent that failed."""
    supervisor: Pid
    child: str
    rung: str
    attempt: Number
    text: str


class LimitFrame(FeedFrame):
    """An agent, or the supervisor of a tree, has reached a limit of its budget."""

    at: float
    pid: Pid
    limit: str
    used: float
    allowed: float
    text: str


TraceId: Final[str] = Field(default="", pattern="^([0-9a-f]{32})?$")
SpanId: Final[str] = Field(default="", pattern="^([0-9a-f]{16})?$")


class GovernedFrame(FeedFrame):
    """Something was decided about what an agent may do; or an agent that is monitored does something."""

    at: float
    pid: Pid
    name: str | None = None
    class_name: str = Field(alias="class")
    what: str
    """`activity`, `send`, `containment`, `violation`, `cap`, `approval`, `policies` and `reload` (of the node, pid 0); of a monitored agent `begin`, `end`, `handled`, `send`."""
    on: str
    """The activity, the recipient, the level."""
    verdict: str = ""
    reason: str = ""
    policy: str = ""
    record: str = ""
    """The `command_id` of its records in the audit log."""
    trace: str = TraceId
    span: str = SpanId
    """Where the agent was in its trace; empty where nothing is traced."""
    facts: dict[str, str] = Field(default_factory=dict, max_length=16)
    """Of a violation: `expected`, `actual`, `state`, `sequence`."""
    standing: bool = False
    """No news: how far the agent is contained, told again after a `hello`."""


class ClassRisk(BaseModel):
    """How much agents of a class could do, as far as it is the same for all of them (docs/risk.md)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    class_name: str = Field(alias="class")
    facts: list[float] = Field(min_length=9, max_length=9)
    """In the order of `observe.runtime.risk.Facts`."""
    declared: float = 0.0


class RisksFrame(FeedFrame):
    """Classes of which more is known than before; after a `hello` all."""

    classes: list[ClassRisk] = Field(max_length=1000)


class VitalsFrame(FeedFrame):
    """Totals since the node started, but for `agents`, `run_queue` and `lag_us`."""

    mono_us: Number
    agents: Number
    handled: Number
    run_queue: Number
    busy_us: Number
    lag_us: Number
    spawned: Number
    exited: Number
    crashes: Number
    restarts: Number
    cost_us: Number
    dead_letters: Number = 0
    tasks: Number = 0
    """Of asyncio in the service's process, as is; 0 when that is not known."""
    pause_us: Number = 0
    """From the newest tick of telemetry to the next."""
    lost: Number | None = None
    """Frames that were not taken in time; None: an earlier version wrote this, as for the next."""
    dropped_facts: Number | None = None
    spans: dict[str, Any] | None = None
    """A `SpanAccount`, of a node that is traced."""


class WorkersFrame(FeedFrame):
    """All worker processes that live, about once a second while there are any."""

    workers: list[dict[str, Any]] = Field(max_length=2048)
    """Of each: `number`, `serial` (never used again on this node), `os_pid` (0: it is being started), `isolated`, `agents`, `handled`, `waiting_bytes`, `limits` (for
    people), `started_at`."""


class FarRowsFrame(FeedFrame):
    """Rows of agents of a worker, told by itself; the activity is a place in `texts`, from 1. Each frame stands for itself;
    `seq` counts those of this worker."""

    worker: int = Field(ge=1)
    """Serial number of the process."""
    mono_us: Number
    n: int = Field(ge=0, le=MAX_FRAME_ROWS)
    data: bytes
    texts: list[str]


class AuditedFrame(FeedFrame):
    """Audited fields of an agent have other values than before."""

    at: float
    pid: Pid
    name: str | None = None
    class_name: str = Field(alias="class")
    how: str = ""
    """`outside of a message`, where no message was being handled."""
    diff: list[dict[str, str]]
    """`path` as a JSON pointer, `old` and `new` as `inspect` shows them."""
    trace: str = TraceId
    span: str = SpanId


class TraceFrame(FeedFrame):
    """Events of a trace session."""

    session: int
    events: list[dict[str, Any]]
    dropped: int = 0
    """Left out before them."""


class OpenSpan(BaseModel):
    """What is needed to end a span in the place of who began it."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    trace: str = Field(pattern="^[0-9a-f]{32}$")
    span: int = Field(gt=0, lt=1 << 64)
    parent: int = Field(default=0, ge=0, lt=1 << 64)
    """0: it is the root."""
    parent_remote: bool = False
    state: str = Field(default="", max_length=512)
    flags: int = Field(default=1, ge=0, lt=256)
    name: str = Field(max_length=300)
    kind: int = Field(default=0, ge=0, le=4)
    """As OpenTelemetry's Python API numbers them: from 0, INTERNAL."""
    start_ns: Number
    scope: str = Field(default="", max_length=300)
    attributes: dict[str, bool | int | float | str] = Field(default_factory=dict, max_length=64)
    process: int = Field(default=0, ge=0)
    """The worker's serial; 0: it is of the node's own process."""


class SpanProcess(BaseModel):
    """A worker process whose spans are told."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    resource: dict[str, bool | int | float | str] = Field(default_factory=dict, max_length=256)
    page: str = Field(default="", pattern="^[A-Za-z0-9_-]{0,200}$")
    """The name of the file in the node's directory on which it writes down ends."""


SpanEnd = tuple[int, int, int]
"""Span id, Unix nanoseconds (0: its exporter has it), status (0 unset, 1 OK, 2 error)."""


class SpansFrame(FeedFrame):
    """Spans that have been open for half a second, and what became of those that were told before."""

    # Tuples come as lists.
    model_config = ConfigDict(strict=False, extra="ignore", frozen=True, allow_inf_nan=False)

    opened: list[OpenSpan] = Field(max_length=1000)
    ended: list[SpanEnd] = Field(max_length=100_000)
    resource: dict[str, bool | int | float | str] | None = Field(default=None, max_length=256)
    """What they say of their process. In the first frame, in which everything begins anew."""
    processes: dict[str, SpanProcess] = Field(default_factory=dict, max_length=1000)
    """Workers of which spans are told for the first time, by serial."""


class ByeFrame(FeedFrame):
    reason: str = ""


FEED_FRAMES: Final[dict[str, type[FeedFrame]]] = {
    "hello": HelloFrame,
    "strings": StringsFrame,
    "spawn": SpawnFrame,
    "rows": RowsFrame,
    "exit": ExitFrame,
    "crash": CrashFrame,
    "restart": RestartFrame,
    "finding": FindingFrame,
    "rung": RungFrame,
    "limit": LimitFrame,
    "audited": AuditedFrame,
    "governed": GovernedFrame,
    "concern": ConcernFrame,
    "durations": DurationsFrame,
    "risks": RisksFrame,
    "spent": SpentFrame,
    "vitals": VitalsFrame,
    "workers": WorkersFrame,
    "far_rows": FarRowsFrame,
    "trace": TraceFrame,
    "spans": SpansFrame,
    "bye": ByeFrame,
}
"""The model for each `t`."""


class ControlReply(BaseModel):
    """What the service answers on the control link."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    id: int
    ok: bool
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
