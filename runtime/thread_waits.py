"""Where the standard library waits for another thread and holds nothing meanwhile: moments that are fit for freezing.

`Condition.wait` has given its lock away before it waits, and takes it again afterwards; what stands on it (events, queues, the
results of executors) is as fit as it is, although it looks like the inside of a `with lock`. Left out of account, an
agent that waits for a queue would hold the scheduler until something comes.
"""

from __future__ import annotations

import inspect
import queue
import threading
from concurrent.futures import Future
from types import CodeType, FrameType
from typing import Any, Final


def _lines(function: Any, *texts: str, behind: str = "") -> frozenset[int]:
    """The numbers of the function's lines in which one of `texts` stands, behind the line with `behind`."""
    try:
        lines, first = inspect.getsourcelines(function)
    except OSError:
        return frozenset()  # a Python without its sources: then these waits hold the scheduler
    start = next((n for n, line in enumerate(lines) if behind in line), len(lines))
    return frozenset(
        first + n for n, line in enumerate(lines) if n >= start and any(text in line for text in texts)
    )


def _code(owner: Any, name: str) -> CodeType | None:
    return getattr(getattr(owner, name, None), "__code__", None)


_WAITS: Final[dict[CodeType | None, frozenset[int]]] = {
    _code(threading.Condition, "wait"): _lines(
        threading.Condition.wait, "waiter.acquire(", behind="_release_save()"
    ),
    _code(threading.Thread, "_wait_for_tstate_lock"): _lines(  # up to 3.12
        getattr(threading.Thread, "_wait_for_tstate_lock", threading.Thread.join), "lock.acquire("
    ),
}
"""Functions that wait, and the lines in which they do."""

if "_handle" in threading.Thread.join.__code__.co_names:
    _WAITS[_code(threading.Thread, "join")] = _lines(threading.Thread.join, "_handle.join(")

_STAND_ON: Final = frozenset(
    {
        _code(threading.Condition, "wait_for"),
        _code(threading.Event, "wait"),
        _code(threading.Semaphore, "acquire"),
        _code(threading.Thread, "join"),
        _code(queue.Queue, "get"),
        _code(queue.Queue, "put"),
        _code(queue.Queue, "join"),
        _code(Future, "result"),
        _code(Future, "exception"),
    }
)
"""Functions that call those, and hold no more than what a wait gives away."""


def frames_of_wait(frames: list[FrameType]) -> int:
    """How many frames, from the innermost on, are the standard library's that waits for another thread; 0 for none."""
    if not frames or frames[0].f_lineno not in _WAITS.get(frames[0].f_code, ()):
        return 0
    count = 1
    while count < len(frames) and frames[count].f_code in _STAND_ON:
        count += 1
    return count
