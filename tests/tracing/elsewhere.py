"""Has taken a function by its name."""

from __future__ import annotations

from tests.tracing.functions_to_trace import search


def look(query: str) -> list[str]:
    return search(query)
