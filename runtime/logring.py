"""The newest records of the process's logging, kept so that somebody who attaches can read them.

    Logger.handle --> Logger.callHandlers --> LogRing.take of each open ring, then the service's own handlers

A ring is no handler of the root logger: with one there `logging.basicConfig` would do nothing any more, warnings of a service
without handlers would no longer reach stderr, loggers that do not propagate would be missing, and `dictConfig` would throw it out.
So `Logger.callHandlers` is wrapped while a ring is open, as Sentry's SDK wraps it. What reaches a ring is what the levels
and filters of the service's loggers let through.

Taking a record waits for nothing: no lock, no output. It costs some five microseconds, and nothing without a ring.
"""

from __future__ import annotations

import asyncio
import logging
import reprlib
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import count
from time import time
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.scheduler import current_agent

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node

TEXT: Final = 2_000
"""Characters kept of a record's text."""

TRACEBACK: Final = 8_000
"""Characters kept of a traceback: its end, where the exception is named."""

FIELDS: Final = 20
"""Fields kept of a structured record."""

FIELD: Final = 200
"""Characters kept of one of them."""

APPENDS_WITHIN_S: Final = 1.0
"""A record with a number that is missing for so long is not being appended by another thread: it never will be."""

_OF_EVERY_RECORD: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message", "asctime", "taskName", "exc_text", "agent", "pid", "trace_id", "span_id",
}  # fmt: skip
"""Attributes of a record that are no fields; `agent` and those after it are what tracing's filter adds."""

Where = tuple["Agent | None", str, str]
"""The agent whose code runs, and the trace and span that it is in, in hexadecimal digits."""

_making: ContextVar[bool] = ContextVar("observe_log_making", default=False)
"""True while a record is made into ours: what it is made of may log in turn. Per step, since one may be frozen meanwhile."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One record, as it was when it was logged."""

    number: int
    """Counts the records of a ring from 1."""
    at: float
    """Unix time."""
    level: int
    level_name: str
    logger: str
    text: str
    pid: int = 0
    """Of the agent in whose step it was logged; 0: outside of all."""
    agent: str = ""
    """That agent's name; empty when it has none."""
    class_name: str = ""
    task: str = ""
    """The asyncio task outside of agents in which it was logged."""
    thread: str = ""
    """Empty: the main thread."""
    place: str = ""
    """`file.py:12 in function`."""
    fields: tuple[tuple[str, str], ...] = ()
    """What was said besides: `extra=`, or the event of structlog."""
    error: str = ""
    """`ValueError: no lamp`, the exception it came with."""
    traceback: str = ""
    worker: int = 0
    """Number of the worker process that has logged it; 0: this one."""
    trace: str = ""
    """In which trace and span it was logged, in hexadecimal digits; empty for none, or where nothing is traced."""
    span: str = ""


_reader: Callable[[], Where] | None = None


def set_reader(reader: Callable[[], Where]) -> None:
    """How records learn in which trace they are, and of agents whose code runs in other tasks and threads. Tracing's; it stays."""
    global _reader
    _reader = reader


class LogRing:
    """The newest records of one process. `take` may be called by any thread."""

    def __init__(self, node: Node, keep: int = 2_000, level: int = logging.NOTSET) -> None:
        """
        Args:
            node: whose agents are told as the ones that log.
            keep: how many records are kept; each may have 10,000 characters, though few do.
            level: records below it are not kept. It may be set at any time.
        """
        self.level = level
        self._node = node
        self._kept: deque[Logged] = deque(maxlen=keep)
        self._numbers = count(1)
        self._untold = 0
        self._unreadable = 0
        self._main = "MainThread"

    # -- while it is open

    def open(self) -> None:
        """Begin to take what the loggers of this process say."""
        _open_rings.append(self)
        _wrap()

    def close(self) -> None:
        """Take no more. Closing twice has no effect."""
        if self in _open_rings:
            _open_rings.remove(self)
        if not _open_rings:
            _unwrap()

    def statistics(self) -> dict[str, int]:
        """How many are kept, may be kept, were pushed out by newer ones, or could not be taken."""
        kept = self.kept()
        newest = kept[-1].number if kept else 0
        return {
            "kept": len(kept),
            "keep": self._kept.maxlen or 0,
            "pushed_out": newest - len(kept),
            "untold": self._untold,
            "unreadable": self._unreadable,
        }

    def kept(self) -> list[Logged]:
        """All that is kept, the oldest first, without gaps: a later look continues where this one ended."""
        while True:
            try:
                records = list(self._kept)
                break
            except RuntimeError:  # another thread has added one meanwhile
                continue
        records.sort(key=lambda record: record.number)
        for place in range(1, len(records)):
            missing = records[place].number - records[place - 1].number > 1
            if missing and records[place].at > time() - APPENDS_WITHIN_S:
                return records[:place]  # its number is given and it is on its way
        return records

    # -- what comes in

    def take(self, record: logging.LogRecord) -> None:
        """Keep a record. Never raises what it is made of raises, and never waits."""
        if record.levelno < self.level:
            return
        if _making.get():
            self._untold += 1
            return
        mark = _making.set(True)
        try:
            facts = self._facts(record)
            self._kept.append(Logged(next(self._numbers), **facts))
        except Exception:  # noqa: BLE001  # strangers' objects: what fails here must not reach whoever logs
            self._unreadable += 1
        finally:
            _making.reset(mark)

    def adopt(self, records: Iterable[Logged]) -> None:
        """Keep records of another process, with numbers of this ring."""
        for record in records:
            self._kept.append(replace(record, number=next(self._numbers)))

    def _facts(self, record: logging.LogRecord) -> dict[str, Any]:
        text, said = _said(record)
        facts: dict[str, Any] = {
            "at": record.created,
            "level": record.levelno,
            "level_name": str(record.levelname)[:FIELD],
            "logger": str(record.name)[:FIELD],
            "text": text[:TEXT],
            "place": _place(record),
        }
        if record.threadName and record.threadName != self._main:
            facts["thread"] = record.threadName[:FIELD]
        agent, trace, span = _reader() if _reader is not None else (current_agent(), "", "")
        fields = tuple(one for one in _fields(record, said) if one[1] not in (trace, span) or not trace)
        if fields:
            facts["fields"] = fields
        if trace:
            facts |= {"trace": trace, "span": span}
        facts |= self._who(agent)
        if record.exc_info and isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            facts |= _error(record.exc_info[1])
        return facts

    def _who(self, agent: Agent | None) -> dict[str, Any]:
        if agent is not None:
            if agent._o_node is not self._node:
                return {}
            return {
                "pid": agent._o_pid,
                "agent": agent._o_child.name or "",
                "class_name": type(agent).__name__,
            }
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return {}
        return {} if task is None else {"task": task.get_name()[:FIELD]}


