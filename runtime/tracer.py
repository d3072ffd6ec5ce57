"""One opcode tracer, planted on one frame of the thread that runs: "call me before the frame's next instruction".

It replaces a debugger's or a coverage tool's trace function for as long as it stands, and puts it back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


class Tracer:
    """Calls `at_opcode(frame)` before each instruction that `frame` executes, until it is pulled.

    Plant and pull it in the thread in which the frame runs.
    """

    __slots__ = ("_at_opcode", "_before", "_frame", "_frame_before", "is_planted", "seen")

    def __init__(self, frame: FrameType, at_opcode: Callable[[FrameType], None]) -> None:
        self._frame: FrameType | None = frame
        self._at_opcode = at_opcode
        self.seen = 0
        """Instructions that the frame has come to since the tracer was planted."""
        before: Any = sys.gettrace()
        other = getattr(before, "__self__", None)
        if isinstance(other, Tracer):
            other.pull()  # one at a time: whoever planted it will look again
            before = sys.gettrace()
        self._before = before
        self._frame_before = frame.f_trace, frame.f_trace_opcodes, frame.f_trace_lines
        self.is_planted = True
        # In this order: 3.12 looks at `f_trace_opcodes` when tracing is switched on, 3.13 at `f_trace` before that.
        frame.f_trace = self._trace
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        sys.settrace(self._trace)

    @property
    def frame(self) -> FrameType | None:
        """Where it stands; None when it has been pulled."""
        return self._frame

    def pull(self) -> None:
        """Leave no trace. Pulling twice has no effect."""
        frame, self._frame = self._frame, None
        if frame is None:
            return
        self.is_planted = False
        if sys.gettrace() == self._trace:  # else CPython has dropped it, or somebody else has come
            sys.settrace(self._before)
        frame.f_trace, frame.f_trace_opcodes, frame.f_trace_lines = self._frame_before

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame is not self._frame:
            return None
        if event == "opcode":
            self.seen += 1
            self._at_opcode(frame)  # may raise, which the frame then sees
            return self._trace if self._frame is not None else None
        if event == "return":
            self.pull()
            return None
        return self._trace
