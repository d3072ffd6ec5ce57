"""How tests wait for what must come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 20.0
"""How long a test waits for what must come. Reached only by a test that fails."""


def eventually(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true value of `condition`, which is asked again and again."""
    until = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"waited in vain for {what or condition}"
        time.sleep(0.01)
