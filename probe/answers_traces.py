"""The service's side of trace sessions: begins and ends them, and hands their events to the feed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.tracing.far_functions import FunctionSessions
    from observe.tracing.sessions import Session

MAX_SESSIONS: Final = 8
"""Sessions of one node at one time."""

Offer = Callable[[str, dict[str, Any]], bool]
Fail = Callable[[str, str, str], None]
"""Takes code, message and hint."""


class Traces:
    """All sessions. On the scheduler's thread."""

    OPS: Final = ("trace", "trace_function", "untrace")

    def __init__(self, node: Node, offer: Offer) -> None:
        """`offer` puts a frame on the feed, and says whether it was taken."""
        self._node = node
        self._offer = offer
        self._sessions: dict[int, Session | FunctionSessions] = {}

    def take(self, request: dict[str, Any], tell: Callable[[dict[str, Any]], None], fail: Fail) -> None:
        """Carry out one op."""
        session = request.get("session")
        number = session if type(session) is int else 0
        if request.get("op") == "untrace":
            running = self._sessions.get(number)
            if running is not None:
                running.stop("whoever watched is gone")
            tell({})
            return
        if len(self._sessions) >= MAX_SESSIONS:
            fail(
                "busy", f"{MAX_SESSIONS} trace sessions are open on this node", "end one, or wait for its end"
            )
            return
        # Imported by the first session: a service that is never traced does without OpenTelemetry and the rest.
        from observe.tracing.errors import TracingFault

        if request.get("op") == "trace_function":
            self._begin_function(request, number, tell, fail)
            return
        try:
            made, told = self._begin(request, number)
        except TracingFault as fault:
            fail("bad_request", str(fault), "")
            return
        self._sessions[number] = made
        tell(told)

    def _begin_function(
        self, request: dict[str, Any], number: int, tell: Callable[[dict[str, Any]], None], fail: Fail
    ) -> None:
        from observe.tracing.far_functions import FunctionSessions

        def failed(why: str) -> None:
            self._sessions.pop(number, None)
            fail("bad_request", why, "")

        session = FunctionSessions(
            self._node, str(request["function"]), number=number, count=int(request["max"]),
            for_s=float(request["for_s"]), rate=float(request["rate"]), sink=partial(self._send, number),
        )  # fmt: skip
        self._sessions[number] = session
        session.start(lambda place: tell({"place": place}), failed)

    def _begin(self, request: dict[str, Any], number: int) -> tuple[Session, dict[str, Any]]:
        """Start what is asked for. Raises `TracingFault`."""
        from observe.tracing.selecting import parse
        from observe.tracing.sessions import USUAL, Bounds, Session
        from observe.tracing.where import Condition

        where = str(request.get("where") or "")
        bounds = Bounds(
            kinds=frozenset(request.get("events") or USUAL),
            count=int(request["max"]),
            for_s=float(request["for_s"]),
            rate=float(request["rate"]),
            condition=Condition(where) if where else None,
        )
        session = Session(self._node, parse(str(request["selector"])), bounds, partial(self._send, number))
        return session, {"agents": session.start()}

    def _send(self, number: int, events: list[dict[str, Any]], left_out: int) -> bool:
        if events and events[-1]["kind"] == "end":
            self._sessions.pop(number, None)
        return self._offer("trace", {"session": number, "events": events, "dropped": left_out})

    def end(self) -> None:
        """The node stops, or nobody can be told any more."""
        for session in list(self._sessions.values()):
            session.stop("the node stops")
