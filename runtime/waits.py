"""Who waits for whose reply: the edges by which agents that call each other in a circle are found."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import WAITING
from observe.runtime.calls import Call

if TYPE_CHECKING:
    from observe.runtime.agent import Agent

DEEPEST: Final = 1000
"""Awaits that are followed inside one step."""


def waits_for_reply_of(agent: Agent) -> Agent | None:
    """The agent whose reply this one's step awaits, if that is what it waits for.

    From any thread; what changes while it is read may be missed. A call that the step has wrapped in a task of its own
    is found as well, one in a `gather` of several is not.
    """
    step = agent._o_step
    if agent._o_status != WAITING or step is None:
        return None
    call = _innermost_call(step.coroutine)
    if call is None and isinstance(step.waits_for, asyncio.Task):
        call = _innermost_call(step.waits_for.get_coro())
    return call.target if call is not None and not call.done else None


def _innermost_call(awaitable: Any) -> Call | None:
    for _ in range(DEEPEST):
        if inspect.iscoroutine(awaitable):
            frame, inner = awaitable.cr_frame, awaitable.cr_await
        elif inspect.isgenerator(awaitable):
            frame, inner = awaitable.gi_frame, awaitable.gi_yieldfrom
        else:
            return None
        if frame is not None and frame.f_code in _CALLS:
            found = frame.f_locals.get("self") or frame.f_locals.get("call")
            return found if isinstance(found, Call) else None
        awaitable = inner
    return None


def _codes() -> frozenset[object]:
    from observe.runtime.calls import wait_future

    return frozenset({Call.__await__.__code__, wait_future.__code__})


_CALLS: Final = _codes()
"""The two places in which somebody stands who waits for a reply: as a parked agent, and in a task."""
