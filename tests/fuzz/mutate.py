"""Makes hostile frames out of good ones: by their bytes, and by what they say."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

HEADERS: Final = (
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc1",
    b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x0c\xff" + bytes(12), b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xa2\xff\xfe", b"\x81\x01\x02", b"\x82\xa1a\x01\xa1a\x02",
)  # fmt: skip
"""Lengths that are a lie, types that are not used, NaN, broken text, keys that are numbers or stand twice."""

VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 0.0, -0.0, 1e308, -1e308, float("inf"),
    float("-inf"), float("nan"), "", "a", "\x00", "\ud7ff", "../../etc/passwd", "%s%n{0}{__class__}", "a" * 300, "a" * 5000,
    "w1 " * 300, "-" * 900, '"' * 901, "pid=" * 200, "mailbox>1e999", b"", b"\xff" * 40, [], {}, [[]] * 50, {"a": {}}, [1] * 2000,
    {"__class__": "x"}, {str(n): n for n in range(300)},
)  # fmt: skip


def nested(depth: int, random: Random) -> bytes:
    """Maps or arrays within each other."""
    inside = random.choice((b"\x91", b"\x81\xa1a"))
    return inside * depth + b"\xc0"


def mutated(random: Random, corpus: list[dict[str, Any]], frames: list[bytes]) -> bytes:
    """One hostile frame. `frames` are those of `corpus`."""
    kind = random.randrange(10)
    if kind == 0:
        return random.randbytes(random.randrange(200))
    if kind == 1:
        deep = nested(random.choice((2, 15, 16, 17, 60, 500, 1100, 20_000)), random)
        return random.choice((deep, b"\x84\xa1v\x01\xa2id\x01\xa4verb\xa4send\xa4args" + deep))
    if kind < 6:
        return _by_bytes(random, bytearray(random.choice(frames)), frames)
    return _by_meaning(random, random.choice(corpus))


def _by_bytes(random: Random, frame: bytearray, frames: list[bytes]) -> bytes:
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(frame) + 1)
        how = random.randrange(6)
        if how == 0 and frame:
            frame[at % len(frame)] ^= 1 << random.randrange(8)
        elif how == 1 and frame:
            frame[at % len(frame)] = random.randrange(256)
        elif how == 2:
            del frame[at:]
        elif how == 3:
            frame[at:at] = random.choice(HEADERS)
        elif how == 4:
            del frame[at : at + random.randrange(1, 9)]
        else:
            other = random.choice(frames)
            frame[at:] = other[random.randrange(len(other)) :]
    return bytes(frame)


def _by_meaning(random: Random, request: dict[str, Any]) -> bytes:
    message = dict(request) | {"args": dict(request["args"])}
    for _ in range(random.choice((1, 1, 2))):
        part = random.choice((message, message["args"], message["args"]))
        if not isinstance(part, dict):
            continue
        keys = [*part, "unknown", "agent", "command_id"]
        key = random.choice(keys)
        if random.random() < 0.1:
            part.pop(key, None)
        else:
            part[key] = deepcopy(random.choice(VALUES))
        if not isinstance(message.get("args"), dict):
            break
    frame: bytes = msgpack.packb(message, unicode_errors="surrogatepass")
    return frame
