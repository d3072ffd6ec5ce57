"""A picture as one map, and back: where reading of a recording may begin."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from observe.probe.feed import Feed
from observe.probe.frames import VitalsFrame
from observe.probe.picture import Picture
from observe.probe.table import FLOATS, INTS, Table
from observe.probe.wire import Vitals

SAMPLES: Final = 120
"""Seconds of vital signs in a keyframe."""


def take(picture: Picture, feed: Feed) -> dict[str, Any]:
    """The picture, as far as a reader of a recording needs it."""
    table, vitals = picture.table, picture.vitals
    rows = table.alive()
    return {
        "expected": feed.expected if feed.is_settled else None,
        "clock_offset_us": picture.clock_offset_us,
        "python": picture.python,
        "version": picture.version,
        "started_at": picture.started_at,
        "strings": [table.strings[number] for number in range(1, len(table.strings))],
        "newest_us": table.newest_us,
        "ints": {name: table.ints(name)[rows].astype("<i8").tobytes() for name in INTS},
        "floats": {name: table.floats(name)[rows].astype("<f8").tobytes() for name in FLOATS},
        "vitals": None if vitals.newest is None else {"t": "", **vitals.newest.model_dump()},
        "samples": [sample.to_wire() for sample in vitals.samples(SAMPLES)],
    }


def restore(key: dict[str, Any], picture: Picture) -> Feed:
    """Fill an empty picture, and make the feed that goes on from there. Raises ValueError and KeyError for nonsense."""
    picture.clock_offset_us = int(key["clock_offset_us"])
    picture.python, picture.version = str(key["python"]), str(key["version"])
    picture.started_at = float(key["started_at"])
    table = Table()
    nothing = bytes(len(key["ints"]["pid"]))  # for a column that there was not when this was written
    table.strings.add(1, list(key["strings"]))
    table.load(
        {name: np.frombuffer(key["ints"].get(name, nothing), dtype="<i8") for name in INTS},
        {name: np.frombuffer(key["floats"][name], dtype="<f8") for name in FLOATS},
        int(key["newest_us"]),
    )
    picture.show(table)
    for sample in key["samples"]:
        picture.vitals.remember(Vitals.from_wire(sample))
    if key["vitals"] is not None:
        picture.vitals.take(VitalsFrame.model_validate(key["vitals"]))
    return Feed(picture, expected=key["expected"])
