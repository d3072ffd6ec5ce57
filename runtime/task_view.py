"""What one asyncio task is doing, read from outside: its state, what it awaits, and the tasks that it waits for.

All of this may be read from any thread, as `asyncio.all_tasks` may: nothing is run, and what changes meanwhile is shown as
it was. It reads `_fut_waiter` of tasks, `_children` of `asyncio.gather`'s future and the locals of two functions of
asyncio, as asyncio's own tools for this do from 3.14 on; what a later version lacks is left out of the picture.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from observe.runtime.step import Host

MOST_AWAITS: Final = 200
"""Awaits that are followed; a deeper chain is cut."""

MOST_AWAITED: Final = 20
"""Tasks named that one waits for, as a `gather` of thousands does."""

_ASYNCIO: Final = str(Path(asyncio.__file__).parent)
_OURS: Final = tuple(str(Path(__file__).parent.parent / room) for room in ("runtime", "probe", "tracing"))

AnyTask = asyncio.Task[Any]


@dataclass(frozen=True, slots=True)
class Await:
    """One level of a task's stack of awaits."""

    file: str
    line: int
    function: str
    """With its class: `Queue.get`."""
    frame: FrameType


def coroutine_of(task: AnyTask) -> Any:
    """The coroutine that the task runs: the agent's handler, or the service's own where a wrapper of ours is around it."""
    if isinstance(task, Host) and task.seat.step is not None:
        return task.seat.step.coroutine
    coroutine = task.get_coro()
    return getattr(coroutine, "_o_wrapped", coroutine)


def name_of(coroutine: Any) -> str:
    """`Poller.run`, of a coroutine or of what stands for one."""
    name = getattr(coroutine, "__qualname__", None) or getattr(coroutine, "__name__", None)
    return name if isinstance(name, str) else type(coroutine).__qualname__


def module_of(coroutine: Any) -> str:
    """The module whose code the coroutine runs; empty when it has ended or does not tell."""
    frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


def is_ours(coroutine: Any) -> bool:
    """Whether its code is the runtime's or the probe's: such a task belongs to the node."""
    code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    return code is not None and code.co_filename.startswith(_OURS)


def awaits(coroutine: Any) -> Iterator[Await]:
    """The stack of awaits of a coroutine that is suspended, outermost first."""
    frame: FrameType | None
    inner: Any
    for _ in range(MOST_AWAITS):
        if inspect.isgenerator(coroutine):
            frame, code, inner = coroutine.gi_frame, coroutine.gi_code, coroutine.gi_yieldfrom
        elif inspect.isasyncgen(coroutine):
            frame, code, inner = coroutine.ag_frame, coroutine.ag_code, coroutine.ag_await
        elif hasattr(coroutine, "cr_await"):  # also what Cython and others make
            frame, code, inner = coroutine.cr_frame, coroutine.cr_code, coroutine.cr_await
        else:
            return
        if frame is not None:
            yield Await(code.co_filename, frame.f_lineno or 0, code.co_qualname, frame)
        if inner is None:
            return
        coroutine = getattr(inner, "_o_wrapped", inner)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task that does not run stands."""

    place: str
    """The innermost line of it outside of asyncio: `poller.py:41 in Poller.run`."""
    waiting_on: str | None
    """What the innermost await is: `Queue.get`, `sleep`, `the task worker-3`."""
    waits_for: list[AnyTask]
    """Tasks that must end first, at most `MOST_AWAITED`."""


def standing_of(task: AnyTask) -> Standing:
    """Where the task stands, and what it waits for."""
    own: Await | None = None
    inner: Await | None = None
    for inner in awaits(coroutine_of(task)):
        if own is None or not inner.file.startswith(_ASYNCIO):
            own = inner
    place = place_text(own.file, own.line, own.function) if own is not None else ""
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None:
        return Standing(place, None, [])
    waits_for = _awaited(waiter, inner)
    return Standing(place, _describe(waiter, inner, waits_for), waits_for)


def place_text(file: str, line: int, function: str) -> str:
    """A place in the code, short: the file's name without its directories."""
    return f"{file.rpartition('/')[2]}:{line} in {function}"


def _awaited(waiter: Any, inner: Await | None) -> list[AnyTask]:
    """The tasks that `waiter`, what a task waits on, stands for."""
    if isinstance(waiter, asyncio.Task):
        return [waiter]
    children: Any = getattr(waiter, "_children", None)  # asyncio.gather
    if children is None and inner is not None and inner.file.startswith(_ASYNCIO):
        variables = inner.frame.f_locals
        if inner.function.startswith("TaskGroup."):
            children = getattr(variables.get("self"), "_tasks", None)
        elif inner.function == "_wait":
            children = variables.get("fs")
    return _live(children) if isinstance(children, (list, set, frozenset, tuple)) else []


def _live(futures: Iterable[Any]) -> list[AnyTask]:
    try:
        found = [one for one in list(futures) if isinstance(one, asyncio.Task) and not one.done()]
    except RuntimeError:  # it changed while it was read in another thread
        return []
    return found[:MOST_AWAITED]


def _describe(waiter: Any, inner: Await | None, waits_for: list[AnyTask]) -> str:
    if isinstance(waiter, asyncio.Task):
        return f"the task {waiter.get_name()}"
    if getattr(waiter, "_children", None) is not None:
        return f"gather: {len(waits_for)} running"
    if inner is None or not inner.file.startswith(_ASYNCIO):
        return "a future" if type(waiter) is asyncio.Future else type(waiter).__qualname__
    if inner.function.startswith("TaskGroup."):
        return f"TaskGroup: {len(waits_for)} running"
    if inner.function == "_wait":
        return f"asyncio.wait: {len(waits_for)} running"
    return inner.function


def rings(edges: dict[int, tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The tasks that wait for each other in a ring, and so for ever. `edges`: whom each waits for."""
    found: list[tuple[int, ...]] = []
    finished: set[int] = set()
    for start in edges:
        if start in finished:
            continue
        path: list[int] = []
        places: dict[int, int] = {}
        branches = [iter((start,))]
        while branches:
            node = next(branches[-1], None)
            if node is None:
                branches.pop()
                if path:
                    done = path.pop()
                    finished.add(done)
                    del places[done]
            elif node in places:
                found.append(tuple(path[places[node] :]))
            elif node not in finished:
                places[node] = len(path)
                path.append(node)
                branches.append(iter(edges.get(node, ())))
    return found


def waits_in_a_ring(task: AnyTask) -> bool:
    """Whether the task waits for itself in the end, or for one that does. `cancel()` would follow the ring until the stack
    is full: asyncio passes it on to what a task waits for, and never looks whether it has been there."""
    path: set[int] = set()
    finished: set[int] = set()
    left: list[tuple[Any, bool]] = [(task, True)]
    while left:
        one, is_new = left.pop()
        number = id(one)
        if not is_new:
            path.discard(number)
            finished.add(number)
            continue
        if number in path:
            return True
        if number in finished:
            continue
        path.add(number)
        left.append((one, False))
        waiter = getattr(one, "_fut_waiter", None)
        children: Any = getattr(one, "_children", None)
        passed_on = [waiter] if waiter is not None else children if isinstance(children, list) else []
        left += [(next_one, True) for next_one in passed_on if not next_one.done()]
    return False
