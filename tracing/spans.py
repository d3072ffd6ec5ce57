"""Spans of what agents do: an instrument that turns activities, crashes and restarts into OpenTelemetry's.

    message -> invoke_agent (begun by the message's first activity)
                  +-- chat, execute_tool ... (the activities; current in the context, so that spans of other
                  |                           instrumentations nest under them)
    crash   -> exception on the run, and a log event; the successor's first run links to it

A message without an activity makes no span. All of it belongs to the scheduler's thread.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry._logs import LoggerProvider, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TracerProvider

from observe.runtime import Crash, ExitReason
from observe.runtime.errors import Contained
from observe.runtime.exits import one_line
from observe.runtime.instrument import Instrument
from observe.tracing import genai, references
from observe.tracing.context import linked, links_of
from observe.tracing.masking import mask_text
from observe.tracing.tail import Tail, always

if TYPE_CHECKING:
    from observe.runtime import Activity, Agent, Node
    from observe.runtime.children import Child
    from observe.runtime.ladder import Failure, Rung
    from observe.tracing.message_spans import MessageSpans

OPEN_AFTER_S: Final = 5.0
"""An activity that is open for so long is told to the backend, which otherwise sees it only when it ends."""
OPEN_EVERY_S: Final = 30.0
LOOK_EVERY_S: Final = 1.0
TOLD_AT_ONCE: Final = 200
"""Open activities told in one look, so that it stays under 5 ms; the others in the next."""

PREDECESSORS: Final = 10_000
"""Crashed runs to which a successor may still link, and agents for whose next run something is noted."""

NOTED: Final = 8
"""Events that wait for an agent's next run."""

_DURATIONS: Final = [0.01 * 2**n for n in range(14)]
_TOKENS: Final = [4**n for n in range(14)]


