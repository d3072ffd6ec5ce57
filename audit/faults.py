"""What can be wrong with a log, each kind with its own exit status, and how two rows of hashes tell which it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """A kind of fault. Its value is the exit status of `observe audit verify`."""

    TORN = 3
    """A crash left half a line. No tampering: it was never acknowledged, and the next writer cuts it off."""
    UNSIGNED_TAIL = 4
    """No checkpoint covers the newest records yet, so nothing proves them."""
    ALTERED = 10
    """Bytes of a record were changed."""
    REMOVED = 11
    """A record is missing, or a whole segment is, and the log does not say that it was kept long enough."""
    INSERTED = 12
    """There is a record that was not written by the log."""
    DUPLICATED = 13
    """A record is there twice."""
    REORDERED = 14
    """Records stand in another order."""
    REPLACED = 15
    """A whole segment has other records."""
    REWRITTEN = 16
    """Records and their hashes fit each other, and not the signed checkpoints of the log itself."""
    FORKED = 17
    """The log fits its own checkpoints, and not one that was shown to somebody else: there are two histories."""
    CUT = 18
    """Records at the end are missing, which a checkpoint (the log's own, or one kept elsewhere) covers."""
    ROLLED_BACK = 19
    """The log was put back to one of its earlier checkpoints; one that was kept elsewhere is newer."""
    EMPTIED = 20
    """There are no records any more, and a checkpoint shows that there were."""
    WRONG_KEY = 21
    """The checkpoints are signed by another key than the one given."""
    FORGED = 22
    """The signature of a checkpoint is not of its text."""
    UNSIGNED = 23
    """There are records and not one checkpoint."""
    KEY_LOST = 24
    """Another key signs from some record on, and the one before has not signed that it follows: it was lost, or taken away."""
    KEY_REVOKED = 25
    """The key that is trusted was revoked as compromised: that another one follows, anybody who has it may have said."""

    @property
    def is_tampering(self) -> bool:
        """Whether somebody must have done it."""
        return self.value >= 10


GRAVITY: Final = (
    Kind.WRONG_KEY, Kind.FORGED, Kind.EMPTIED, Kind.FORKED, Kind.REPLACED, Kind.REMOVED, Kind.INSERTED, Kind.DUPLICATED,
    Kind.REORDERED, Kind.ALTERED, Kind.ROLLED_BACK, Kind.CUT, Kind.REWRITTEN, Kind.KEY_LOST, Kind.KEY_REVOKED, Kind.UNSIGNED, Kind.TORN, Kind.UNSIGNED_TAIL,
)  # fmt: skip
"""Which of several faults gives the exit status: the one that says most."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where."""

    kind: Kind
    file: str
    """Name of the file; empty when it is about the log as a whole."""
    line: int
    """Of that file, from 1; 0 when it is about the whole file."""
    record: int
    """Number of the first record concerned; 0 when there is none."""
    text: str
    """One sentence."""


def compare(noted: Sequence[bytes], found: Sequence[bytes]) -> list[tuple[Kind, int, int]]:
    """How the records that are there differ from those that were written, by their hashes.

    Returns kinds, each with its place among those found and among those noted, from 0.
    """
    start = 0
    shorter = min(len(noted), len(found))
    while start < shorter and noted[start] == found[start]:
        start += 1
    end = 0
    while end < shorter - start and noted[-1 - end] == found[-1 - end]:
        end += 1
    old, new = noted[start : len(noted) - end], found[start : len(found) - end]
    if not old and not new:
        return []
    if start == end == 0 and not set(old) & set(new):
        return [(Kind.REPLACED, 0, 0)]
    if Counter(old) == Counter(new):
        return [(Kind.REORDERED, start, start)]
    if len(old) == len(new):
        changed = [at for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
        if not {new[at] for at in changed} & set(noted):
            return [(Kind.ALTERED, start + at, start + at) for at in changed]
    return _walk(noted, old, new, start)


def _walk(
    noted: Sequence[bytes], old: Sequence[bytes], new: Sequence[bytes], start: int
) -> list[tuple[Kind, int, int]]:
    """Several things at once: go along both rows, and look which of the two goes on like the other."""
    known, faults = set(noted), []
    places_old = {one: at for at, one in reversed(list(enumerate(old)))}
    present = set(new)
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
        elif i < len(old) and old[i] not in present:
            if j < len(new) and new[j] not in known:
                faults.append((Kind.ALTERED, start + j, start + i))
                j += 1
            else:
                faults.append((Kind.REMOVED, start + j, start + i))
            i += 1
        elif j < len(new):
            if new[j] not in known:
                faults.append((Kind.INSERTED, start + j, start + i))
            elif places_old.get(new[j], -1) < i or new[j] in new[:j]:
                faults.append((Kind.DUPLICATED, start + j, start + i))
            else:
                faults.append((Kind.REORDERED, start + j, start + i))
                known_at = places_old[new[j]]
                i = max(i, known_at + 1)
            j += 1
        else:  # it came earlier, out of its place, and has been told
            i += 1
    return faults
