"""The form of a recording: segment files of checksummed records. Files and bytes; what they mean is for others.

    segment   = MAGIC record*
    record    = length u32, crc32 u32, wall_us u64, mono_us u64, kind u8, payload     (little-endian)

The checksum covers everything of a record but itself. A payload larger than `PACK_AT` is packed with zlib, and its kind
has the bit `PACKED`. Each segment begins with `META` and `KEY` and can be read without those before it. docs/recording.md
describes it for others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from observe.probe.errors import ProbeError

MAGIC: Final = b"OBSREC1\n"
HEADER: Final = struct.Struct("<IIQQB")
SUFFIX: Final = ".obsrec"

META: Final = 1
"""Whose recording this is: one msgpack map."""
KEY: Final = 2
"""A keyframe: the whole picture, from which reading may begin."""
FRAME: Final = 3
"""A frame of the feed as it came."""
SAMPLE: Final = 4
"""Once a second: memory, processor time, who holds the scheduler."""
EVENTS: Final = 5
"""Events that the probe itself made."""
DEATH: Final = 6
"""A death report."""

PACKED: Final = 0x80
PACK_AT: Final = 512
"""Bytes from which packing is worth its time."""

RECORD_LIMIT_BYTES: Final = 512 << 20
"""A length beyond this is damage and not a record."""


class NotARecording(ProbeError):
    """There is no recording at this place."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, checked and unpacked."""

    kind: int
    wall_us: int
    mono_us: int
    payload: bytes
    offset: int = 0
    """Bytes from the beginning of its segment."""
    end: int = 0
    """Where the next one begins."""


@dataclass(frozen=True, slots=True)
class Damage:
    """From here on a segment could not be read."""

    path: Path
    offset: int
    """Bytes from its beginning."""
    why: str
    after_us: int
    """Wall clock of the last record before, 0 for none."""

    def __str__(self) -> str:
        after = ""
        if self.after_us:
            after = f", after {datetime.fromtimestamp(self.after_us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.path.name} is damaged at byte {self.offset:,}{after}: {self.why}"


def pack(kind: int, payload: bytes, wall_us: int, mono_us: int) -> bytes:
    """The bytes of one record."""
    if len(payload) > PACK_AT:
        payload = zlib.compress(payload, 1)
        kind |= PACKED
    checked = struct.pack("<IQQB", len(payload), wall_us, mono_us, kind)
    crc = zlib.crc32(payload, zlib.crc32(checked))
    return HEADER.pack(len(payload), crc, wall_us, mono_us, kind) + payload


class Segment:
    """A segment file to read. `damage` is known once all of it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: Damage | None = None

    def __iter__(self) -> Iterator[Record]:
        return self.read()

    def read(self, offset: int = len(MAGIC), last_us: int = 0) -> Iterator[Record]:
        """The records from `offset` on, where one must begin; `last_us` is the time of the one before."""
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                self.damage = Damage(self.path, 0, "it does not begin as a recording does", 0)
                return
            file.seek(offset)
            while head := file.read(HEADER.size):
                why = "it ends in the middle of a record"
                if len(head) == HEADER.size:
                    length, crc, wall_us, mono_us, kind = HEADER.unpack(head)
                    if length > RECORD_LIMIT_BYTES:
                        why = "the length of a record makes no sense"
                    else:
                        payload = file.read(length)
                        if len(payload) == length:
                            record = _checked(payload, crc, wall_us, mono_us, kind)
                            if record is not None:
                                end = offset + HEADER.size + length
                                yield replace(record, offset=offset, end=end)
                                last_us, offset = wall_us, end
                                continue
                            why = "a checksum does not agree"
                self.damage = Damage(self.path, offset, why, last_us)
                return


def _checked(payload: bytes, crc: int, wall_us: int, mono_us: int, kind: int) -> Record | None:
    checked = struct.pack("<IQQB", len(payload), wall_us, mono_us, kind)
    if zlib.crc32(payload, zlib.crc32(checked)) != crc:
        return None
    if kind & PACKED:
        unpacker = zlib.decompressobj()
        try:
            payload = unpacker.decompress(payload, RECORD_LIMIT_BYTES)
        except zlib.error:
            return None
    return Record(kind & ~PACKED, wall_us, mono_us, payload)


def segments_at(path: Path) -> list[Segment]:
    """The segments of a recording, oldest first: of one file, or of a directory.

    Raises:
        NotARecording: there is nothing of that kind.
    """
    if path.is_dir():
        paths = sorted(path.glob(f"*{SUFFIX}"), key=lambda one: one.name.split("~")[::-1][0])
    else:
        paths = [path] if path.is_file() else []
    if not paths:
        raise NotARecording(f"{path} holds no recording; a flight recorder writes files named *{SUFFIX}")
    return [Segment(one) for one in paths]
