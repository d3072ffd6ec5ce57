"""What waits for a person, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from observe.console.format import clip, duration, one_line, pad

TITLES: Final = (("no", 4), ("agent", 20), ("activity", 22), ("waits", 6), ("left", 6))
"""The columns and their cells; what is asked follows, as long as it is."""

TO_THE_RIGHT: Final = frozenset({"no", "waits", "left"})


def table(approvals: Sequence[dict[str, Any]]) -> list[str]:
    """A heading, and one line for each."""
    heading = " ".join(pad(title, cells, right=title in TO_THE_RIGHT) for title, cells in TITLES)
    return [f"{heading}  asked", *map(_line, approvals)]


def _line(one: dict[str, Any]) -> str:
    who = f"{one_line(one['name'] or one['class'])} #{one['pid']}"
    cells = (
        str(one["number"]),
        who,
        one_line(one["activity"]),
        duration(one["waited_s"]),
        duration(one["left_s"]),
    )
    shown = " ".join(
        pad(clip(cell, width), width, right=title in TO_THE_RIGHT)
        for cell, (title, width) in zip(cells, TITLES, strict=True)
    )
    return f"{shown}  {asked(one)}"


def asked(one: dict[str, Any]) -> str:
    """What is asked, of whom, and how far it is."""
    parts = [one_line(part) for part in (one["ask"], one["said"]) if part]
    if one["policy"]:
        parts.append(f"by policy {one_line(one['policy'])}")
    if one["approvers"]:
        parts.append(f"of {one_line(' or '.join(one['approvers']))}")
    if one["granted_by"]:
        parts.append(f"granted by {one_line(', '.join(one['granted_by']))}")
    if one["needed"] > 1 or one["granted_by"]:
        parts.append(f"{one['needed']} more must agree")
    if one["told"]:
        parts.append(f"escalated to {one_line(one['told'][-1])}")
    if one["on_timeout"] == "allow":
        parts.append("granted by itself in the end")
    return "; ".join(parts)
