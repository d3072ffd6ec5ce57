"""What a person asks of a trace session, as they type it: times, rates, kinds of event. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from observe.console.state import Identity

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    selector: str
    events: list[Any] | None
    """Kinds of event; None for the usual ones."""
    where: str
    count: int
    for_s: float
    rate: float
    reason: str


def seconds(text: str) -> float:
    """`10s`, `500ms`, `2m`, or plain seconds.

    Raises:
        ValueError: it is none of these.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time; write 10s, 500ms or 2m")
    return float(found[1]) * _SECONDS[found[2]]


def per_second(text: str) -> float:
    """`100/s`, `30/min`, or plainly how many a second.

    Raises:
        ValueError: it is none of these.
    """
    number, _, unit = text.strip().partition("/")
    try:
        return float(number) / {"s": 1.0, "": 1.0, "min": 60.0}[unit]
    except (ValueError, KeyError):
        raise ValueError(f"{text!r} is no rate; write 100/s") from None


def kinds(text: str) -> list[Any] | None:
    """Kinds of event with commas; none at all for the usual ones."""
    return [one.strip() for one in text.split(",") if one.strip()] or None


def selector_of(agent: Identity | int) -> str:
    """The selector of one agent, and of whoever takes its place: by name, or by pid where its name is none for a selector."""
    if isinstance(agent, int):
        return str(agent)
    plain = (
        agent.name is not None
        and re.fullmatch(r"[\w.@/-]+", agent.name) is not None
        and not agent.name.isdigit()
    )
    return f"{agent.name}" if plain else str(agent.pid)
