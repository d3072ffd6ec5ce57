"""An operator's command and the trace of the agent that it is for: each is told of the other, wherever the agent runs."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import Any, Final

from observe.runtime.node import Node
from observe.tracing.references import far_reference, mention

WAIT_S: Final = 0.5
KNOWN_WAIT_S: Final = 0.2
"""How long the answer to a command waits for a worker to say where its agent was; the shorter time where it has told of that before.
One that is held says nothing: then that counts."""


class Mentioned:
    """One command, for one agent. Made before it is carried out; on the scheduler's thread."""

    def __init__(self, node: Node, request: dict[str, Any]) -> None:
        self._node = node
        pid = request.get("pid")
        found = mention(node, request, pid) if type(pid) is int and pid else {}
        self._asked: Future[dict[str, str]] | None = None
        self._trace: dict[str, str] = {}
        if isinstance(found, Future):
            assert type(pid) is int
            self._asked, self._trace = found, far_reference(node, pid)
            found.add_done_callback(self._answered)
        else:
            self._trace = found

    def then(self, done: Callable[[dict[str, str]], None]) -> None:
        """Call `done` with trace and span, as far as they are known; now, or in a moment."""
        if self._asked is None or self._asked.done():
            done(self._trace)
            return
        waiting: list[Callable[[dict[str, str]], None]] = [done]

        def once(_: object = None) -> None:
            if waiting:
                waiting.pop()(self._trace)

        self._asked.add_done_callback(once)
        self._node.loop.call_later(KNOWN_WAIT_S if self._trace else WAIT_S, once)

    def _answered(self, asked: Future[dict[str, str]]) -> None:
        if not asked.cancelled() and asked.exception() is None:
            self._trace = asked.result() or self._trace
