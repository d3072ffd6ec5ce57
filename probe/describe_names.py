"""How texts and names of agents leave the process: masked, cut, on one line."""

from __future__ import annotations

from typing import Any, Final

from observe.runtime.agent import Agent
from observe.tracing.kinds import clean
from observe.tracing.masking import mask_text

LINE_CHARACTERS: Final = 500
"""Longest one-line text."""


def line(text: object, limit: int = LINE_CHARACTERS) -> str:
    """A text for one line: masked, cut, without control characters."""
    shown = text if isinstance(text, str) else f"<{type(text).__name__}>"
    masked = mask_text(shown[: limit + 256])[0]
    cut = masked if len(masked) <= limit else masked[: limit - 1] + "…"
    return clean(cut).replace("\n", " ")


def named(agent: Agent) -> dict[str, Any]:
    """An agent that another one points to."""
    ref = agent.ref
    return {
        "pid": ref.pid,
        "name": None if ref.name is None else line(ref.name),
        "class": line(type(agent).__name__),
    }
