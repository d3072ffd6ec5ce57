"""The service's side of `dead_letters`: masked, cut and counted. Needs no event loop. (`resend` is an action: `answers_actions`.)"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from observe.probe.describe_names import line
from observe.runtime.actions_letters import addressee
from observe.runtime.letters import DeadLetter
from observe.runtime.node import Node
from observe.tracing.payload import MESSAGE, Limits, encode

ONE_LINE: Final = Limits(
    items=8, depth=2, nodes=24, text=160, line=160, total_text=400, seconds=0.001, repr_s=0.0005
)
"""For a message in a list of hundreds."""

MOST_COUNTED: Final = 20

MINUTE_S: Final = 60.0


class LetterAnswers:
    """Tells what a node has kept. May be asked by several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._said: dict[int, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def page(self, request: dict[str, Any]) -> dict[str, Any]:
        """The letters that are asked for."""
        with self._lock:
            return self._page(request)

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        kept = self._kept()
        self._said = {one.number: self._said[one.number] for one in kept if one.number in self._said}
        wanted, limit = request.get("letter"), request["limit"]
        matching = [one for one in reversed(kept) if self._matches(one, request)]
        letters = [self._map(one) for one in matching[:limit]]
        if wanted is not None and matching:
            letters = [self._map(matching[0]) | {"message": encode(matching[0].message, MESSAGE)}]
        since = time.time() - MINUTE_S
        return {
            "letters": letters,
            "matched": len(matching),
            "kept": len(kept),
            "total": self._node.dead_letter_count,
            "in_a_minute": sum(1 for one in kept if one.at >= since),
            "by_why": _counts((one.why, one.at) for one in kept),
            "by_target": _counts((line(one.target), one.at) for one in kept),
            "by_sender": _counts((line(one.sender or "not known"), one.at) for one in kept),
        }

    def _kept(self) -> list[DeadLetter]:
        while True:
            try:
                return list(self._node.dead_letters)
            except RuntimeError:  # the scheduler has added one meanwhile
                continue

    def _matches(self, one: DeadLetter, request: dict[str, Any]) -> bool:
        wanted, why, text = request.get("letter"), request["why"], request["text"].casefold()
        if wanted is not None:
            return bool(one.number == wanted)
        if why and one.why != why:
            return False
        if not text:
            return True
        places = (line(one.target), line(one.sender), one.why, *self._saying(one))
        return any(text in place.casefold() for place in places)

    def _saying(self, one: DeadLetter) -> tuple[str, str]:
        """Type and text of its message."""
        said = self._said.get(one.number)
        if said is None:
            value = encode(one.message, ONE_LINE)
            said = self._said[one.number] = (str(value["type"]), line(value["text"], 200))
        return said

    def _map(self, one: DeadLetter) -> dict[str, Any]:
        """A **dead letter** of the protocol."""
        kind, text = self._saying(one)
        heir = addressee(self._node, one) if not one.sent_to and self._node.is_running else None
        return {
            "number": one.number,
            "at": one.at,
            "target": line(one.target),
            "target_pid": one.target_pid,
            "sender": line(one.sender),
            "sender_pid": one.sender_pid,
            "why": one.why,
            "detail": line(one.detail),
            "type": kind,
            "text": text,
            "heir": line(heir._o_text()) if heir is not None else "",
            "heir_pid": heir._o_pid if heir is not None else 0,
            "sent_to": line(one.sent_to),
        }


def _counts(pairs: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    newest: dict[str, float] = {}
    for key, at in pairs:
        counts[key] += 1
        newest[key] = at
    return [
        {"key": key, "count": count, "newest": newest[key]} for key, count in counts.most_common(MOST_COUNTED)
    ]
