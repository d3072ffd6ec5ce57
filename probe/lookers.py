"""Ops that look through much and change nothing: answered in threads of their own, also while the event loop is held.

The control thread must go on showing the probe that Python code runs, and the scheduler must not stand still while a hundred
thousand agents are looked through. What these ops read changes under their eyes: a picture may be some milliseconds wide.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST_AT_ONCE: Final = 4
"""Threads that look at one time. Each takes its share of the interpreter lock from the service."""

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]
"""Takes code, message and hint."""


class Lookers:
    """Answers ops by functions from the request to the answer. `take` belongs to the control thread."""

    def __init__(self, ops: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        self.ops = ops
        self._looking: set[threading.Thread] = set()

    def take(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        """Answer one request, later and in another thread; exactly one of `tell` and `fail` is called."""
        self._looking = {thread for thread in self._looking if thread.is_alive()}
        if len(self._looking) >= MOST_AT_ONCE:
            fail("busy", "the node is looking something up for others", "try again")
            return
        thread = threading.Thread(
            target=self._answer, args=(request, tell, fail), name="observe:look", daemon=True
        )
        self._looking.add(thread)
        thread.start()

    def _answer(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        try:
            answer = self.ops[request["op"]](request)
        except Exception as error:  # noqa: BLE001  # the edge: what fails here is an answer, never a fault of the node
            fail("internal", f"the node could not look that up: {type(error).__name__}", "try again")
        else:
            tell(answer)
