"""The attach protocol, as docs/protocol.md describes it: its envelopes, what is asked of the node itself, and the table of all
verbs, whose messages are in `wire_*.py`. No input, no output.

What a client asks is read strictly: wrong types and unknown keys are refused. What a node tells is read with tolerance
for keys that we do not know, so that a later version can add some. `to_wire()` makes the map that goes into a frame.

Times of the clock are Unix time in seconds; durations end in `_s` and are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from observe.probe import (
    wire_actions,
    wire_agent,
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
    wire_table,
    wire_tasks,
    wire_traces,
    wire_watches,
)
from observe.probe.wire_base import Asked, Frame, Role, Told, class_name_field
from observe.probe.wire_lost import Lost

PROTOCOL_VERSION: Final = 1
PROTOCOL_VERSIONS: Final[tuple[int, ...]] = (1,)
"""All that this installation speaks, for `hello` and for cards."""

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


class DeathsArgs(Asked):
    limit: int = Field(default=1, ge=0, le=20)


class WhereArgs(Asked):
    node: str = Field(min_length=1, max_length=63)
    """Name without the host."""


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


class Where(Told):
    """The result of `where`."""

    node: str
    port: int


# -- the table of verbs ------------------------------------------------------------------------------------------------

VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "hello": ("viewer", HelloArgs),
    "ping": ("viewer", NoArgs),
    "vitals": ("viewer", VitalsArgs),
    **wire_table.VERBS,
    **wire_agent.VERBS,
    "deaths": ("viewer", DeathsArgs),
    "findings": ("viewer", NoArgs),
    "consoles": ("viewer", NoArgs),
    "workers": ("viewer", NoArgs),
    **wire_watches.VERBS,
    **wire_audit.VERBS,
    "where": ("viewer", WhereArgs),
    "kill": ("operator", wire_agent.KillArgs),
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
