"""Work beside that of the caller, also while the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable


def beside(target: Callable[[], object], name: str) -> threading.Thread | None:
    """Run `target` in a daemon thread. None when no thread can be started: from Python 3.12 on, none can be by a
    function that runs at the exit of the interpreter (gh-104690)."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
