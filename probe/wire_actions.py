"""The actions on agents as they cross the wire: arguments and outcome of each verb. No input, no output."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from observe.probe.wire_base import AgentArgument, Asked, Command, Role, Told, Traced


class AgentCommand(Command):
    """A command about one agent."""

    agent: AgentArgument


class RestartArgs(AgentCommand):
    source: Literal["spec", "checkpoint", "fresh"] = "spec"
    """The successor begins as its child spec says, from the last checkpoint, or by `init`."""


class SendArgs(AgentCommand):
    message: Any
    """A JSON value."""


class EditArgs(AgentCommand):
    field: str = Field(min_length=1, max_length=512)
    """An attribute, or a path below it: `limits.per_day`, `orders.3.price`."""
    value: Any
    """A JSON value; read as the field's type annotation says."""
    dry_run: bool = False
    """Only check it and tell the difference."""


class MailboxArgs(AgentCommand):
    do: Literal["drop", "move"]
    """`drop` makes dead letters of them."""
    oldest: int | None = Field(default=None, ge=1)
    newest: int | None = Field(default=None, ge=1)
    containing: str | None = Field(default=None, min_length=1, max_length=256)
    """A part of the message's text, as `inspect` shows it."""
    everything: bool = False
    to: AgentArgument | None = None
    """For `move`: whose they become."""
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        chosen = [
            self.oldest is not None,
            self.newest is not None,
            self.containing is not None,
            self.everything,
        ]
        if sum(chosen) != 1:
            raise ValueError("give one of oldest, newest, containing, everything")
        if (self.do == "move") != (self.to is not None):
            raise ValueError("`to` belongs to `move`, and to nothing else")
        return self


class CancelActivityArgs(AgentCommand):
    activity: str = Field(default="", max_length=256)
    """Its name; empty for the innermost."""


class DecideArgs(AgentCommand):
    approval: int = Field(default=0, ge=0, lt=2**53)
    """Which of the agent's, by its number; 0 for the only one."""


class ContainArgs(AgentCommand):
    level: Literal["none", "monitored", "restricted", "isolated", "suspended", "killed"]
    subtree: bool = False
    """The agent is a supervisor, and all below it are meant, also those to come."""
    tools: list[Annotated[str, Field(min_length=1, max_length=256)]] | None = Field(
        default=None, max_length=64
    )
    """Of `restricted`: patterns of activities that may begin; None for what the class says."""
    recipients: list[Annotated[str, Field(min_length=1, max_length=256)]] | None = Field(
        default=None, max_length=64
    )
    """Of `restricted`: patterns of names or classes of agents to which it may send; None for what the class says."""
    two_person: bool = False
    """Lowering the level later takes a second key."""


class LogLevelArgs(Command):
    logger: str = Field(default="", max_length=256)
    """Empty for the root logger."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET"]


class CollectGarbageArgs(Command):
    generation: Annotated[int, Field(ge=0, le=2)] = 2


class CanaryArgs(Command):
    """Makes up an agent that is there to be seen."""


class Change(Told):
    """One field that differs."""

    path: str
    """As a JSON pointer: `/limits/per_day`."""
    old: str
    new: str


class Acted(Traced):
    """What became of an action, as the runtime observed it."""

    done: bool
    """False: begun, but not over when the answer had to be given; `what` says what is in the way."""
    what: str
    pid: int = 0
    """The agent's; after a restart its successor's. 0 for an action on the node."""
    took_s: float = 0.0
    dry_run: bool = False
    """Nothing was changed."""
    diff: list[Change] = Field(default_factory=list)
    facts: dict[str, Any] = Field(default_factory=dict)
    """Numbers and names behind `what`; which, depends on the verb."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "suspend": ("operator", AgentCommand),
    "resume": ("operator", AgentCommand),
    "stop": ("operator", AgentCommand),
    "restart": ("operator", RestartArgs),
    "next_rung": ("operator", AgentCommand),
    "send": ("operator", SendArgs),
    "mailbox": ("operator", MailboxArgs),
    "cancel_activity": ("operator", CancelActivityArgs),
    "checkpoint": ("operator", AgentCommand),
    "approve": ("operator", DecideArgs),
    "refuse": ("operator", DecideArgs),
    "contain": ("operator", ContainArgs),
    "reset_budget": ("operator", AgentCommand),
    "edit": ("admin", EditArgs),
    "log_level": ("operator", LogLevelArgs),
    "collect_garbage": ("operator", CollectGarbageArgs),
    "canary": ("operator", CanaryArgs),
}
