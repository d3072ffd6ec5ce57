"""What a node has diagnosed of itself, as text for a terminal that scrolls. The console has a page of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from observe.console.format import one_line

MOST_LINES: Final = 8
"""Of a stack, a circle of agents and the like. `--json` and the console have all."""

WIDE: Final = 19
"""Of the column with the names of checks."""


def finding_text(finding: Mapping[str, Any], node: str) -> Iterator[str]:
    """What is wrong, why, what to do, what it was seen by, and how to see the agents concerned: a line each.

    `finding` is a **finding** of the protocol.
    """
    yield f"{finding['check']:<{WIDE}} {one_line(finding['text'])}"
    margin = " " * (WIDE + 1)
    if finding["cause"]:
        yield f"{margin}because: {one_line(finding['cause'])}"
    yield margin + one_line(finding["advice"])
    for line in _evidence(finding["evidence"]):
        yield margin + line
    if finding["filter"]:
        yield f"{margin}show them: observe ps {node} --filter '{finding['filter']}'"


def _evidence(evidence: Mapping[str, Any]) -> Iterator[str]:
    for name, value in evidence.items():
        if not isinstance(value, list):
            yield f"{one_line(name)}: {one_line(str(value))}"
            continue
        yield f"{one_line(name)}:"
        yield from (f"  {one_line(str(part))}" for part in value[:MOST_LINES])
        if len(value) > MOST_LINES:
            yield f"  and {len(value) - MOST_LINES:,} more"
