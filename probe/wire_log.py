"""Log records of a service as they cross the wire. No input, no output."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from observe.probe.wire_base import AgentArgument, Asked, Pid, Role, Told

LogLevel = Literal["debug", "info", "warning", "error", "critical"]

LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error", "critical")
"""Each more serious than the one before."""

MAX_RECORDS: Final = 500
"""The most in one answer."""


class LogArgs(Asked):
    """Which records to tell."""

    after: int | None = Field(default=None, ge=0, lt=2**53)
    """Only those after this number, the oldest first: `next` of the answer before. None: the newest ones."""
    limit: int = Field(default=100, ge=1, le=MAX_RECORDS)
    level: LogLevel = "debug"
    """The least serious to be told."""
    logger: str = Field(default="", max_length=256)
    """A logger, with those below it."""
    agent: AgentArgument | None = None
    """The pid of the agent that logged, or its name or class; it may have ended."""
    text: str = Field(default="", max_length=256)
    """In the text, a field, the logger, the exception, or the ids of trace and span, whatever the case. Masked texts are searched as they are told."""


class LogLine(Told):
    """One log record."""

    number: int
    """Counts the records of the service since its probe was started first."""
    at: float
    level: str
    """Its name, as the service has it: `WARNING`."""
    severity: int
    """As `logging` counts: 30 is a warning."""
    logger: str
    text: str
    pid: Pid = 0
    """Of the agent in whose step it was logged; 0: outside of all."""
    name: str | None = None
    class_name: str = Field(default="", validation_alias="class", serialization_alias="class")
    task: str = ""
    """The asyncio task in which it was logged, outside of agents."""
    thread: str = ""
    """Empty: the main thread."""
    worker: int = 0
    """Number of the worker process that has logged it; 0: the node's own."""
    place: str = ""
    """`file.py:12 in function`."""
    fields: dict[str, str] = Field(default_factory=dict)
    """What a structured record says besides."""
    trace: str = ""
    """In which trace and span it was logged, in hexadecimal digits; empty for none."""
    span: str = ""
    error: str = ""
    """`ValueError: no lamp`, the exception it came with."""
    traceback: str = ""

    @property
    def agent(self) -> str:
        """The agent's name, or its class and pid; empty outside of agents."""
        return self.name or f"{self.class_name} {self.pid}" if self.pid else ""


class LogPage(Told):
    """The result of `log`."""

    records: list[LogLine]
    """The oldest first."""
    next: int
    """What `after` is to be for those that come later."""
    more: bool = False
    """There are more that match, and are not told: older ones, or with `after` newer ones."""
    missed: int = 0
    """With `after`: records that were pushed out before they could be told."""
    kept: int = 0
    """Records that the service still has."""
    keep: int = 0
    """How many it keeps; 0: none, the log is switched off."""
    total: int = 0
    """Records since the start."""
    lost: int = 0
    """Records that could not be kept: made while another was made, or unreadable."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"log": ("viewer", LogArgs)}
