"""At most once: the service's own memory of the commands that it has carried out, whichever probe asked.

A probe answers a repeated command from memory; one that was killed between a command and its answer is followed by a
probe that remembers nothing, under the same incarnation of the node. So the last word is with the service, which lives
exactly as long as its incarnation: it carries out each op of a command once, and answers any repetition with the first
answer, when there is one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

A = TypeVar("A")

KEEP_S: Final = 60.0
"""How long a command is remembered at least: twice as long as the protocol lets one live, since the probe may have
accepted a repetition that then had to wait for an interpreter lock."""

MAX_REMEMBERED: Final = 8192
"""Twice as many as a probe accepts in that time. Beyond it commands are refused: forgetting could repeat one."""


@dataclass(slots=True)
class _Command(Generic[A]):
    expires_at: float
    keep_until: float
    answer: A | None = None
    waiting: list[Callable[[A], None]] = field(default_factory=list)


class Once(Generic[A]):
    """Lets each command through once. Any thread may answer."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._commands: OrderedDict[str, _Command[A]] = OrderedDict()

    def statistics(self) -> dict[str, int]:
        """How many commands are remembered."""
        return {"remembered": len(self._commands)}

    def enter(
        self,
        key: str,
        expires_at: float,
        done: Callable[[A], None],
        expired: Callable[[], A],
        full: Callable[[], A],
    ) -> Callable[[A], None] | None:
        """What to call with the answer of a command that is to be carried out now; None for one that is not.

        `done` then gets the first answer of the command, now or when there is one, or what `expired` or `full` make.
        """
        with self._lock:
            now = self._wall()
            self._forget(now)
            known = self._commands.get(key)
            if known is None and now <= expires_at and len(self._commands) < MAX_REMEMBERED:
                made: _Command[A] = _Command(expires_at, self._monotonic() + KEEP_S, waiting=[done])
                self._commands[key] = made
                return lambda answer: self._answer(made, answer)
            answer = known.answer if known is not None else None
            if known is not None and answer is None:
                known.waiting.append(done)
                return None
        if answer is None:
            answer = expired() if now > expires_at else full()
        done(answer)
        return None

    def _answer(self, command: _Command[A], answer: A) -> None:
        with self._lock:
            if command.answer is None:
                command.answer = answer
            waiting, command.waiting = command.waiting, []
        for done in waiting:
            done(answer)

    def _forget(self, now: float) -> None:
        """Forget the oldest, as far as nothing accepts them any more."""
        old = self._monotonic()
        while self._commands:
            oldest = next(iter(self._commands.values()))
            if oldest.answer is None or old < oldest.keep_until or now <= oldest.expires_at:
                return
            self._commands.popitem(last=False)
