"""Log records that say which agent wrote them, in which trace; and out over OTLP.

setup(node, logs=["shop"])                              to the backend, also from worker processes
logging.getLogger().addHandler(LogHandler(tracing))     the same of this process alone
handler.addFilter(AgentFilter())                        %(agent)s %(pid)s %(trace_id)s %(span_id)s for any format
structlog.configure(processors=[..., add_agent, ...])   the same for structlog
"""

from __future__ import annotations

import itertools
import logging
import reprlib
import traceback
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber

from observe.runtime.logring import extras
from observe.runtime.scheduler import current_agent
from observe.tracing import genai
from observe.tracing.masking import MASK, mask_text, secrecy
from observe.tracing.spans import agent_here

if TYPE_CHECKING:
    from observe.runtime import Agent
    from observe.tracing.export import Tracing

BODY: Final = 4000
"""Characters of one record's text."""

STACK: Final = 8000
FRAMES: Final = 20
"""Characters, and frames, of the traceback that came with it: its end says most."""

FIELDS: Final = 20
FIELD: Final = 1000
"""What was said besides, by `extra=`: so many, of so many characters."""

_OURS: Final = ("observe.tracing", "opentelemetry")
"""Loggers that tell of failed exports: what they say must not be exported in turn."""


def where() -> dict[str, Any]:
    """`agent`, `pid`, `trace_id`, `span_id` of the code that runs; an empty text, or 0, for what there is not."""
    agent, trace_id, span_id = here()
    return {
        "agent": "" if agent is None else agent.ref.name or type(agent).__name__,
        "pid": 0 if agent is None else agent.ref.pid,
        "trace_id": trace_id,
        "span_id": span_id,
    }


def here() -> tuple[Agent | None, str, str]:
    """The same for the log that the node keeps (`observe.runtime.logring`)."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return _agent(), "", ""
    return _agent(), trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)


def _agent() -> Agent | None:
    """Whose code runs: the step's, or of another task or thread that has its context, the agent in whose activity it began."""
    return current_agent() or agent_here()


class AgentFilter(logging.Filter):
    """Adds `where()` to each record, so that formats can name it. Lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in where().items():
            setattr(record, name, value)
        return True


def add_agent(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that adds `where()`; what the event says itself stays."""
    for name, value in where().items():
        event.setdefault(name, value)
    return event


class LogHandler(logging.Handler):
    """Sends records to the backend, masked, with the agent and the trace they belong to. Never waits for it."""

    def __init__(self, tracing: Tracing, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._logger = tracing.logger_provider.get_logger("observe.logs")
        self._loggers: list[logging.Logger] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OURS):
            return
        try:
            attributes: dict[str, Any] = {"code.lineno": record.lineno, "logger.name": record.name}
            agent = _agent()
            if agent is not None:
                attributes |= genai.whose(agent)
            if record.exc_info and record.exc_info[0] is not None:
                attributes["exception.type"] = record.exc_info[0].__qualname__
                attributes["exception.message"] = mask_text(str(record.exc_info[1])[:BODY])[0]
                text = "".join(traceback.format_exception(*record.exc_info, limit=-FRAMES))
                attributes["exception.stacktrace"] = mask_text(text[-STACK:])[0]
            for name, value in itertools.islice(extras(record), FIELDS):
                attributes.setdefault(name, MASK if secrecy(name) else _plain(value))
            self._logger.emit(
                timestamp=int(record.created * 1e9),
                severity_number=_severity(record.levelno),
                severity_text=record.levelname,
                body=mask_text(record.getMessage()[:BODY])[0],
                attributes=attributes,
            )
        except Exception:  # noqa: BLE001  # as every handler: a record's own arguments may raise
            self.handleError(record)

    def join(self, logger: logging.Logger) -> None:
        """Take this logger's records."""
        logger.addHandler(self)
        self._loggers.append(logger)

    def leave(self) -> None:
        """Take no more records of those that were joined."""
        for logger in self._loggers:
            logger.removeHandler(self)
        self._loggers.clear()


def handle(names: Iterable[str], tracing: Tracing) -> list[LogHandler]:
    """Have records of these loggers sent; "" is the root."""
    handlers = []
    for name in names:
        handler = LogHandler(tracing)
        handler.join(logging.getLogger(name))
        handlers.append(handler)
    return handlers


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    return mask_text((value if isinstance(value, str) else reprlib.repr(value))[:FIELD])[0]


def _severity(level: int) -> SeverityNumber:
    for least, severity in (
        (logging.CRITICAL, SeverityNumber.FATAL),
        (logging.ERROR, SeverityNumber.ERROR),
        (logging.WARNING, SeverityNumber.WARN),
        (logging.INFO, SeverityNumber.INFO),
    ):
        if level >= least:
            return severity
    return SeverityNumber.DEBUG
