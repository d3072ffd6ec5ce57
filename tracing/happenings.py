"""What happens to agents from outside, as events on the span that it hits: containment, what a policy denies, reloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.fences import LEVELS, MONITORED, RANK
from observe.runtime.instrument import Instrument
from observe.tracing import references
from observe.tracing.masking import mask_text

if TYPE_CHECKING:
    from observe.runtime import Agent, ExitReason, Node
    from observe.runtime.governed import Governed
    from observe.runtime.reload.reloader import Reloaded
    from observe.tracing.message_spans import MessageSpans

TEXT: Final = 300

Note = Callable[[int, str, dict[str, Any], bool], None]
"""Takes pid, event, its attributes, and whether its trace is to be kept."""


class Happenings(Instrument):
    """Of one node. On the scheduler's thread."""

    def __init__(self, node: Node, note: Note, spans: MessageSpans) -> None:
        """`spans` hears who is contained: all that such an agent does is sampled."""
        self._node = node
        self._note = note
        self._spans = spans
        self._contained: set[int] = set()

    def start(self) -> None:
        """Plug in; those that are contained already count from now on."""
        self._node.instruments.add(self)
        governing = self._node.governing if self._node.is_running else None
        if governing is not None:
            for pid, level in governing.containment.levels().items():
                self._contain(pid, level)

    def stop(self) -> None:
        """Unplug."""
        self._node.instruments.remove(self)

    def on_governed(self, event: Governed) -> None:
        if references.is_far(self._node, event.pid):
            if event.what == "containment":
                self._contain(event.pid, event.on)
            return  # its spans are there, and so are their events
        if event.what == "containment":
            facts = {"observe.containment.level": event.on, "observe.containment.by": _text(event.policy)}
            if event.reason:
                facts["observe.containment.reason"] = _text(event.reason)
            self._note(event.pid, "observe.containment", facts | _record(event), True)
            self._contain(event.pid, event.on)
        elif event.verdict == "deny":
            facts = {"observe.denied": _text(event.on), "observe.policy": _text(event.policy)}
            facts |= {"observe.reason": _text(event.reason)} | _record(event)
            self._note(event.pid, "observe.denied", facts, True)
        elif event.verdict:
            facts = {"observe.on": _text(event.on), "observe.verdict": event.verdict}
            facts |= {"observe.policy": _text(event.policy)} | _record(event)
            self._note(event.pid, "observe.governed", facts, False)

    def _contain(self, pid: int, level: str) -> None:
        is_contained = level in LEVELS and RANK[level] >= MONITORED
        agent = self._node.agents.get(pid)
        if agent is None or is_contained == (pid in self._contained):
            return
        if is_contained:
            self._contained.add(pid)
            self._spans.always(agent)
        else:
            self._contained.discard(pid)
            self._spans.no_more(agent)

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        self._contained.discard(agent._o_pid)

    def on_reload(self, reloaded: Reloaded, agents: list[Agent]) -> None:
        facts = {
            "observe.reload.modules": ", ".join(sorted(reloaded.modules))[:TEXT],
            "observe.reload.versions": ", ".join(
                f"{name} {number}" for name, number in sorted(reloaded.versions.items())
            )[:TEXT],
        }
        for agent in agents:
            self._note(agent._o_pid, "observe.reload", facts, False)


def _record(event: Governed) -> dict[str, Any]:
    """Which record of the audit log tells the same."""
    return {"observe.audit.command_id": event.record}


def _text(text: str) -> str:
    return mask_text(text[: TEXT + 64])[0][:TEXT]