class _Run:
    """One message of one agent, from its first activity to its end."""

    __slots__ = ("agent", "is_over", "span")

    def __init__(self, agent: Agent, span: Span) -> None:
        self.agent = agent
        self.span = span
        self.is_over = False

    def finish(self, error: BaseException | None = None) -> None:
        """The step has ended. With an error the crash or exit that follows ends the span, and says why; none follows where an
        agent is spared because its containment has denied what it tried."""
        if isinstance(error, Contained):
            self.span.set_attribute(genai.ERROR_TYPE, type(error).__qualname__)
            self.span.set_status(Status(StatusCode.ERROR, mask_text(str(error))[0]))
        if error is None or isinstance(error, Contained):
            self.end()

    def end(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.span.end()


class _Open:
    """An activity that is open."""

    __slots__ = ("agent", "before", "began", "run", "shape", "span", "tell_at")

    def __init__(self, agent: Agent, run: _Run, shape: genai.Shape, span: Span, before: Context) -> None:
        self.agent = agent
        self.run = run
        self.shape = shape
        self.span = span
        self.before = before
        self.began = time.monotonic()
        self.tell_at = self.began + OPEN_AFTER_S


_run: ContextVar[_Run | None] = ContextVar("observe_run", default=None)


def agent_here() -> Agent | None:
    """The agent whose run this context belongs to, also in a thread that has been given it."""
    run = _run.get()
    return run.agent if run is not None and not run.is_over else None


class SpanMaker(Instrument):
    """Makes spans of one node's activities."""

    def __init__(
        self,
        node: Node,
        tracers: TracerProvider,
        loggers: LoggerProvider,
        meters: MeterProvider,
        messages: MessageSpans,
        tail: Tail,
        *,
        content: bool,
        open_after_s: float = OPEN_AFTER_S,
    ) -> None:
        self._node = node
        self._messages = messages
        self._tail = tail
        self._tracer = tracers.get_tracer("observe")
        self._logger = loggers.get_logger("observe")
        meter = meters.get_meter("observe")
        self._durations = {
            "execute_tool": meter.create_histogram(
                "gen_ai.execute_tool.duration", "s", explicit_bucket_boundaries_advisory=_DURATIONS
            )
        }
        self._model_duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", explicit_bucket_boundaries_advisory=_DURATIONS
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=_TOKENS
        )
        self._content = content
        self._open_after_s = open_after_s
        self._open: dict[Activity, _Open] = {}
        self._runs: dict[int, _Run] = {}
        self._crashed: dict[int, tuple[SpanContext, str]] = {}
        """Runs that crashed, by pid, until their agent has a successor."""
        self._rungs: dict[int, str] = {}
        self._noted: dict[int, list[tuple[str, dict[str, Any]]]] = {}
        """What has happened to agents between two runs, by pid: events of the next."""
        self._wanted: dict[int, list[references.Fill]] = {}
        """Who wants to know in which trace an agent's next run is, by pid."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_on = False

    def start(self) -> None:
        """Plug in. The node may be started later."""
        self._is_on = True
        self._node.instruments.add(self)
        references.register(self._node, self)

    def stop(self) -> None:
        """Unplug, and end what is open."""
        self._is_on = False
        self._node.instruments.remove(self)
        references.forget(self._node, self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for activity in list(self._open):
            self._abandon(activity, "shutdown", "tracing ended")
        for run in list(self._runs.values()):
            if not run.is_over:
                run.span.set_attribute(genai.END_REASON, "tracing ended")
                run.end()
        self._runs.clear()

    @property
    def open_activities(self) -> int:
        """Activities whose span has not ended."""
        return len(self._open)

    # -- Activities

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        before = otel.get_current()
        run, context = self._run_for(agent, before)
        shape = genai.shape_of(agent, activity, self._content)
        span = self._tracer.start_span(shape.name, context, shape.kind, shape.attributes)
        one = self._open[activity] = _Open(agent, run, shape, span, context)
        one.tell_at = one.began + self._open_after_s
        otel.attach(trace.set_span_in_context(span, context))
        if self._timer is None:
            self._timer = self._node.loop.call_later(min(LOOK_EVERY_S, self._open_after_s), self._look)

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        one = self._open.pop(activity, None)
        if one is None:
            return  # begun before we listened, or ended by `on_exit`
        span = one.span
        if trace.get_current_span() is span:
            # Set, not reset by a token: an activity may be left in another task than the one that entered it.
            otel.attach(one.before)
        failed = type(error).__qualname__ if error is not None else ""
        self._measure(one, activity, failed)
        if error is not None:
            exit_reason = agent._o_exit
            if exit_reason is not None and isinstance(error, asyncio.CancelledError):
                failed = exit_reason.kind
                span.set_attribute(genai.END_REASON, str(exit_reason))
                span.set_status(Status(StatusCode.ERROR, str(exit_reason)))
            else:
                self._exception(one, error)
            span.set_attribute(genai.ERROR_TYPE, failed)
        span.end()

    def _run_for(self, agent: Agent, current: Context) -> tuple[_Run, Context]:
        """The run that an activity belongs to, begun if need be, and the context in which it is current."""
        run = _run.get()
        if run is not None and run.agent is agent and not run.is_over:
            return run, current
        pid = agent.ref.pid
        run = self._runs.get(pid)
        step = agent._o_step
        if run is not None and not run.is_over and step is not None and step.on_end is not None:
            # Another task of the same step.
            return run, trace.set_span_in_context(run.span, current)
        if run is not None:
            run.end()  # an earlier message of the same slice
        shape = genai.run_of(agent)
        if self._messages.is_always(pid):
            current = always(current)
        links, rung = links_of(current), None
        crashed = self._crashed.pop(-pid, None)
        if crashed is not None:
            links += [Link(crashed[0], {"observe.link": "restart", genai.END_REASON: crashed[1]})]
            rung = self._rungs.pop(-pid, None)
        span = self._tracer.start_span(shape.name, current, shape.kind, shape.attributes, links=links)
        if crashed is not None:
            span.add_event("observe.restart", {genai.END_REASON: crashed[1]})
        if rung is not None:
            span.add_event("observe.rung", {"observe.rung": rung})
        for name, facts in self._noted.pop(pid, ()):
            span.add_event(name, facts)
        if pid in self._wanted:
            self._fill(self._wanted.pop(pid), span)
        run = self._runs[pid] = _Run(agent, span)
        context = trace.set_span_in_context(span, linked(current))
        _run.set(run)
        if step is not None:
            step.on_end = run.finish
        else:
            self._node.scheduler.post(self._after_slice, agent, run)
        return run, context

    def _after_slice(self, agent: Agent, run: _Run) -> None:
        """Before the next slice: the handler has ended, or its step waits and tells us when it ends."""
        step = agent._o_step
        if step is not None and self._runs.get(agent.ref.pid) is run:
            step.on_end = run.finish
        elif agent._o_exit is None:
            run.end()

    def _measure(self, one: _Open, activity: Activity, failed: str) -> None:
        span, shape = one.span, one.shape
        labels = {
            key: shape.attributes[key]
            for key in (genai.OPERATION, genai.PROVIDER, genai.MODEL, genai.TOOL)
            if key in shape.attributes
        }
        for key, kind, count in (
            (genai.INPUT_TOKENS, "input", activity.input_tokens),
            (genai.OUTPUT_TOKENS, "output", activity.output_tokens),
        ):
            if count:
                span.set_attribute(key, count)
                self._tokens.record(count, labels | {genai.TOKEN_TYPE: kind})
        if activity.cost:
            span.set_attribute(genai.COST, activity.cost)
        if shape.operation != "activity":
            histogram = self._durations.get(shape.operation, self._model_duration)
            histogram.record(
                time.monotonic() - one.began, labels | ({genai.ERROR_TYPE: failed} if failed else {})
            )

    def _exception(self, one: _Open, error: BaseException) -> None:
        """As the conventions now want (a log event) and as backends understand it (a span event)."""
        what = {
            "exception.type": type(error).__qualname__,
            "exception.message": mask_text(ExitReason("crash", _text(error)).text)[0],
        }
        one.span.add_event("exception", what)
        one.span.set_status(Status(StatusCode.ERROR, what["exception.message"]))
        self._event(f"gen_ai.{one.shape.operation}.exception", one.span, SeverityNumber.WARN, what)

    def _event(self, name: str, span: Span, severity: SeverityNumber, attributes: dict[str, Any]) -> None:
        self._logger.emit(
            timestamp=time.time_ns(),
            context=trace.set_span_in_context(span),
            severity_number=severity,
            severity_text=severity.name,
            body=name,
            # Again as an attribute: receivers with an older protocol lose the field.
            attributes=attributes | {"event.name": name},
            event_name=name,
        )

    # -- What is still running

    def _look(self) -> None:
        """Tell the backend of activities that have been open for long."""
        self._timer = None
        if not self._is_on or not self._open:
            return
        now = time.monotonic()
        told = 0
        for activity, one in list(self._open.items()):
            if one.tell_at <= now and told < TOLD_AT_ONCE:
                told += 1
                one.tell_at = now + OPEN_EVERY_S
                what = one.shape.attributes | {
                    "observe.span.name": one.shape.name,
                    "observe.activity": activity.name,
                    "observe.open_s": round(now - one.began, 3),
                }
                self._event("observe.span.open", one.span, SeverityNumber.INFO, what)
        self._timer = self._node.loop.call_later(min(LOOK_EVERY_S, self._open_after_s), self._look)

    def _abandon(self, activity: Activity, kind: str, why: str) -> None:
        one = self._open.pop(activity, None)
        if one is None:
            return  # ended meanwhile: a shutdown may come from another thread
        one.span.set_attribute(genai.END_REASON, why)
        one.span.set_attribute(genai.ERROR_TYPE, kind)
        one.span.set_status(Status(StatusCode.ERROR, why))
        one.span.end()

    def reference(self, pid: int) -> tuple[str, str] | None:
        """Trace and span of what the agent does now; None when it has no open span that is kept."""
        span = self._span_of(pid)
        return _ids(span) if span is not None and span.is_recording() else None

    def refer(self, pid: int, fill: references.Fill) -> None:
        """Call `fill` with them now, or when the agent's next run begins."""
        span = self._span_of(pid)
        if span is not None:
            self._fill([fill], span)
            return
        waiting = self._wanted.setdefault(pid, [])
        waiting.append(fill)
        del waiting[:-NOTED]
        if len(self._wanted) > PREDECESSORS:
            del self._wanted[next(iter(self._wanted))]

    def _fill(self, waiting: list[references.Fill], span: Span) -> None:
        if span.is_recording():
            for fill in waiting:
                fill(*_ids(span))

    def _span_of(self, pid: int) -> Span | None:
        run = self._runs.get(pid)
        return self._messages.open_span(pid) if run is None or run.is_over else run.span

    def note(self, pid: int, name: str, facts: dict[str, Any], keep: bool) -> None:
        """Something happens to an agent: an event on its run, on that of its message, or on its next one."""
        span = self._span_of(pid)
        if span is None:
            waiting = self._noted.setdefault(pid, [])
            waiting.append((name, facts))
            del waiting[:-NOTED]
            if len(self._noted) > PREDECESSORS:
                del self._noted[next(iter(self._noted))]
            return
        span.add_event(name, facts)
        if keep:
            self._tail.keep(span.get_span_context().trace_id)

    # -- Ends and restarts

    def on_crash(self, crash: Crash) -> None:
        run = self._runs.get(crash.pid)
        if run is None or run.is_over:
            return
        what = {
            "exception.type": crash.kind,
            "exception.message": mask_text(crash.reason)[0],
            "exception.stacktrace": mask_text(crash.traceback[-8000:])[0],
        }
        run.span.add_event("exception", what)
        run.span.set_attribute(genai.ERROR_TYPE, crash.kind)
        run.span.set_status(Status(StatusCode.ERROR, what["exception.message"]))
        self._event("gen_ai.invoke_agent.exception", run.span, SeverityNumber.ERROR, what)
        _keep(self._crashed, crash.pid, (run.span.get_span_context(), what["exception.message"]))

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        pid = agent.ref.pid
        self._noted.pop(pid, None)
        self._wanted.pop(pid, None)
        run = self._runs.pop(pid, None)
        if agent._o_activities:
            for activity in list(agent._o_activities):
                if activity in self._open:
                    self._abandon(activity, reason.kind, str(reason))
        if run is None or run.is_over:
            return
        if not reason.is_orderly:
            run.span.set_attribute(genai.END_REASON, mask_text(str(reason))[0])
            if reason.kind != "crash":
                run.span.set_attribute(genai.ERROR_TYPE, reason.kind)
                run.span.set_status(Status(StatusCode.ERROR, str(reason)))
                _keep(self._crashed, pid, (run.span.get_span_context(), str(reason)))
        run.end()

    def on_rung(self, child: Child, rung: Rung, failure: Failure) -> None:
        if failure.at_pid in self._crashed:
            _keep(self._rungs, failure.at_pid, type(rung).__name__)

    def on_restart(self, old: Agent, new: Agent) -> None:
        crashed = self._crashed.pop(old.ref.pid, None)
        rung = self._rungs.pop(old.ref.pid, None)
        if crashed is not None:
            _keep(self._crashed, -new.ref.pid, crashed)  # negative: the successor's
            if rung is not None:
                _keep(self._rungs, -new.ref.pid, rung)


def _keep(kept: dict[int, Any], key: int, value: Any) -> None:
    kept[key] = value
    if len(kept) > PREDECESSORS:
        del kept[next(iter(kept))]


def _text(error: BaseException) -> str:
    try:
        return one_line(str(error))
    except Exception as fault:  # noqa: BLE001  # a stranger's __str__
        return f"<str() raised {type(fault).__name__}>"


def _ids(span: Span) -> tuple[str, str]:
    known = span.get_span_context()
    return f"{known.trace_id:032x}", f"{known.span_id:016x}"
