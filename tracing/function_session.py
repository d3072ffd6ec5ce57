"""A bounded session that tells of the calls of one function: arguments, result, duration, and who called.

    hook (any thread, in the middle of the call) --> rate --> open call --> its end --> event --> scheduler's thread --> sink

It ends itself, after so many calls or so long, also while the scheduler is held: the hook looks at the clock. What it shows
of values is cut and masked like messages of traces.
"""

from __future__ import annotations

import contextlib
import threading
import time
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.scheduler import current_agent
from observe.tracing.errors import BadSelector
from observe.tracing.functions import Arguments, Found, Hook, find, hook_for
from observe.tracing.kinds import clean
from observe.tracing.masking import mask_text
from observe.tracing.outflow import Outflow
from observe.tracing.payload import encode, encode_fields
from observe.tracing.peek import type_name
from observe.tracing.rates import Rate
from observe.tracing.sessions import MESSAGE, _said

if TYPE_CHECKING:
    from observe.runtime.node import Node

MOST_OPEN: Final = 1000
"""Calls that have begun and not ended. More are counted and left out."""

_lock = threading.Lock()
_traced: set[str] = set()
"""Functions with a session, by code: one each, so that wrappers come off in any order."""


@dataclass(slots=True)
class _Open:
    number: int
    at: float
    since: float
    facts: dict[str, Any]


class FunctionSession:
    """Made, `start`ed, and ended by itself or by `stop`. Both belong to the scheduler's thread."""

    def __init__(
        self,
        node: Node,
        function: str,
        *,
        count: int,
        for_s: float,
        rate: float,
        sink: Callable[[list[dict[str, Any]], int], bool],
    ) -> None:
        self._node = node
        self._function = function
        self._count = count
        self._for_s = for_s
        self._until = 0.0
        self._rate = Rate(rate)
        self._out = Outflow(node.loop, sink)
        self._hook: Hook | None = None
        self._key = ""
        self._open: dict[object, _Open] = {}
        self._inside: set[int] = set()
        """Threads that are busy with telling: a `__repr__` may call the function itself."""
        self._timer: TimerHandle | None = None
        self._begun = self._told = 0
        self.ended = ""

    def start(self) -> str:
        """Begin. Returns where the function is, for people.

        Raises:
            BadSelector: there is no such function, or it has a session already.
        """
        found = find(self._function)
        code = found.function.__code__
        self._key = f"{code.co_filename}:{code.co_firstlineno}:{code.co_qualname}"
        with _lock:
            if self._key in _traced:
                raise BadSelector(
                    f"{self._function} is traced already; end that session, or wait for its end"
                )
            _traced.add(self._key)
        hook = hook_for(found, self)
        self._until = time.monotonic() + self._for_s
        try:
            hook.install()
        except BaseException:
            hook.remove()
            self._release()
            raise
        self._hook = hook
        self._timer = self._node.loop.call_later(self._for_s, self.stop, f"after {self._for_s:g} s")
        return _place(found)

    def stop(self, why: str = "stopped") -> None:
        """End it: the function is as it was. Doing so twice has no effect."""
        if self.ended:
            return
        self.ended = why
        if self._hook is not None:
            self._hook.remove()
        self._release()
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        for call in sorted(self._open.values(), key=lambda one: one.number):
            self._told += 1
            self._out.put(
                call.facts | {"n": self._told, "at": call.at, "how": "open", "took_s": now - call.since}
            )
        self._open.clear()
        self._out.end(self._told, why)

    def _release(self) -> None:
        with _lock:
            _traced.discard(self._key)

    # -- from the hook, in any thread, inside the traced call

    def begin(self, key: object, arguments: Arguments, caller: FrameType | None) -> None:
        """A call begins."""
        thread = threading.get_ident()
        if self.ended or thread in self._inside:
            return
        now = time.monotonic()
        if now > self._until:
            if self._hook is not None:  # the scheduler is held, and its timer late
                self._hook.remove()
            return
        with _lock:
            if self._begun >= self._count:
                return
            if len(self._open) >= MOST_OPEN or not self._rate.take():
                self._out.left_out += 1
                return
            self._begun += 1
            number = self._begun
        self._inside.add(thread)
        try:
            facts = _facts(arguments, caller)
        except Exception as error:  # noqa: BLE001  # whatever fails here must not fail the call
            facts = {
                "kind": "call",
                "pid": 0,
                "class": "",
                "text": f"cannot be shown: {type(error).__name__}",
            }
        finally:
            self._inside.discard(thread)
        self._open[key] = _Open(number, time.time(), time.monotonic(), facts)

    def finish(self, key: object, value: object, error: BaseException | None) -> None:
        """It has ended."""
        call = self._open.pop(key, None)
        if call is None:
            return
        took_s = time.monotonic() - call.since
        thread = threading.get_ident()
        self._inside.add(thread)
        try:
            event = call.facts | {"at": call.at, "took_s": took_s}
            if error is None:
                event |= {"how": "returned", "value": encode(value, MESSAGE)}
            elif isinstance(error, GeneratorExit):
                event["how"] = "closed"
            else:
                text = clean(mask_text(f"{type_name(error)}: {_said(error)}"[:1000])[0])
                event |= {"how": "raised", "error": text}
        except Exception as fault:  # noqa: BLE001  # as above
            event = call.facts | {
                "at": call.at,
                "took_s": took_s,
                "how": "returned",
                "text": type(fault).__name__,
            }
        finally:
            self._inside.discard(thread)
        if thread == self._node.scheduler.thread_id:
            self._tell(event)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._node.loop.call_soon_threadsafe(self._tell, event)

    def _tell(self, event: dict[str, Any]) -> None:
        if self.ended:
            return
        self._told += 1
        self._out.put(event | {"n": self._told})
        if self._told >= self._count:
            # Not from here: we are in the middle of a call.
            self._node.loop.call_soon(self.stop, f"after {self._told:,} calls")


def _facts(arguments: Arguments, caller: FrameType | None) -> dict[str, Any]:
    agent = current_agent()
    given = [(name, value) for name, value in arguments() if name not in ("self", "cls")]
    facts: dict[str, Any] = {
        "kind": "call",
        "pid": 0 if agent is None else agent._o_pid,
        "name": None if agent is None else agent._o_child.name,
        "class": "" if agent is None else type(agent).__name__,
        "arguments": encode_fields("", given, MESSAGE),
        "caller": _caller(caller),
    }
    thread = threading.current_thread()
    if thread is not threading.main_thread():
        facts["thread"] = clean(thread.name[:100])
    return facts


def _caller(frame: FrameType | None) -> str:
    """`app.desk:Desk.handle (desk.py:41)`."""
    if frame is None:
        return ""
    code = frame.f_code
    file = code.co_filename.rpartition("/")[2]
    return clean(f"{frame.f_globals.get('__name__', '?')}:{code.co_qualname} ({file}:{frame.f_lineno})"[:300])


def _place(found: Found) -> str:
    code = found.function.__code__
    return clean(
        f"{found.function.__module__}:{code.co_qualname} ({code.co_filename}:{code.co_firstlineno})"[:500]
    )
