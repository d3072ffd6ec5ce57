"""Why agents end: exit reasons, and the record of a crash.

The kinds are OTP's (https://www.erlang.org/doc/system/ref_man_processes.html#errors): `normal` and `shutdown` are
orderly ends, `killed` is the end of an agent that was not asked, `crash` carries the exception that ended it, and
`noproc` is what one hears of an agent that was dead already.
"""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

from observe.runtime.clock import wall_s

ExitKind = Literal["normal", "shutdown", "killed", "crash", "noproc"]

MAX_REASON_CHARS = 500
"""A reason is one line for people; a longer one is cut. The traceback has the rest."""

MAX_TRACEBACK_FRAMES = 50
"""Frames kept of a traceback, from its inner end. A recursion error has a thousand alike."""


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an agent ended."""

    kind: ExitKind
    """`normal`, `shutdown`, `killed`, `crash` or `noproc`."""

    text: str = ""
    """One line for people; empty when the kind says it all."""

    error: BaseException | None = None
    """The exception of a crash."""

    root_pid: int = 0
    """The agent whose crash this was, when it came through links; 0 when it is the agent's own."""

    @property
    def is_orderly(self) -> bool:
        """True for the ends after which a transient child is not restarted (OTP: normal, shutdown, {shutdown, _})."""
        return self.kind == "normal" or self.kind == "shutdown"

    def __str__(self) -> str:
        if self.kind == "crash":
            return self.text
        return f"{self.kind} ({self.text})" if self.text else self.kind


NORMAL = ExitReason("normal")
SHUTDOWN = ExitReason("shutdown")
KILLED = ExitReason("killed")
NOPROC = ExitReason("noproc", "it was dead already")


def crash_reason(error: BaseException) -> ExitReason:
    """The exit reason of an agent that `error` ended. Survives an exception whose `__str__` raises."""
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception as fault:  # user code: an exception may be broken as well
        text = f"<str() raised {type(fault).__name__}>"
    line = f"{kind}: {text}" if text else kind
    return ExitReason("crash", one_line(line), error)


def one_line(text: str, limit: int = MAX_REASON_CHARS) -> str:
    """`text` without line breaks, cut at `limit` characters with a mark."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"


class WorkerTraceback(Exception):
    """The traceback of an error that came from another process, as text: the cause of that error here."""

    def __init__(self, text: str, fingerprint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.fingerprint = fingerprint

    def __str__(self) -> str:
        return f"\n{self.text}"


class Crash:
    """What is known of an agent that an exception ended. Kept in a bounded ring and with its child slot."""

    __slots__ = (
        "_error",
        "_trace",
        "_traceback",
        "at",
        "child_id",
        "class_name",
        "fingerprint",
        "has_message",
        "kind",
        "message",
        "name",
        "pid",
        "reason",
        "supervisor_pid",
    )

    def __init__(
        self,
        *,
        pid: int,
        name: str | None,
        class_name: str,
        child_id: str,
        supervisor_pid: int,
        reason: ExitReason,
        message: Any,
        has_message: bool,
    ) -> None:
        error = reason.error
        assert error is not None
        self.at = wall_s()
        """When, in Unix time."""
        self.pid = pid
        self.name = name
        self.class_name = class_name
        self.child_id = child_id
        self.supervisor_pid = supervisor_pid
        self.reason = reason.text
        """One line: the exception's type and text."""
        self.kind = type(error).__name__
        """The exception's type."""
        self.message = message
        """The message that was being handled; None when `has_message` is false (a crash in `init`, say)."""
        self.has_message = has_message
        far: WorkerTraceback | None = None
        if isinstance(error.__cause__, WorkerTraceback):
            far = error.__cause__
        self.fingerprint = far.fingerprint if far is not None and far.fingerprint else _fingerprint(error)
        """The same for crashes of the same exception type at the same line of code."""
        self._error: BaseException | None = error
        self._trace: TracebackType | None = error.__traceback__
        self._traceback: str | None = far.text if far is not None else None

    def frames(self) -> list[tuple[FrameType, int]]:
        """The frames of the traceback and their lines, outermost first, without the scheduler's own. None once the traceback
        has been formatted. Whoever keeps one keeps all that it holds alive."""
        found: list[tuple[FrameType, int]] = []
        trace = _user_part(self._trace)
        while trace is not None:
            found.append((trace.tb_frame, trace.tb_lineno))
            trace = trace.tb_next
        return found

    @property
    def traceback(self) -> str:
        """The formatted traceback. Formatted on first reading, which lets go of the frames and all they hold."""
        if self._traceback is None:
            self._traceback = _format(self._error, self._trace)
            self._error = self._trace = None
        return self._traceback


def _format(error: BaseException | None, trace: TracebackType | None) -> str:
    if error is None:
        return ""
    try:
        parts = traceback.TracebackException(
            type(error), error, _user_part(trace), limit=-MAX_TRACEBACK_FRAMES
        ).format()
        return "".join(parts)
    except Exception as fault:  # formatting calls __str__ and __repr__ of user objects
        return f"{type(error).__name__} (its traceback could not be formatted: {type(fault).__name__})"


_HERE = str(Path(__file__).parent)


def _user_part(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the scheduler's own frames at its outer end: they are the same in each crash."""
    outermost = trace
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return trace if trace is not None else outermost


def _fingerprint(error: BaseException) -> str:
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_HERE) or not place:
            place = f"{code.co_filename}:{trace.tb_lineno}:{code.co_name}"
        trace = trace.tb_next
    kind = type(error)
    text = f"{kind.__module__}.{kind.__qualname__}|{place}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
