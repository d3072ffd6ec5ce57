"""The Merkle tree of RFC 6962: one hash that stands for all records, and proofs that need a few hashes and no record.

```
root(0..6) = H(1, H(1, H(1,a,b), H(1,c,d)), H(1,e,f))          a … f = H(0, record)
```

`Peaks` is what a writer keeps: the roots of the full subtrees from the left, one for each bit of the size. Proofs need
inner hashes as well: `Tree` computes them from the hashes of the leaves when they are asked for, and remembers those of
256 leaves and more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
TILE: Final = 256
"""Leaves below the smallest inner node that is remembered: a proof hashes a few hundred leaves anew at most, and what is
remembered takes less than a byte a record."""

EMPTY: Final = hashlib.sha256().digest()
"""The root of a tree without leaves."""


class BadProof(ValueError):
    """A proof that proves nothing: it does not lead from the one root to the other."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a record."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Peaks:
    """A tree that only grows, in the space of a few hashes."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Raises ValueError when `hashes` are not one for each bit of `size`."""
        if len(hashes) != size.bit_count() or any(len(one) != HASH_BYTES for one in hashes):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks")
        self.size = size
        self.hashes = list(hashes)
        """Of the full subtrees, the largest first."""

    def copy(self) -> Peaks:
        """The same tree, to go on from or to come back to."""
        return Peaks(self.size, self.hashes)

    def add(self, leaf: bytes) -> None:
        """One more leaf, by its hash."""
        size, hashes = self.size, self.hashes
        while size & 1:
            leaf = node_hash(hashes.pop(), leaf)
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The hash that stands for all leaves so far."""
        if not self.hashes:
            return EMPTY
        root = self.hashes[-1]
        for peak in reversed(self.hashes[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over the hashes of some leaves."""
    peaks = Peaks()
    for leaf in leaves:
        peaks.add(leaf)
    return peaks.root()


class Tree:
    """Inner hashes and proofs over leaves that somebody else keeps."""

    def __init__(self, leaves: Callable[[int, int], Sequence[bytes]]) -> None:
        """`leaves(start, end)` gives the hashes of these leaves, at most `TILE` at once."""
        self._leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        """The root when there were `size` leaves."""
        return self._root(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that leaf `index` is in the tree of `size` leaves (RFC 6962, 2.1.1).

        Raises:
            ValueError: there is no such leaf in such a tree.
        """
        if not 0 <= index < size:
            raise ValueError(f"record {index + 1} is not among the first {size}")
        proof: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._root(middle, high))
                high = middle
            else:
                proof.append(self._root(low, middle))
                low = middle
        return proof[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of `new` leaves begins with that of `old` leaves (RFC 6962, 2.1.2).

        Raises:
            ValueError: `old` is more than `new`.
        """
        if not 0 <= old <= new:
            raise ValueError(f"a log of {new} records cannot have grown from one of {old}")
        return self._subproof(old, 0, new, True) if 0 < old < new else []

    def _subproof(self, old: int, low: int, high: int, whole: bool) -> list[bytes]:
        if old == high - low:
            return [] if whole else [self._root(low, high)]
        split = _split(high - low)
        if old <= split:
            return [*self._subproof(old, low, low + split, whole), self._root(low + split, high)]
        return [*self._subproof(old - split, low + split, high, False), self._root(low, low + split)]

    def _root(self, low: int, high: int) -> bytes:
        size = high - low
        if size < TILE:
            return root_of(self._leaves(low, high))
        full = size & (size - 1) == 0
        known = self._known.get((low, size)) if full else None
        if known is None:
            if size == TILE:
                known = root_of(self._leaves(low, high))
            else:
                middle = low + _split(size)
                known = node_hash(self._root(low, middle), self._root(middle, high))
            if full:
                self._known[low, size] = known
        return known


def check_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Make sure that a leaf is where it is said to be (RFC 9162, 2.1.3.2).

    Raises:
        BadProof: it is not, or the proof is of something else.
    """
    if not 0 <= index < size:
        raise BadProof(f"there is no record {index + 1} among {size}")
    first, last, at = index, size - 1, leaf
    for one in proof:
        if last == 0:
            raise BadProof("the proof is too long")
        if first & 1 or first == last:
            at = node_hash(one, at)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            at = node_hash(at, one)
        first, last = first >> 1, last >> 1
    if last or at != root:
        raise BadProof(f"record {index + 1} is not in the log of this checkpoint")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Make sure that the newer tree begins with the older one (RFC 9162, 2.1.4.2).

    Raises:
        BadProof: it does not: records were changed or removed in between.
    """
    if old > new:
        raise BadProof(f"the log had {old} records and has {new} now")
    if old == new:
        if old_root != new_root or proof:
            raise BadProof(f"two logs of {old} records differ")
        return
    if old == 0:
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise BadProof("there is no proof")
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    before = after = path[0]
    for one in path[1:]:
        if last == 0:
            raise BadProof("the proof is too long")
        if first & 1 or first == last:
            before, after = node_hash(one, before), node_hash(one, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, one)
        first, last = first >> 1, last >> 1
    if last or before != old_root or after != new_root:
        raise BadProof(f"the log of {new} records does not begin with the {old} records that it had")


def _split(size: int) -> int:
    """The largest power of two below `size`: where RFC 6962 divides a tree."""
    return 1 << (size - 1).bit_length() - 1
