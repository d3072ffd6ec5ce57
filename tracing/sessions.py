"""Live trace sessions: what chosen agents send, receive and do, as it happens, for a bounded while.

    Selector --> taps on agents, hooks of the node --> condition --> rate --> events --> sink, some at a time

A session cannot take the node down: it is bounded in agents, events, rate and time, and ends itself; what is beyond its
rate is counted and never made; a listener that fails is removed. All of it belongs to the scheduler's thread.

(The limits are those of Erlang's `recon_trace`: a trace that nobody has bounded has stopped more nodes than it mended.)
"""

from __future__ import annotations

import time
from asyncio import TimerHandle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from observe.runtime.clock import now_ns
from observe.runtime.errors import ActionRefused
from observe.runtime.instrument import Instrument
from observe.runtime.taps import Handled, Kind, Tap, tap, untap
from observe.tracing import message_spans
from observe.tracing.errors import BadSelector
from observe.tracing.kinds import clean
from observe.tracing.masking import mask_text
from observe.tracing.payload import Limits, Value, encode
from observe.tracing.payload import encode_fields as encode_state
from observe.tracing.peek import length, type_name
from observe.tracing.rates import Rate
from observe.tracing.selecting import Selector
from observe.tracing.where import Condition, plain

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.calls import Call
    from observe.runtime.exits import Crash, ExitReason
    from observe.runtime.node import Node

KINDS: Final = {
    "send": "a cast leaves the agent",
    "call": "a request leaves the agent",
    "receive": "a message comes into its mailbox",
    "reply": "it answers a request (out), or its own is answered (in)",
    "handled": "it has handled a cast, a timer's message or a signal",
    "spawn": "it starts",
    "exit": "it ends",
    "crash": "it ends by an exception",
    "restart": "its successor stands in its place",
    "state": "which fields of its state a message has changed",
    "activity": "an activity has begun or ended",
    "schedule": "it has run for so long without waiting",
}
"""The kinds of event, and when there is one."""

USUAL: Final = tuple(kind for kind in KINDS if kind not in ("state", "schedule"))
"""Without those that come with each message and say little of what agents say to each other."""

MAX_AGENTS: Final = 20_000
"""Agents of one session. Listening to one costs some 300 bytes and a few microseconds a message."""

MAX_COUNT: Final = 1_000_000
MAX_FOR_S: Final = 3600.0
MAX_RATE: Final = 50_000.0

FLUSH_S: Final = 0.05
BATCH: Final = 500
"""Events are handed on so often, or when there are so many."""

END_RETRY_S: Final = 0.25
END_TRIES: Final = 40
"""How often it is tried to tell of a session's end when the sink does not take it."""

MESSAGE: Final = Limits(
    items=12, depth=2, nodes=40, text=300, line=160, total_text=2000, seconds=0.001, repr_s=0.0005
)
"""How much of a message an event shows."""

STATE: Final = Limits(
    items=60, depth=1, nodes=250, text=120, line=120, total_text=10_000, seconds=0.002, repr_s=0.0005
)
"""How much of a state is compared."""

MAX_CHANGES: Final = 20

Event = dict[str, Any]
"""A trace event, as docs/protocol.md has it."""

Sink = Callable[[list[Event], int], bool]
"""Takes events, and how many were left out before them; says whether it took them. The last event is of the kind `end`."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a session may be."""

    kinds: frozenset[str] = frozenset(USUAL)
    count: int = 1000
    """Events after which it ends."""
    for_s: float = 10.0
    """Seconds after which it ends."""
    rate: float = 1000.0
    """Events a second. More are counted and left out."""
    condition: Condition | None = None


