"""What is known of an asyncio task: its facts at one moment, and the note on its birth that stays with it."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import Final

from observe.runtime.stacks import Frame
from observe.runtime.task_view import AnyTask

STATES: Final = ("running", "ready", "waiting", "frozen")
"""What a task may be doing: it runs now; it will when the loop comes to it; it waits; it was preempted."""


@dataclass(slots=True)
class TaskFacts:
    """One task at one moment."""

    id: int
    """Its number in this process, never used again. Tasks are numbered when they are created if that is recorded, else
    when somebody first looks."""
    name: str
    coroutine: str
    """The function that it runs: `Poller.run`."""
    module: str
    state: str
    """One of `STATES`."""
    waiting_on: str | None
    """What its innermost await waits for; None when it waits for nothing."""
    waits_for: tuple[int, ...]
    """The tasks that it waits for."""
    ring: tuple[int, ...]
    """The tasks that wait for each other in a ring, this one among them: they wait for ever. Empty as a rule."""
    place: str
    """The innermost line of it outside of asyncio."""
    age_s: float | None
    """Seconds since it was created; None when that was not recorded."""
    created_at: str
    """The line that created it; empty when that was not recorded."""
    creator: int
    """The task that created it; 0 when none did, or that was not recorded."""
    creator_name: str
    """That task, or the agent in whose step it was created."""
    agent: int
    """The agent of which it is a step; 0 for others."""
    cancelling: int
    """How often it has been asked to cancel, and has not ended yet."""
    protected: str
    """Why it cannot be cancelled as a task; empty when it can."""


@dataclass(frozen=True, slots=True)
class TaskStack:
    """Where one task stands."""

    facts: TaskFacts
    frames: list[Frame]
    """Outermost first: its awaits, or the live stack while it runs."""
    note: str


class Birth:
    """What is known of a task's beginning. Kept on the task."""

    __slots__ = ("at_ns", "creator", "creator_name", "file", "function", "line", "name", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.at_ns = 0
        """Monotonic; 0 when it was not recorded."""
        self.name = ""
        """What it was called at first."""
        self.file = ""
        self.line = 0
        self.function = ""
        self.creator = 0
        self.creator_name = ""


_NUMBERS: Final = itertools.count(1)
_NUMBERING: Final = threading.Lock()
_ATTRIBUTE: Final = "_observe_birth"


def birth_of(task: AnyTask) -> Birth:
    """The task's number and what else is known; it is numbered now if it was not before. Any thread."""
    found: Birth | None = getattr(task, _ATTRIBUTE, None)
    if found is None:
        with _NUMBERING:
            found = getattr(task, _ATTRIBUTE, None)
            if found is None:
                found = Birth(next(_NUMBERS))
                setattr(task, _ATTRIBUTE, found)  # asyncio's own tasks take attributes
    return found


def name_of_task(task: AnyTask) -> str:
    """The task's name; where 3.13.0 has named it "None", as it does behind a task factory, the one that asyncio gave it."""
    name = task.get_name()
    return birth_of(task).name or name if name == "None" else name


def age_by_name(task: AnyTask) -> int:
    """In which order tasks were created that nobody has numbered: asyncio counts in the names that it gives."""
    digits = task.get_name().rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0
