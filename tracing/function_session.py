"""A bounded session that tells of the calls of one function: arguments, result, duration, and who called.

    hook (any thread, in the middle of the call) --> rate --> open call --> its end --> scheduler's thread --> event --> sink

It ends itself, after so many calls or so long, also while the scheduler is held: the hook looks at the clock. What it shows
of values is cut and masked like messages of traces; inside the call itself only where they might change afterwards
(`observe.tracing.frozen`).
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.scheduler import current_agent
from observe.tracing.errors import BadSelector
from observe.tracing.frozen import fields_in_words, frozen, frozen_fields, in_words, told
from observe.tracing.functions import Arguments, Found, Hook, find, hook_for
from observe.tracing.kinds import clean
from observe.tracing.masking import mask_text
from observe.tracing.outflow import Outflow
from observe.tracing.peek import type_name
from observe.tracing.rates import Rate
from observe.tracing.sessions import _said

if TYPE_CHECKING:
    from observe.runtime.node import Node

MOST_OPEN: Final = 1000
"""Calls that have begun and not ended. More are counted and left out."""

NEVER: Final = math.inf
MAIN: Final = threading.main_thread().ident
NOBODY: Final = (0, None, "")

_lock = threading.Lock()
_traced: set[str] = set()
"""Functions with a session, by code: one each, so that wrappers come off in any order."""

_telling: set[int] = set()
"""Threads that are busy with telling of a call. What they call meanwhile is not looked at, by any session: a `__repr__` may call
the function itself, and so do we when it is one of ours, or of the library below."""


@dataclass(slots=True)
class _Call:
    """What is noted of a call while it runs; put into words when it is told."""

    at: float
    since: float
    agent: tuple[int, str | None, str]
    """Pid, name and class of the agent in whose step it is; 0 and nothing for none."""
    arguments: object
    """A `Later`, or the value as it is told; None where it cannot be shown."""
    caller: tuple[CodeType, object, int] | None
    """Code, module and line."""
    thread: str = ""
    """Its name, unless it is the main one."""
    how: str = "open"
    took_s: float = 0.0
    value: object = None
    """As `arguments`, of the result."""
    text: str = ""
    """The error; of what cannot be shown, why."""
    n: int = 0


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
        self._out = Outflow(node.loop, sink, _event, self._missed)
        self._passed = self._passed_told = 0
        """Calls that were not looked at: ever, and as far as that has been told."""
        self._next = 0.0
        """Before this time no call is looked at: what comes meanwhile costs a look at the clock."""
        self._hook: Hook | None = None
        self._key = ""
        self.calls: dict[object, _Call] = {}
        """Those that have begun and not ended, in their order."""
        self._elsewhere: deque[_Call] = deque()
        """Calls that ended in other threads, on their way to ours."""
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
        self._next = NEVER
        if self._hook is not None:
            self._hook.remove()
        self._release()
        if self._timer is not None:
            self._timer.cancel()
        self._fetch()
        now = time.monotonic()
        for call in list(self.calls.values()):
            self._told += 1
            call.n, call.took_s = self._told, now - call.since
            self._out.put(call)
        self.calls.clear()
        self._out.end(self._told, why)

    def _release(self) -> None:
        with _lock:
            _traced.discard(self._key)

    # -- from the hook, in any thread, inside the traced call

    def take(self) -> bool:
        """Whether the call that begins now is looked at. Calls that are not are counted, unless there were enough already."""
        now = time.monotonic()
        if now < self._next:
            if self._next != NEVER and threading.get_ident() not in _telling:  # who tells may hold the lock
                with _lock:
                    self._passed += 1
            return False
        thread = threading.get_ident()
        if thread in _telling:
            return False
        _telling.add(thread)
        try:
            return self._takes(now)
        finally:
            _telling.discard(thread)

    def _takes(self, now: float) -> bool:
        if now > self._until:
            self._next = NEVER
            if self._hook is not None:  # the scheduler is held, and its timer late
                self._hook.remove()
            return False
        with _lock:
            if self._begun >= self._count:
                self._next = NEVER
                return False
            if len(self.calls) >= MOST_OPEN or not self._rate.take():
                self._next = min(self._until, self._rate.next_at())
                self._passed += 1
                return False
            self._begun += 1
        return True

    def begin(self, key: object, arguments: Arguments, caller: FrameType | None) -> None:
        """A call begins that is looked at."""
        thread = threading.get_ident()
        _telling.add(thread)
        try:
            self._begin(key, arguments, caller, thread)
        finally:
            _telling.discard(thread)

    def _begin(self, key: object, arguments: Arguments, caller: FrameType | None, thread: int) -> None:
        call = self.calls[key] = _Call(
            time.time(),
            0.0,
            _agent(),
            None,
            None if caller is None else (caller.f_code, caller.f_globals.get("__name__"), caller.f_lineno),
            "" if thread == MAIN else threading.current_thread().name,
        )
        try:
            given = [(name, value) for name, value in arguments() if name not in ("self", "cls")]
            call.arguments = frozen_fields(given)
            if call.arguments is None:
                call.arguments = fields_in_words(given)
        except Exception as error:  # noqa: BLE001  # whatever fails here must not fail the call
            call.text = f"cannot be shown: {type(error).__name__}"
        call.since = time.monotonic()

    def finish(self, key: object, value: object, error: BaseException | None) -> None:
        """It has ended."""
        call = self.calls.pop(key, None)
        if call is None:
            return
        call.took_s = time.monotonic() - call.since
        thread = threading.get_ident()
        _telling.add(thread)
        try:
            self._finish(call, value, error, thread)
        finally:
            _telling.discard(thread)

    def _finish(self, call: _Call, value: object, error: BaseException | None, thread: int) -> None:
        try:
            if error is None:
                call.how, call.value = "returned", frozen(value)
                if call.value is None:
                    call.value = in_words(value)
            elif isinstance(error, GeneratorExit):
                call.how = "closed"
            else:
                call.how, call.text = "raised", mask_text(f"{type_name(error)}: {_said(error)}"[:1000])[0]
        except Exception as fault:  # noqa: BLE001  # as above
            call.how, call.text = "returned", type(fault).__name__
        if thread == self._node.scheduler.thread_id:
            self._tell(call)
            return
        self._elsewhere.append(call)
        if len(self._elsewhere) == 1:  # else somebody has called already
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._node.loop.call_soon_threadsafe(self._fetch)

    def _fetch(self) -> None:
        """What ended in other threads."""
        while self._elsewhere:
            self._tell(self._elsewhere.popleft())

    def _tell(self, call: _Call) -> None:
        if self._out.is_ended:
            return
        self._told += 1
        call.n = self._told
        self._out.put(call)
        if self._told >= self._count:
            # Not from here: we are in the middle of a call.
            self._node.loop.call_soon(self.stop, f"after {self._told:,} calls")

    def _missed(self) -> int:
        with _lock:
            missed, self._passed_told = self._passed - self._passed_told, self._passed
        return missed


def _agent() -> tuple[int, str | None, str]:
    agent = current_agent()
    return NOBODY if agent is None else (agent._o_pid, agent._o_child.name, type(agent).__name__)


def _event(call: _Call) -> dict[str, Any]:
    """The call as it is told."""
    pid, name, class_name = call.agent
    event: dict[str, Any] = {
        "n": call.n,
        "at": call.at,
        "kind": "call",
        "pid": pid,
        "name": name,
        "class": class_name,
        "how": call.how,
        "took_s": call.took_s,
        "caller": _caller(call.caller),
    }
    if call.arguments is not None:
        event["arguments"] = told(call.arguments)
    if call.value is not None:
        event["value"] = told(call.value)
    if call.thread:
        event["thread"] = clean(call.thread[:100])
    if call.text:
        event["error" if call.how == "raised" else "text"] = clean(call.text)
    return event


def _caller(caller: tuple[CodeType, object, int] | None) -> str:
    """`app.desk:Desk.handle (desk.py:41)`."""
    if caller is None:
        return ""
    code, module, line = caller
    file = code.co_filename.rpartition("/")[2]
    return clean(f"{module or '?'}:{code.co_qualname} ({file}:{line})"[:300])


def _place(found: Found) -> str:
    code = found.function.__code__
    return clean(
        f"{found.function.__module__}:{code.co_qualname} ({code.co_filename}:{code.co_firstlineno})"[:500]
    )
