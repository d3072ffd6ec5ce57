"""What a service tells its probe at the start. docs/protocol.md, section 5."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from observe.probe.escalation import Anchor, Escalation
from observe.probe.metrics import Metrics
from observe.probe.wire import VERBS
from observe.probe.wire_base import Command, Role


class Accepted(BaseModel):
    """A client key that the node accepts beside that on its card."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=128)
    """Whose it is, for people and the audit log."""
    public_key: str = Field(min_length=40, max_length=40)
    """Z85."""
    role: Role


class Config(BaseModel):
    """What a service tells its probe at the start: one line of JSON on standard input."""

    model_config = ConfigDict(extra="ignore")

    node: str
    """Name without the host."""
    host: str
    incarnation: str
    pid: int
    """Of the service, which is the parent of the probe."""
    feed: str
    """Where the service's PUSH socket is bound, `ipc://…`."""
    workers: str = ""
    """Where the probe binds a Unix datagram socket, on which worker processes tell of their agents; empty: nowhere."""
    control: str
    """Where the service's ROUTER socket is bound, `ipc://…`."""
    directory: str
    """The node's directory, mode 0700."""
    listen: str = "tcp://127.0.0.1:*"
    """Where to bind the attach protocol."""
    port: int | None = None
    """The port that an earlier probe of this incarnation had: bound again if it is free."""
    server_public: str
    server_secret: str
    client_public: str
    client_secret: str
    keys: str = ""
    """The directory of key files whose authorised keys are accepted as well; empty for none."""
    clients: list[Accepted] = Field(default_factory=list)
    """Further keys, with a role each."""
    dump_signal: int | None = None
    """The signal on which the service's `faulthandler` writes all stacks to `stacks`; None when it does not."""
    scheduler_thread: int | None = None
    """`threading.get_ident()` of the loop's thread, to find it among those stacks; None: the main thread."""
    budget: float = 0.0
    """Share of a core that telemetry may take from the scheduler; 0 when that is not known."""
    fresh_s: float = 0.0
    """How long an attach may wait until what has just happened is shown (`observe.probe.greetings`); 0: not at all."""
    linger_s: float = 60.0
    """For how long the last picture is served after the service died."""
    findings_allow: list[str] = Field(default_factory=list)
    """What findings are not to be made of (`observe.probe.allowed`)."""
    metrics: Metrics | None = None
    """Where the node's figures go; None: nowhere."""
    reason_for: list[str] = Field(default_factory=list)
    """Verbs of commands that are refused without a reason; `*` for all."""
    escalations: list[Escalation] = Field(default_factory=list)
    """Who is told of what is wrong."""
    anchor: Anchor | None = None
    """Where the audit log's checkpoints go by themselves; None: nowhere."""
    record: str = ""
    """Directory of the flight recorder; empty: nothing is recorded."""
    keep_bytes: int = 200_000_000
    audit_keeps_personal: bool = False
    """Whether e-mail addresses and the like stand in the audit log."""
    audit_keep_days: float = 400.0
    """For how long the audit log keeps its records."""
    audit: str = ""
    """The directory of the audit log; empty: `audit` in the node's directory."""
    words: str = ""
    """The page of words; empty: `words` in the node's directory."""
    stacks: str = ""
    """The file of stacks; empty: `stacks.txt` in the node's directory."""
    started_at: float = 0.0


def check_commands(verbs: Iterable[str]) -> None:
    """Raise ValueError when one of these is no verb of a command, nor `*`."""
    commands = [verb for verb, (_, model) in VERBS.items() if issubclass(model, Command)]
    unknown = [verb for verb in verbs if verb not in commands and verb != "*"]
    if unknown:
        raise ValueError(
            f"reason_for: {unknown[0]!r} is no command; there are {', '.join(commands)}, and * for all"
        )