class Session(Tap, Instrument):
    """One session of one node. Made, `start`ed, and ended by itself or by `stop`."""

    def __init__(self, node: Node, selector: Selector, bounds: Bounds, sink: Sink) -> None:
        self._node = node
        self._selector = selector
        self._bounds = bounds
        self._kinds = bounds.kinds
        self._sink = sink
        self._rate = Rate(bounds.rate)
        self._agents: dict[int, Agent] = {}
        self._spans = message_spans.of_node(node)
        self._before: dict[int, dict[str, str]] = {}
        """States at the beginning of the message in hand, by pid."""
        self._pending: list[Event] = []
        self._left_out = 0
        self._flush_timer: TimerHandle | None = None
        self._end_timer: TimerHandle | None = None
        self._tries = 0
        self.number = 0
        """Events so far."""
        self.ended = ""
        """Why it has ended."""

    @property
    def agents(self) -> int:
        """How many agents are listened to."""
        return len(self._agents)

    def start(self) -> int:
        """Begin. Returns how many agents are listened to.

        Raises:
            BadSelector: it means nobody and can mean nobody later, or too many.
        """
        found = self._selector.find(self._node)
        if not found and not self._selector.follows_new:
            raise BadSelector(f"{self._selector} means no agent of this node that could be traced")
        if len(found) > MAX_AGENTS:
            raise BadSelector(
                f"{self._selector} means {len(found):,} agents, and one session takes {MAX_AGENTS:,}: say more "
                "exactly which"
            )
        self._node.instruments.add(self)
        for agent in found:
            self._listen(agent)
        self._end_timer = self._node.loop.call_later(
            self._bounds.for_s, self.stop, f"after {self._bounds.for_s:g} s"
        )
        return len(self._agents)

    def stop(self, why: str = "stopped") -> None:
        """End it; nothing is listened to any more. Doing so twice has no effect."""
        if self.ended:
            return
        self.ended = why
        self._node.instruments.remove(self)
        for agent in list(self._agents.values()):
            untap(agent, self)
            if self._spans is not None:
                self._spans.no_more(agent)
        self._agents.clear()
        for timer in (self._end_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        end = {"n": self.number, "at": time.time(), "kind": "end", "pid": 0, "class": "", "text": why}
        self._pending.append(end)
        self._flush()

    def _listen(self, agent: Agent) -> None:
        try:
            tap(agent, self)
        except ActionRefused:
            return  # it has ended, or runs in another process
        self._agents[agent._o_pid] = agent
        if self._spans is not None:
            self._spans.always(agent)

    # -- making events

    def _wants(self, kind: str) -> bool:
        return kind in self._kinds and not self.ended

    def _note(
        self,
        kind: str,
        agent: Agent,
        *,
        peer: Agent | None = None,
        message: Any = None,
        has_message: bool = False,
        value: Any = None,
        has_value: bool = False,
        error: BaseException | None = None,
        took_ns: int | None = None,
        **more: Any,
    ) -> None:
        if not self._holds(kind, agent, peer, message, has_message, value, error, took_ns, more):
            return
        if not self._rate.take():
            self._left_out += 1
            return
        self.number += 1
        event: Event = {"n": self.number, "at": time.time(), "kind": kind, **_who(agent), **more}
        if peer is not None:
            event["peer"] = peer._o_pid
            event["peer_name"] = _label(peer)
        if has_message:
            event["message"] = encode(message, MESSAGE)
        if has_value:
            event["value"] = encode(value, MESSAGE)
        if error is not None:
            event["error"] = _line(f"{type_name(error)}: {_said(error)}")
        if took_ns is not None:
            event["took_s"] = took_ns / 1e9
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            event["trace_id"], event["span_id"] = f"{span.trace_id:032x}", f"{span.span_id:016x}"
        self._pending.append(event)
        if self.number >= self._bounds.count:
            # Not from here: we are in the middle of an agent's step.
            self._node.scheduler.post(self.stop, f"after {self.number:,} events")
            self._kinds = frozenset()
        elif len(self._pending) >= BATCH:
            self._flush()
        elif self._flush_timer is None:
            self._flush_timer = self._node.loop.call_later(FLUSH_S, self._flush)

    def _holds(
        self,
        kind: str,
        agent: Agent,
        peer: Agent | None,
        message: Any,
        has_message: bool,
        value: Any,
        error: BaseException | None,
        took_ns: int | None,
        more: dict[str, Any],
    ) -> bool:
        condition = self._bounds.condition
        if condition is None:
            return True
        facts = {
            "kind": kind,
            "pid": agent._o_pid,
            "name": agent._o_child.name,
            "class_name": type(agent).__name__,
            "peer": (peer._o_child.name or peer._o_pid) if peer is not None else None,
            "message": plain(message),
            "type": type_name(message) if has_message else None,
            "size": length(message) if has_message else None,
            "value": plain(value),
            "took_ms": None if took_ns is None else took_ns / 1e6,
            "error": type_name(error) if error is not None else None,
            "activity": more.get("activity"),
        }
        return condition.holds(facts)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        events, self._pending = self._pending, []
        left_out, self._left_out = self._left_out, 0
        if not events or self._sink(events, left_out):
            return
        self._left_out = left_out + len(events)
        if self.ended and self._tries < END_TRIES:
            # Whoever watches waits for the end, so it is the one event that is told again.
            self._tries += 1
            self._left_out -= 1
            self._pending = events[-1:]
            self._flush_timer = self._node.loop.call_later(END_RETRY_S, self._flush)

    # -- what taps tell

    def on_receive(self, agent: Agent, message: Any, kind: Kind, sender: Agent | None) -> None:
        if self._wants("receive"):
            self._note("receive", agent, peer=sender, message=message, has_message=True, how=kind)

    def on_send(self, agent: Agent, target: Agent, message: Any, is_call: bool) -> None:
        kind = "call" if is_call else "send"
        if self._wants(kind):
            self._note(kind, agent, peer=target, message=message, has_message=True)

    def on_begin(self, agent: Agent, message: Any) -> None:
        if self._wants("state"):
            self._before[agent._o_pid] = _state(agent)

    def on_end(self, agent: Agent, handled: Handled) -> None:
        before = self._before.pop(agent._o_pid, None)
        if before is not None and self._wants("state"):
            changes = _changes(before, _state(agent))
            if changes:
                self._note("state", agent, message=handled.message, has_message=True, changes=changes)
        facts: dict[str, Any] = {
            "message": handled.message,
            "has_message": True,
            "error": handled.error,
            "took_ns": handled.took_ns,
        }
        if handled.kind == "call" and self._wants("reply"):
            has_value = handled.error is None
            self._note(
                "reply",
                agent,
                peer=handled.sender,
                value=handled.value,
                has_value=has_value,
                way="out",
                **facts,
            )
        elif handled.kind != "call" and self._wants("handled"):
            self._note("handled", agent, peer=handled.sender, how=handled.kind, **facts)

    def on_reply(self, agent: Agent, call: Call, took_ns: int) -> None:
        if self._wants("reply"):
            self._note(
                "reply", agent, peer=call.target, message=call.message, has_message=True, value=call.value,
                has_value=call.error is None, error=call.error, took_ns=took_ns, way="in",
            )  # fmt: skip

    def on_slice(self, agent: Agent, used_ns: int) -> None:
        if self._wants("schedule"):
            self._note("schedule", agent, took_ns=used_ns)

    # -- what the node tells of all its agents

    def on_spawn(self, agent: Agent) -> None:
        if self._selector.follows_new and len(self._agents) < MAX_AGENTS and self._selector.means(agent):
            self._listen(agent)
            if self._wants("spawn"):
                self._note("spawn", agent, text=f"started as {agent._o_child.id}")

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        if self._agents.pop(agent._o_pid, None) is not None and self._wants("exit"):
            self._note("exit", agent, text=_line(str(reason)))

    def on_crash(self, crash: Crash) -> None:
        agent = self._agents.get(crash.pid)
        if agent is not None and self._wants("crash"):
            self._note(
                "crash",
                agent,
                message=crash.message,
                has_message=crash.has_message,
                text=_line(str(crash.reason)),
            )

    def on_restart(self, old: Agent, new: Agent) -> None:
        known = new._o_pid in self._agents
        if not known and self._selector.kind == "pid" and self._selector.value == str(old._o_pid):
            self._selector = Selector("pid", str(new._o_pid))
            self._listen(new)
            known = True
        if known and self._wants("restart"):
            self._note("restart", new, text=f"in the place of {old._o_pid}")

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        if agent._o_pid in self._agents and self._wants("activity"):
            self._note("activity", agent, activity=_line(activity.name), way="begin")

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        if agent._o_pid in self._agents and self._wants("activity"):
            took_ns = now_ns() - activity.since_us * 1000
            self._note(
                "activity", agent, activity=_line(activity.name), way="end", error=error, took_ns=took_ns
            )


def _who(agent: Agent) -> dict[str, Any]:
    name = agent._o_child.name
    return {
        "pid": agent._o_pid,
        "name": None if name is None else _line(name),
        "class": clean(type(agent).__name__)[:100],
    }


def _label(agent: Agent) -> str:
    return _line(agent._o_child.name or f"{type(agent).__name__} {agent._o_pid}")


def _line(text: str) -> str:
    return clean(mask_text(text[:400])[0])[:200].replace("\n", " ")


def _said(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except Exception:  # noqa: BLE001  # a stranger's __str__
        return "?"


def _state(agent: Agent) -> dict[str, str]:
    fields: Iterable[tuple[str, object]] = list(getattr(agent, "__dict__", {}).items())
    value: Value = encode_state(type(agent).__name__, fields, STATE)
    return {str(name): str(part["text"]) for name, part in value.get("items", [])}


def _changes(before: dict[str, str], after: dict[str, str]) -> list[list[str]]:
    changed = [
        [name, before.get(name, ""), after.get(name, "")]
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]
    return changed[:MAX_CHANGES]
