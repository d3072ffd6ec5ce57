"""Figures on their way out: what a metric is called and means, and its values. Knows no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["counter", "updown", "gauge"]
"""`counter` only grows; `updown` may be added up over nodes; `gauge` may not."""


class Described(NamedTuple):
    """One metric."""

    kind: Kind
    unit: str
    """As UCUM writes it: `s`, `By`, `1`, or what is counted in braces, `{agent}`."""
    text: str


class Reading(NamedTuple):
    """One value of it."""

    value: float
    attributes: Mapping[str, str] = {}


Readings = Mapping[str, list[Reading]]
"""The values of each metric, by its name."""
