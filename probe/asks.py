"""Questions to the service that wait for an answer. No sockets: what sends a message comes in.

The probe never waits: it notes who wants to know and goes on. Whoever asked is told exactly once, by the answer, by the
time-out, or because the node is gone. An answer that comes later than that is still heard when somebody must know what
became of a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationError

from observe.probe.errors import ERROR_CODES, ErrorCode, Refusal
from observe.probe.frames import ControlReply

TIMEOUT_S: Final = 2.0
"""How long a service may take. A person waits no longer, and an answer says who holds the scheduler."""

LATE_S: Final = 60.0
"""How long after its time-out an answer to a command is still recorded."""

MAX_PENDING: Final = 256
"""Questions under way. More means that the service does not answer: further ones are refused as `busy`."""

Answer = dict[str, Any] | Refusal
Done = Callable[[Answer], None]


@dataclass(slots=True)
class Pending:
    """A question under way."""

    op: str
    done: Done | None
    """None once it has been told of the time-out."""
    late: Done | None
    until: float
    """Monotonic seconds of its time-out; after that, until when an answer is still heard."""


class Asks:
    """All questions under way."""

    def __init__(self, send: Callable[[dict[str, Any]], bool]) -> None:
        """`send` takes a message for the control link and says whether it could be sent."""
        self._send = send
        self._pending: dict[int, Pending] = {}
        self._last = 0
        self._ended: Refusal | None = None
        self._command: dict[str, Any] = {}

    def statistics(self) -> dict[str, int]:
        """Questions under way."""
        return {"pending": len(self._pending)}

    @contextmanager
    def on_behalf(self, command: str, expires_at: float) -> Iterator[None]:
        """What is asked within bears the command's key: the service carries out each of its ops at most once, and none
        after its expiry, whichever probe asks."""
        self._command = {"command": command, "expires_at": expires_at}
        try:
            yield
        finally:
            self._command = {}

    def ask(
        self,
        op: str,
        fields: dict[str, Any],
        done: Done,
        now: float,
        *,
        timeout_s: float = TIMEOUT_S,
        late: Done | None = None,
    ) -> None:
        """Ask the service; `done` gets its result or a Refusal, `late` an answer that came after the time-out."""
        if self._ended is not None:
            done(self._ended)
            return
        if len(self._pending) >= MAX_PENDING:
            done(Refusal("busy", "the node has too many questions waiting", "try again later"))
            return
        self._last += 1
        if not self._send({"id": self._last, "op": op} | fields | self._command):
            done(Refusal("node_timeout", "the node takes no more questions", "try again later"))
            return
        self._pending[self._last] = Pending(op, done, late, now + timeout_s)

    def receive(self, message: dict[str, Any]) -> bool:
        """An answer came. False when it is none that anybody waits for, or cannot be read."""
        try:
            reply = ControlReply.model_validate(message)
        except ValidationError:
            return False
        pending = self._pending.pop(reply.id, None)
        if pending is None:
            return False
        answer = (reply.result or {}) if reply.ok else read_error(reply.error)
        listener = pending.done or pending.late
        if listener is not None:
            listener(answer)
        return True

    def expire(self, now: float) -> None:
        """Tell those whose time is up."""
        for number, pending in list(self._pending.items()):
            if now < pending.until:
                continue
            done, pending.done = pending.done, None
            if pending.late is None or done is None:
                del self._pending[number]
            else:
                pending.until = now + LATE_S
            if done is not None:
                done(Refusal("node_timeout", "the node did not answer in time", "try again"))

    def end(self, why: Refusal) -> None:
        """Nobody will answer any more: so say all answers from now on."""
        self._ended = why
        pending, self._pending = self._pending, {}
        for one in pending.values():
            if one.done is not None:
                one.done(why)


def read_error(error: dict[str, Any] | None) -> Refusal:
    """The error of a control reply as a Refusal, whatever it holds."""
    facts = error or {}
    code = facts.get("code")
    known = cast(ErrorCode, code) if code in ERROR_CODES else "refused"
    message = str(facts.get("message") or "the node said no and did not say why")
    return Refusal(known, message, str(facts.get("hint") or ""))
