"""Looking into the running code as it crosses the wire: calls of one function, and where time goes. No input, no output."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from observe.probe.wire_base import AgentArgument, Asked, Command, Role, Told, class_name_field


class TraceFunctionArgs(Command):
    """Which function, and the bounds without which there is no session."""

    function: str = Field(min_length=3, max_length=300)
    """`module:function` or `module:Class.method`, of a module that is loaded."""
    max: int = Field(default=100, ge=1, le=100_000)
    """Calls after which it ends."""
    for_s: float = Field(default=10.0, gt=0.0, le=600.0)
    rate: float = Field(default=100.0, gt=0.0, le=10_000.0)
    """Calls a second; more are counted and left out."""
    interval_s: float = Field(default=0.1, ge=0.02, le=60.0)


class ProfileArgs(Command):
    """Where time goes, for so long."""

    agent: AgentArgument | None = None
    """Only this one, also while it waits; None: all that runs."""
    for_s: float = Field(default=5.0, gt=0.0, le=120.0)
    rate: float = Field(default=100.0, ge=1.0, le=1000.0)
    """Samples a second."""


class CodeStarted(Told):
    """The result of both. Pushes of the subscription follow; the last event in them has the kind `end`."""

    sub: int
    place: str = ""
    """The function and its place, as they were found."""


class FunctionCall(Told):
    """One call of a traced function."""

    n: int
    at: float
    """When it began."""
    kind: str
    """`call`, or `end` of the session."""
    pid: int
    """The agent in whose step it was called; 0 when it was other code."""
    name: str | None = None
    class_name: str = class_name_field()
    how: str = ""
    """`returned`, `raised`, `closed` (a generator that was given up) or `open` (not ended when the session did)."""
    arguments: dict[str, Any] | None = None
    """A **value** whose parts are the arguments."""
    value: dict[str, Any] | None = None
    """What it returned: a **value**."""
    error: str = ""
    took_s: float | None = None
    caller: str = ""
    """Function and line that called it."""
    thread: str = ""
    """Empty: the main thread."""
    text: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The map for a frame or a file: what does not apply is left out."""
        return self.model_dump(by_alias=True, exclude_defaults=True)


class FunctionCalls(Told):
    """The data of a push of a session on a function."""

    events: list[FunctionCall]


class ProfileEvent(Told):
    """A stack and how often it was seen; the sums (`profile`); or the `end`."""

    n: int
    kind: str
    pid: int
    name: str | None = None
    """Whose it was: the agent's name or class, `event loop`, or `thread NAME`."""
    how: str = ""
    """`runs` or `waits`."""
    stack: list[str] = Field(default_factory=list)
    """Functions, outermost first."""
    count: int = 0
    samples: int = 0
    idle: int = 0
    others: int = 0
    took_s: float = 0.0
    cost_s: float = 0.0
    text: str = ""


class ProfileEvents(Told):
    """The data of a push of a profile."""

    events: list[ProfileEvent]


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "trace_function": ("operator", TraceFunctionArgs),
    "profile": ("operator", ProfileArgs),
}
