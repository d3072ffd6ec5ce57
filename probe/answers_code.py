"""The service's side of the verb `code`: what is loaded and what has changed on the disk, also while an agent holds the scheduler.

It is answered in a thread of its own, as it reads files; one at a time, as looks share what they have read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from observe.probe.describe_names import line
from observe.runtime.errors import ReloadRefused
from observe.runtime.node import Node
from observe.runtime.reload.looking import CodeLook, ModuleFacts

MAX_MODULES: Final = 500
MAX_CLASSES: Final = 100
MAX_DIFF_LINES: Final = 1000

MOST_WAITING: Final = 8
"""Threads that look, or wait for the look before them to end."""

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]
"""Takes code, message and hint."""


class CodeAnswers:
    """`take` belongs to the control thread."""

    OP: Final = "code"

    def __init__(self, node: Node) -> None:
        self._node = node
        self._look = CodeLook(node)
        self._mutex = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def take(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        """Answer one request, later and in another thread; exactly one of `tell` and `fail` is called."""
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        if len(self._threads) >= MOST_WAITING:
            fail("busy", "the node is looking at its code for others", "try again")
            return
        thread = threading.Thread(
            target=self._answer, args=(request, tell, fail), name="observe:code", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _answer(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        try:
            with self._mutex:
                answer = self._looked(str(request.get("diff") or ""))
        except ReloadRefused as error:
            fail("refused", line(str(error)), "`observe code NODE` lists the modules that are loaded")
        except Exception as error:  # noqa: BLE001  # the edge: what fails here is an answer, never a fault of the node
            fail("internal", f"the node could not look at its code: {type(error).__name__}", "try again")
        else:
            tell(answer)

    def _looked(self, wanted: str) -> dict[str, Any]:
        modules = self._look.modules()
        undoable = self._node.reloader.undoable
        diff = self._look.difference(wanted, MAX_DIFF_LINES) if wanted else []
        return {
            "modules": [_module_map(one) for one in modules[:MAX_MODULES]],
            "total": len(modules),
            "changed": sum(one.state != "same" for one in modules),
            "undoes": undoable[-1] if undoable else [],
            "undoable": len(undoable),
            "diff": [line(text) for text in diff],
        }


def _module_map(one: ModuleFacts) -> dict[str, Any]:
    return {
        "name": line(one.name),
        "file": line(one.file),
        "version": one.version,
        "lines": one.lines,
        "state": one.state,
        "changed_at": one.changed_at,
        "added": one.added,
        "removed": one.removed,
        "agents": sum(one.classes.values()),
        "classes": {line(name): count for name, count in list(one.classes.items())[:MAX_CLASSES]},
    }
