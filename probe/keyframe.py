"""A picture as one map, and back: where reading of a recording may begin.

Columns are told as differences from their least value, in as few bytes as hold the largest: a million agents take some 50 MB
instead of 180, and a third of the time. What earlier versions have written is read as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from observe.probe.feed import Feed
from observe.probe.frames import ClassRisk, VitalsFrame
from observe.probe.picture import Picture
from observe.probe.table import FLOATS, INTS, Table
from observe.probe.wire import Vitals

SAMPLES: Final = 120
"""Seconds of vital signs in a keyframe."""

PART: Final = 20_000
"""Texts that are joined in one go: less than a millisecond for which no other thread runs."""

MOST_ROWS: Final = 100_000_000
"""Agents in a keyframe; a file that says more is damaged."""

Column = list[Any]
"""`[type, least, data]`: numbers of that type, as differences from the least; the type is empty when all are the least."""

N = TypeVar("N", np.int64, np.float64)


@dataclass(slots=True)
class Snapshot:
    """A picture's contents. Until `copy` has been called, no frame of the feed may be applied to the picture."""

    agents: int
    facts: dict[str, Any]
    texts: list[str]
    rows: NDArray[np.intp] | None
    """Those of live agents; None: all."""
    ints: dict[str, NDArray[np.int64]]
    floats: dict[str, NDArray[np.float64]]

    def copy(self) -> None:
        """Copy the columns, from where on the picture may change. On any thread: it takes long for very many agents,
        most of it for the first use of the memory."""
        self.ints = {name: column.copy() for name, column in self.ints.items()}
        self.floats = {name: column.copy() for name, column in self.floats.items()}

    def to_map(self) -> dict[str, Any]:
        """The keyframe."""
        return self.facts | {
            "strings": _joined(self.texts),
            "ints": {name: _narrow(column, self.rows) for name, column in self.ints.items()},
            "floats": {name: _narrow(column, self.rows) for name, column in self.floats.items()},
        }


def snapshot(picture: Picture, feed: Feed) -> Snapshot:
    """The picture, as far as a reader of a recording needs it."""
    table, vitals = picture.table, picture.vitals
    facts = {
        "expected": feed.expected if feed.is_settled else None,
        "clock_offset_us": picture.clock_offset_us,
        "python": picture.python,
        "version": picture.version,
        "started_at": picture.started_at,
        "interned": table.strings.interned,
        "size": len(table),
        "newest_us": table.newest_us,
        "vitals": None if vitals.newest is None else {"t": "", **vitals.newest.model_dump()},
        "samples": [sample.to_wire() for sample in vitals.samples(SAMPLES)],
        "spans": picture.spans.to_map(),
        "contained": table.contained(),
        "risks": table.risks.to_map(),
    }
    return Snapshot(
        len(table),
        facts,
        table.strings.all_texts(),
        None if len(table) == len(table.alive_mask()) else table.alive(),
        {name: table.ints(name) for name in INTS},
        {name: table.floats(name) for name in FLOATS},
    )


def take(picture: Picture, feed: Feed) -> dict[str, Any]:
    """The keyframe of a picture, at once."""
    return snapshot(picture, feed).to_map()


def _joined(texts: list[str]) -> str | list[str]:
    """All texts in one with zeros between them, where that tells them apart. In parts: others want to run as well."""
    parts = ["\0".join(texts[first : first + PART]) for first in range(0, len(texts), PART)]
    zeros = sum(part.count("\0") for part in parts) + len(parts) - 1
    return "\0".join(parts) if texts and zeros == len(texts) - 1 else texts


def restore(key: dict[str, Any], picture: Picture) -> int | None:
    """Fill an empty picture. Returns the number of the frame that follows, when the picture is whole up to there. Raises
    ValueError and KeyError for nonsense."""
    picture.clock_offset_us = int(key["clock_offset_us"])
    picture.python, picture.version = str(key["python"]), str(key["version"])
    picture.started_at = float(key["started_at"])
    table = Table()
    strings = key["strings"]
    table.strings.add(1, strings.split("\0") if isinstance(strings, str) else list(strings))
    if key.get("interned"):
        table.strings.remember_interned([int(number) for number in key["interned"]])
    size = int(key["size"]) if "size" in key else len(key["ints"]["pid"]) // 8
    if not 0 <= size <= MOST_ROWS:
        raise ValueError(f"a table of {size} agents")
    nothing: Column = ["", 0, b""]  # for a column that there was not when this was written
    table.load(
        {name: _wide(key["ints"].get(name, nothing), size, np.int64) for name in INTS},
        {name: _wide(key["floats"].get(name, nothing), size, np.float64) for name in FLOATS},
        int(key["newest_us"]),
    )
    for level, pids in key.get("contained", {}).items():
        for pid in pids:
            table.contain(int(pid), str(level))
    picture.risks.take([ClassRisk.model_validate(one) for one in key.get("risks", [])])
    picture.show(table)
    if "spans" in key:
        picture.spans.restore(key["spans"])
    for sample in key["samples"]:
        picture.vitals.remember(Vitals.from_wire(sample))
    if key["vitals"] is not None:
        picture.vitals.take(VitalsFrame.model_validate(key["vitals"]))
    expected = key["expected"]
    return None if expected is None else int(expected)


def _narrow(column: NDArray[Any], rows: NDArray[np.intp] | None) -> Column:
    values = column if rows is None else column[rows]
    if not len(values):
        return ["", 0, b""]
    least, most = values.min().item(), values.max().item()
    if least == most:
        return ["", least, b""]
    if isinstance(least, float):
        return ["<f4", 0.0, values.astype("<f4").tobytes()]
    kind = next(
        kind for kind, bits in (("<u1", 8), ("<u2", 16), ("<u4", 32), ("<u8", 64)) if most - least < 1 << bits
    )
    return [kind, least, (values - least).astype(kind).tobytes()]


def _wide(column: Column | bytes, size: int, kind: type[N]) -> NDArray[N]:
    if isinstance(column, bytes):
        return np.frombuffer(column, dtype="<i8" if kind is np.int64 else "<f8").astype(kind)
    told, least, data = column
    if not told:
        return np.full(size, least, dtype=kind)
    if told not in ("<u1", "<u2", "<u4", "<u8", "<f4"):
        raise ValueError(f"a column of {told!r:.20}")
    return np.frombuffer(data, dtype=told).astype(kind) + kind(least)
