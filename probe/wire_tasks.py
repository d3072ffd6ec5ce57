"""The asyncio tasks of a service as they cross the wire: arguments and results of their verbs. No input, no output."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from observe.probe.wire_base import Asked, Command, Frame, Role, Told

TASK_STATES: Final = ("running", "ready", "waiting", "frozen")

TASK_COLUMNS: Final = (
    "id", "name", "coroutine", "module", "state", "waiting_on", "place", "age_s", "created_at", "creator",
    "creator_name", "agent", "cancelling",
)  # fmt: skip
"""What tasks are filtered and sorted by; docs/protocol.md says what each means."""

TASK_TEXT_COLUMNS: Final = frozenset(
    {"name", "coroutine", "module", "state", "waiting_on", "place", "created_at", "creator_name"}
)

MAX_TASKS: Final = 1000
"""The most tasks in one answer."""

TaskId = int


class TasksArgs(Asked):
    """Which tasks to show, in which order."""

    sort: str = Field(default="id", max_length=64)
    """A column; unknown ones are answered with `no_such_column`."""
    descending: bool = False
    filter: str = Field(default="", max_length=1024)
    """As for agents, with the columns of tasks."""
    offset: int = Field(default=0, ge=0, lt=2**53)
    limit: int = Field(default=50, ge=0, le=MAX_TASKS)


class TaskArgs(Asked):
    task: TaskId = Field(ge=0, lt=2**53)


class CancelTaskArgs(Command):
    task: TaskId = Field(ge=0, lt=2**53)


class TaskLine(Told):
    """One asyncio task."""

    id: TaskId
    """Its number, never used again while the service runs."""
    name: str
    coroutine: str
    """The function that it runs: `Poller.run`."""
    module: str = ""
    state: str
    """`running`, `ready` (when the event loop comes to it), `waiting`, or `frozen` (preempted)."""
    waiting_on: str | None = None
    """What its innermost await waits for."""
    waits_for: list[TaskId] = Field(default_factory=list)
    """Tasks that must end first, at most twenty."""
    ring: list[TaskId] = Field(default_factory=list)
    """Tasks that wait for each other in a ring, this one among them: none of them will ever go on."""
    place: str = ""
    """The innermost line of it outside of asyncio."""
    age_s: float | None = None
    """None: who creates tasks is not recorded (`Node(tasks=True)` does), or it is older than the node."""
    created_at: str = ""
    """The line that created it."""
    creator: TaskId = 0
    """The task that created it; 0 for none or unknown."""
    creator_name: str = ""
    """That task, or the agent in whose step it was created."""
    agent: int = 0
    """The agent of which it is a step."""
    cancelling: int = 0
    """How often it was asked to cancel without having ended."""
    protected: str = ""
    """Why it cannot be cancelled; empty when it can."""


class TasksPage(Told):
    """The result of `tasks`."""

    tasks: list[TaskLine]
    matched: int
    """Tasks that passed the filter."""
    total: int
    """Tasks that have not ended."""
    left_out: int = 0
    """Tasks that were not looked at, because there are so many. The filter says nothing about them."""
    recorded: bool = False
    """Whether it is recorded who creates tasks, and when."""
    rings: int = 0
    """Tasks that wait in a ring, whatever the filter."""
    offset: int = 0


class TaskDetail(Told):
    """The result of `task`."""

    task: TaskLine
    frames: list[Frame]
    """Outermost first."""
    note: str = ""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "tasks": ("viewer", TasksArgs),
    "task": ("viewer", TaskArgs),
    "cancel_task": ("operator", CancelTaskArgs),
}
