"""Policies without a node: is a file right, and what would it say to something that an agent might try?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from observe.probe import policy_files
from observe.runtime.errors import PoliciesRefused


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that an agent might try."""

    kind: Literal["activity", "send"]
    names: Sequence[str]
    """Of the activity; the recipient's name and class."""
    whose: Sequence[str]
    """The agent's class and name."""
    arguments: Mapping[str, Any]
    minute: int | None = None
    """Of the day; now if left out."""


def check(path: Path, asked: Asked | None) -> dict[str, Any]:
    """Whether the file is right, and what it says to `asked`. A map for a script.

    `faults` is empty when it is right; of each `line`, `policy` and `text`.
    """
    try:
        found = policy_files.read(path)
    except PoliciesRefused as refused:
        faults = [
            {"line": one.line, "policy": one.rule, "text": one.text, "said": one.text_of(str(path))}
            for one in refused.faults
        ]
        return {"file": str(path), "faults": faults}
    facts: dict[str, Any] = {
        "file": str(path),
        "faults": [],
        "version": found.version,
        "size": found.size,
        "rules": len(found.rules),
        "machines": len(found.machines),
        "caps": len(found.caps),
        "findings": len(found.findings),
    }
    if asked is None:
        return facts
    for rule in found.rules:
        if (
            rule.kind == asked.kind
            and rule.fits_names(asked.names, asked.whose, asked.minute)
            and rule.holds(asked.arguments)
        ):
            answer = {
                "effect": rule.effect,
                "policy": rule.policy,
                "reason": rule.reason,
                "level": rule.level or "",
            }
            return facts | {"answer": answer}
    return facts | {"answer": {"effect": "allow", "policy": "", "reason": "no rule fits", "level": ""}}