def _said(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """The text of a record, and its fields when it is a structured one."""
    said = record.msg
    if isinstance(said, dict):  # structlog's ProcessorFormatter hands its event on as it is
        said = {str(name): value for name, value in said.items() if not str(name).startswith("_")}
        return str(said.pop("event", "")), said
    try:
        return record.getMessage(), {}
    except Exception:  # noqa: BLE001  # its arguments do not fit: what it meant to say is better than nothing
        return str(said), {"arguments": "do not fit the text"}


def extras(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """What was said besides the text, by `extra=`."""
    more = vars(record)
    for name in sorted(more.keys() - _OF_EVERY_RECORD):
        if not name.startswith("_"):
            yield name, more[name]


def _fields(record: logging.LogRecord, said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    said.update(extras(record))
    for number, (name, value) in enumerate(said.items()):
        if number == FIELDS:
            yield "…", f"{len(said) - FIELDS} more"
            return
        if name not in ("logger", "level", "timestamp", "exc_info"):
            yield name[:FIELD], _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value[:FIELD]
    if value is None or isinstance(value, (int, float)):
        return str(value)[:FIELD]
    return reprlib.repr(value)[:FIELD]


def _place(record: logging.LogRecord) -> str:
    return f"{record.filename}:{record.lineno} in {record.funcName}" if record.lineno else ""


def _error(error: BaseException) -> dict[str, str]:
    """The exception without its frames: those hold everything that they know."""
    text = "".join(traceback.format_exception(error, limit=-20))
    last = traceback.format_exception_only(error)[-1].strip()
    return {"error": last[:FIELD], "traceback": text[-TRACEBACK:]}


def keep_event(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor for structlog where it does not write through `logging`: the event is kept, and goes on as it is."""
    if _open_rings:
        level = logging.getLevelNamesMapping().get(method.upper(), logging.INFO)
        error = event.get("exc_info")
        if isinstance(error, BaseException):
            error = (type(error), error, error.__traceback__)
        elif error and not isinstance(error, tuple):
            error = sys.exc_info()
        name = str(event.get("logger", "structlog"))
        record = logging.LogRecord(name, level, "", 0, dict(event), None, error or None)
        for ring in _open_rings:
            ring.take(record)
    return event


_open_rings: list[LogRing] = []
_call_handlers = logging.Logger.callHandlers
_is_wrapped = False
"""Not told by looking at the class: whoever has wrapped ours in turn must not be wrapped again, or it would call itself."""


def _call_handlers_and_rings(self: logging.Logger, record: logging.LogRecord) -> None:
    for ring in _open_rings:
        ring.take(record)
    _call_handlers(self, record)


def _wrap() -> None:
    global _call_handlers, _is_wrapped  # the class is the process's, and so is this
    if not _is_wrapped:
        _is_wrapped = True
        _call_handlers = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers_and_rings  # type: ignore[method-assign]  # every logger, also those made later


def _unwrap() -> None:
    global _is_wrapped
    if logging.Logger.callHandlers is _call_handlers_and_rings:
        _is_wrapped = False
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]  # as it was
