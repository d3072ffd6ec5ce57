"""The service's side of the verbs about asyncio tasks: `tasks` and `task`, answered while the event loop is held too.

They are answered in a thread of their own: gathering the facts of ten thousand tasks takes a tenth of a second, and the control
thread must go on showing the probe that Python code runs. (`cancel_task` is an action: `answers_actions`.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Final

from observe.probe.describe_names import line
from observe.probe.task_filters import holds, ordered
from observe.runtime.errors import NoSuchTask
from observe.runtime.node import Node
from observe.runtime.stacks import Frame
from observe.runtime.task_facts import TaskFacts

MOST_AT_ONCE: Final = 2
"""Threads that gather facts at one time. Each takes its share of the interpreter lock from the service."""

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]
"""Takes code, message and hint."""


class TaskAnswers:
    """Answers `tasks` and `task`. `take` belongs to the control thread."""

    OPS: Final = frozenset({"tasks", "task"})

    def __init__(self, node: Node) -> None:
        self._node = node
        self._looking: set[threading.Thread] = set()

    def take(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        """Answer one request, later and in another thread; exactly one of `tell` and `fail` is called."""
        self._looking = {thread for thread in self._looking if thread.is_alive()}
        if len(self._looking) >= MOST_AT_ONCE:
            fail("busy", "the node is looking through its tasks for others", "try again")
            return
        thread = threading.Thread(
            target=self._answer, args=(request, tell, fail), name="observe:tasks", daemon=True
        )
        self._looking.add(thread)
        thread.start()

    def _answer(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        try:
            answer = self._one(request) if request.get("op") == "task" else self._page(request)
        except NoSuchTask as error:
            fail("no_such_task", str(error), "`observe tasks` lists those that there are")
        except Exception as error:  # noqa: BLE001  # the edge: what fails here is an answer, never a fault of the node
            fail("internal", f"the node could not look at its tasks: {type(error).__name__}", "try again")
        else:
            tell(answer)

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        tasks = self._node.tasks
        found, total = tasks.look()
        matching = [facts for facts in found if holds(facts, request["terms"])]
        shown = ordered(matching, request["sort"], descending=request["descending"])
        offset = request["offset"]
        return {
            "tasks": [task_map(facts) for facts in shown[offset : offset + request["limit"]]],
            "matched": len(matching),
            "total": total,
            "left_out": total - len(found),
            "recorded": tasks.are_recorded,
            "rings": sum(1 for facts in found if facts.ring),
            "offset": offset,
        }

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        stack = self._node.tasks.stack_of(request["task"])
        return {"task": task_map(stack.facts), "frames": _frame_maps(stack.frames), "note": stack.note}


def running_map(node: Node) -> dict[str, Any] | None:
    """The **stack** of the plain task that runs now, with its name as the note; None when none does."""
    task = node.tasks.running()
    if task is None:
        return None
    facts, frames = node.tasks.facts_of(task), node.tasks.live_stack(task)
    return {
        "pid": 0,
        "status": "running",
        "frames": _frame_maps(frames),
        "waiting_on": None,
        "note": line(f"the task {facts.name} ({facts.coroutine})"),
    }


def _frame_maps(frames: Iterable[Frame]) -> list[dict[str, Any]]:
    return [
        {
            "file": line(frame.file, 1000),
            "line": frame.line or 0,
            "function": line(frame.function),
            "source": line(frame.source),
        }
        for frame in frames
    ]


def task_map(facts: TaskFacts) -> dict[str, Any]:
    """A **task** of the protocol."""
    return {
        key: line(part) if isinstance(part, str) else list(part)[:100] if isinstance(part, tuple) else part
        for key, part in asdict(facts).items()
    }
