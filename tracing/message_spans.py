"""Spans of messages, where they are asked for: by ratio, class and name, and of agents that are traced live.

    sender's step --on_send--> `send {class}`, PRODUCER ..........link..........+
                                                                                 v
    receiver      --on_begin-> `process {class}`, CONSUMER, child of what the message carries --on_end--> ends

Names and attributes follow OpenTelemetry's messaging conventions: the processing links to the sending, which works for any
structure, and is a child of the sender's span as well, which gives a readable tree. A message that carries a sampled trace
belongs to it; one that carries none begins a trace, or not, by the ratio; one that fails makes a span all the same. Only agents that a rule means are tapped: the
messages of all others cost what they cost without this. All of it belongs to the scheduler's thread.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import weakref
from collections import Counter, deque
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TracerProvider

from observe.runtime.errors import ActionRefused
from observe.runtime.instrument import Instrument
from observe.runtime.taps import Handled, Tap, tap, untap
from observe.tracing import genai
from observe.tracing.context import linked, links_of
from observe.tracing.errors import BadSetting
from observe.tracing.masking import mask_text
from observe.tracing.rates import Rate
from observe.tracing.tail import Tail, always

if TYPE_CHECKING:
    from observe.runtime import Agent, ExitReason, Node

MOST_SENT: Final = 10_000
"""Messages that wait for their receiver and would be linked to. The oldest are forgotten first."""

SYSTEM: Final = "observe"

ALWAYS_RATE: Final = 500.0
"""Messages a second of agents that are traced live, contained or risky which make spans, in all: some 3% of a core. What is beyond
is counted (`passed_over`)."""


@dataclass(frozen=True, slots=True)
class MessageRule:
    """Which messages make spans: those to and from agents that it means."""

    ratio: float = 1.0
    """Of messages that would begin a trace, so many do. Those that belong to a sampled trace always make a span."""
    classes: str = "*"
    """Pattern of the agents' class, as in a shell."""
    names: str = "*"
    """Pattern of their registered name; an agent without one has an empty name."""
    roots: bool = False
    """Only messages that begin a trace."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio <= 1.0:
            raise BadSetting("ratio", self.ratio, "a ratio from 0 to 1")

    def means(self, agent: Agent) -> bool:
        """Whether it is about this agent."""
        return fnmatchcase(type(agent).__name__, self.classes) and fnmatchcase(
            agent.ref.name or "", self.names
        )


class MessageSpans(Tap, Instrument):
    """Makes them for one node."""

    def __init__(
        self, node: Node, tracers: TracerProvider, rules: tuple[MessageRule, ...], tail: Tail
    ) -> None:
        """The first rule that means an agent decides."""
        self._node = node
        self._tracer = tracers.get_tracer("observe.messages")
        self._given = rules
        self._tail = tail
        self._rate = Rate(ALWAYS_RATE)
        self.passed_over = 0
        """Messages of agents under a session, in containment or at risk that made no span, by `ALWAYS_RATE`."""
        self._rules: dict[int, MessageRule] = {}
        self._always: Counter[int] = Counter()
        self._shares: dict[int, float] = {}
        """Of agents that are traced for their risk."""
        self._agents: dict[int, Agent] = {}
        self._open: dict[int, tuple[Span, Context]] = {}
        self._unmade: dict[int, tuple[int, Context]] = {}
        """Messages in hand that make a span only if they fail: since when, and in which context."""
        self._sent: dict[tuple[int, int], deque[SpanContext]] = {}

    def start(self) -> None:
        """Plug in."""
        self._node.instruments.add(self)
        _OF[self._node] = self
        if self._node.is_running:
            for agent in list(self._node.agents.values()):
                self._consider(agent)

    def stop(self) -> None:
        """Unplug; all agents are as they were. From another thread that comes a little later."""
        self._node.instruments.remove(self)
        if _OF.get(self._node) is self:
            del _OF[self._node]
        if self._node.is_running and self._node.scheduler.thread_id != threading.get_ident():
            self._node.scheduler.call_soon_threadsafe(self._let_go)
        else:
            self._let_go()

    def _let_go(self) -> None:
        for agent in self._agents.values():
            untap(agent, self)
        for span, _ in self._open.values():
            span.end()
        for kept in (
            self._agents, self._open, self._unmade, self._rules, self._sent, self._always, self._shares,
        ):  # fmt: skip
            kept.clear()

    def always(self, agent: Agent) -> None:
        """A live session listens to it, or it is contained: all that it does makes spans, until `no_more`."""
        self._always[agent._o_pid] += 1
        self._listen(agent)

    def no_more(self, agent: Agent) -> None:
        """That session has ended, or it is out again."""
        pid = agent._o_pid
        self._always[pid] -= 1
        if self._always[pid] <= 0:
            del self._always[pid]
            self._let_be(agent)

    def sample(self, agent: Agent, share: float) -> None:
        """So many of its messages make spans from here on, whatever the sampler says; 0: as if this had not been called."""
        if share > 0:
            self._shares[agent._o_pid] = share
            self._listen(agent)
        else:
            self._shares.pop(agent._o_pid, None)
            self._let_be(agent)

    def _let_be(self, agent: Agent) -> None:
        """Listen to it no more, if nothing is left that wants it."""
        pid = agent._o_pid
        if pid in self._rules or pid in self._shares or pid in self._always:
            return
        if self._agents.pop(pid, None) is not None:
            untap(agent, self)

    def is_always(self, pid: int) -> bool:
        """Whether all that it does is sampled."""
        return pid in self._always

    def open_span(self, pid: int) -> Span | None:
        """That of the message which it handles now."""
        opened = self._open.get(pid)
        return opened[0] if opened is not None else None

    # -- what the node tells

    def on_spawn(self, agent: Agent) -> None:
        self._consider(agent)

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        pid = agent._o_pid
        self._agents.pop(pid, None)
        self._rules.pop(pid, None)
        self._always.pop(pid, None)
        self._shares.pop(pid, None)
        self._unmade.pop(pid, None)
        left = self._open.pop(pid, None)
        if left is not None:
            left[0].set_attribute(genai.END_REASON, mask_text(str(reason))[0])
            if not reason.is_orderly:
                left[0].set_status(Status(StatusCode.ERROR, mask_text(str(reason))[0]))
            left[0].end()

    def _consider(self, agent: Agent) -> None:
        rule = next((rule for rule in self._given if rule.means(agent)), None)
        if rule is not None and rule.ratio > 0:
            self._rules[agent._o_pid] = rule
            self._listen(agent)

    def _listen(self, agent: Agent) -> None:
        with contextlib.suppress(ActionRefused):  # a supervisor, or in another process
            tap(agent, self)
            self._agents[agent._o_pid] = agent

    # -- what the taps tell

    def on_send(self, agent: Agent, target: Agent, message: Any, is_call: bool) -> None:
        current = trace.get_current_span()
        if not current.is_recording():  # sampled, or held until it is known
            return
        where = type(target).__name__
        span = self._tracer.start_span(
            f"send {where}", kind=SpanKind.PRODUCER, attributes=_facts("send", where) | genai.whose(agent)
        )
        span.end()
        waiting = self._sent.setdefault((target._o_pid, id(message)), deque())
        waiting.append(span.get_span_context())
        if len(self._sent) > MOST_SENT:
            del self._sent[next(iter(self._sent))]

    def on_begin(self, agent: Agent, message: Any) -> None:
        pid = agent._o_pid
        rule = self._rules.get(pid)
        before = inside = otel.get_current()
        parent = trace.get_current_span(before).get_span_context()
        sent = self._take_sent(pid, message)
        if self._is_wanted(pid):
            inside = always(before)
        elif rule is None:
            return
        elif parent.is_valid:
            if rule.roots or not (parent.trace_flags.sampled or self._tail.rule is not None):
                return
        elif random.random() >= rule.ratio:
            if self._tail.rule is not None and self._tail.rule.errors:
                self._unmade[pid] = time.time_ns(), before
            return
        span = self._begun(agent, inside, sent)
        self._open[pid] = span, before
        otel.attach(trace.set_span_in_context(span, linked(inside)))

    def _is_wanted(self, pid: int) -> bool:
        """Whether this message is traced because of whose it is, whatever rules and samplers say."""
        if pid not in self._always:
            share = self._shares.get(pid)
            if share is None or (share < 1.0 and random.random() >= share):
                return False
        if self._rate.take():
            return True
        if pid not in self._rules:
            self.passed_over += 1
        return False

    def _begun(
        self, agent: Agent, inside: Context, sent: SpanContext | None, since_ns: int | None = None
    ) -> Span:
        where = type(agent).__name__
        links = [*([Link(sent)] if sent is not None else []), *links_of(inside)]
        facts = _facts("process", where) | genai.whose(agent)
        return self._tracer.start_span(
            f"process {where}", inside, SpanKind.CONSUMER, facts, links, start_time=since_ns
        )

    def on_end(self, agent: Agent, handled: Handled) -> None:
        opened = self._open.pop(agent._o_pid, None)
        unmade = self._unmade.pop(agent._o_pid, None)
        if unmade is not None and handled.error is not None:
            opened = self._begun(agent, always(unmade[1]), None, unmade[0]), unmade[1]
        if opened is None:
            return
        span, before = opened
        if trace.get_current_span() is span:
            otel.attach(before)
        if handled.error is not None:
            kind = type(handled.error).__qualname__
            span.set_attribute(genai.ERROR_TYPE, kind)
            span.set_status(Status(StatusCode.ERROR, kind))
        span.end()

    def _take_sent(self, pid: int, message: Any) -> SpanContext | None:
        key = pid, id(message)
        waiting = self._sent.get(key)
        if waiting is None:
            return None
        found = waiting.popleft()
        if not waiting:
            del self._sent[key]
        return found


def _facts(operation: str, where: str) -> dict[str, Any]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": where,
        "openinference.span.kind": "CHAIN",
    }


_OF: Final[weakref.WeakKeyDictionary[Node, MessageSpans]] = weakref.WeakKeyDictionary()


def of_node(node: Node) -> MessageSpans | None:
    """Those of a node that makes any."""
    return _OF.get(node)
