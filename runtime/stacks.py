"""Where an agent is in its code, read from outside."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from observe.runtime.agent import FROZEN, RUNNING, STATUS_NAMES
from observe.runtime.calls import Call
from observe.runtime.moments import shown_frames
from observe.runtime.taps import driven_by

if TYPE_CHECKING:
    from observe.runtime.agent import Agent

MAX_FRAMES = 100
"""Frames shown of one stack. Of a deeper one the outer and the inner half are kept."""

_HERE = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack."""

    file: str
    line: int
    function: str
    source: str
    """The line of code, empty when its file cannot be read."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where an agent is, outermost frame first."""

    status: str
    frames: list[Frame]
    waiting_on: str | None
    """What the innermost await waits for."""
    note: str
    """What a reader should know about this picture."""


def stack_of(agent: Agent) -> Stack:
    """The agent's stack now. From any thread: what changes while it is read is shown as it was."""
    if agent._o_away is not None:
        return agent._o_away.stack()
    status = agent._o_status
    scheduler = agent._o_scheduler
    name = STATUS_NAMES[status]
    if scheduler.current is agent:
        frame = sys._current_frames().get(scheduler.thread_id)
        return Stack(STATUS_NAMES[RUNNING], _live_frames(frame), None, "the live stack of a running step")
    preempter = scheduler.preempter
    frozen = preempter.holds(agent) if preempter is not None else None
    if preempter is not None and frozen is not None:
        places = [_place(one) for one in reversed(preempter.frames_of(frozen))]
        note = f"frozen: preempted after {frozen.ran_ns / 1e9:.2f} s of computing in this step, and resumed in its turn"
        return Stack(STATUS_NAMES[FROZEN], cut([frame_of(*place) for place in places]), None, note)
    step = agent._o_step
    if step is None:
        note = "it waits for a message" if name == "idle" else "no step is in hand"
        return Stack(name, [], None, note)
    frames = _await_chain(step.coroutine)
    waits_for = step.waits_for
    if isinstance(waits_for, asyncio.Task):
        # It awaits a task of its own making: what that one waits for is the answer.
        frames += _await_chain(waits_for.get_coro())
    note = "" if step.kind == "message" else f"in {step.kind}()"
    return Stack(name, cut(frames), _describe(waits_for), note)


def _live_frames(frame: FrameType | None) -> list[Frame]:
    """The frames of the scheduler's thread that are the agent's: those inside the innermost runtime frame."""
    # Places first and their source afterwards: reading a file lets the thread run on.
    places = [_place(one) for one in shown_frames(frame)]
    return cut([frame_of(*place) for place in reversed(places)])


def _place(frame: FrameType) -> tuple[str, int, str]:
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def _await_chain(awaitable: Any) -> list[Frame]:
    """Follow a suspended coroutine to what it waits for (as `inspect` and the 3.14 `asyncio` tools do)."""
    frames: list[Frame] = []
    seen = 0
    while awaitable is not None and seen < 1000:
        seen += 1
        if inspect.iscoroutine(awaitable):
            frame, inner = awaitable.cr_frame, awaitable.cr_await
        elif inspect.isgenerator(awaitable):
            frame, inner = awaitable.gi_frame, awaitable.gi_yieldfrom or driven_by(awaitable)
        elif inspect.isasyncgen(awaitable):
            frame, inner = awaitable.ag_frame, awaitable.ag_await
        else:
            break
        if frame is not None:
            code = frame.f_code
            if not code.co_filename.startswith(_HERE):
                frames.append(frame_of(code.co_filename, frame.f_lineno, code.co_name))
        awaitable = inner
    return frames


def frame_of(file: str, line: int, function: str) -> Frame:
    """The frame with its line of code."""
    try:
        source = linecache.getline(file, line).strip()
    except TypeError:  # another thread is reading the same file: its lines are not there yet
        source = ""
    return Frame(file, line, function, source)


def cut(frames: list[Frame]) -> list[Frame]:
    """At most `MAX_FRAMES` of them: the outer and the inner half."""
    if len(frames) <= MAX_FRAMES:
        return frames
    half = MAX_FRAMES // 2
    left_out = len(frames) - 2 * half
    return [*frames[:half], Frame("", 0, f"… {left_out} frames left out …", ""), *frames[-half:]]


def _describe(waits_for: Any) -> str | None:
    if waits_for is None:
        return None
    if isinstance(waits_for, Call):
        return f"a reply from {waits_for.target._o_text()}"
    if isinstance(waits_for, asyncio.Task):
        return f"the task {waits_for.get_name()}"
    if isinstance(waits_for, asyncio.Future):
        return "the event loop: a timer, a socket or another task"
    return type(waits_for).__qualname__
