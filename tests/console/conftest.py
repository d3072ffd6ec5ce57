"""What all tests of the console have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same screen on every machine: clock in UTC, the terminal's own wishes left out."""
    for name in ("NO_COLOR", "COLORFGBG", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(
        "observe.console.pages.audit.read_seen", lambda node: None
    )  # what this machine has seen
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
