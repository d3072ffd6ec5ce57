"""msgpack in and out, with bounds. What comes in is a stranger's until it has passed here.

msgpack itself accepts more than we want: a key twice in a map (the last wins, so two readers may see two messages), NaN,
timestamps and other extension types, 512 levels of nesting, binary keys. All of that is a `BadFrame` here, with a
sentence that says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any, Final, Never

import msgpack  # type: ignore[import-untyped]  # it ships no types

from observe.probe.errors import BadFrame, TooLarge

REQUEST_LIMIT_BYTES: Final = 1 << 20
"""1 MiB: the largest frame that a client may send. A request is a few hundred bytes."""

REPLY_LIMIT_BYTES: Final = 16 << 20
"""16 MiB: the largest frame from a probe, and on the feed. A page of 1,000 rows has about 200 kB."""

REQUEST_DEPTH: Final = 16
"""Levels of maps and arrays in a request. The deepest (a watch with its query) has 4."""

REPLY_DEPTH: Final = 64
"""Levels in a reply and on the feed: a tree takes two for each level of supervision, a value three."""

_LEAVES: Final = frozenset({str, int, bool, bytes, type(None)})


def encode(message: Mapping[str, Any], *, limit_bytes: int = REPLY_LIMIT_BYTES) -> bytes:
    """The bytes of one message.

    Text that UTF-8 cannot hold (lone surrogates, as in file names) crosses as backslash escapes.

    Raises:
        TooLarge: the frame would exceed `limit_bytes`.
        ValueError: something in it has no msgpack form (a set, an int beyond 64 bits, ...).
    """
    try:
        frame: bytes = msgpack.packb(message)
    except UnicodeEncodeError:
        frame = msgpack.packb(message, unicode_errors="backslashreplace")
    except (TypeError, OverflowError) as error:
        raise ValueError(f"cannot be written as msgpack: {error}") from error
    if len(frame) > limit_bytes:
        raise TooLarge(len(frame), limit_bytes)
    return frame


def encode_for_client(message: dict[str, Any]) -> bytes:
    """A frame for a client; what cannot be sent becomes an error that says so."""
    try:
        return encode(message)
    except (TooLarge, ValueError) as error:
        if "sub" in message:
            return encode(message | {"data": {}})
        code = "refused" if isinstance(error, TooLarge) else "internal"
        body = {"code": code, "message": str(error), "hint": "ask for less: fewer items, rows or levels"}
        return encode({"id": message["id"], "ok": False, "error": body})


def decode(
    frame: bytes | bytearray | memoryview,
    *,
    limit_bytes: int = REPLY_LIMIT_BYTES,
    depth: int = REPLY_DEPTH,
) -> dict[str, Any]:
    """The one map in `frame`, of str, int, float, bool, None, bytes, lists and maps with text keys.

    Raises:
        BadFrame: it is anything else. No other exception leaves this function, whatever the bytes.
    """
    if len(frame) > limit_bytes:
        raise BadFrame(f"the frame has {len(frame):,} bytes; at most {limit_bytes:,} are read")
    try:
        message = msgpack.unpackb(
            frame, raw=False, strict_map_key=True, object_pairs_hook=_map, ext_hook=_no_extension
        )
    except BadFrame:
        raise
    except RecursionError:
        raise BadFrame("the frame is nested too deeply") from None
    except Exception as error:  # msgpack raises five unrelated classes on hostile bytes
        raise BadFrame(f"the frame is not msgpack: {str(error)[:200] or type(error).__name__}") from error
    if type(message) is not dict:
        raise BadFrame(f"the frame holds {_kind(message)}; a message is a map")
    _check(message, depth)
    return message


def _map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise BadFrame("a map in the frame has the same key twice")
    for key in made:
        if type(key) is not str:
            raise BadFrame("a map in the frame has a key that is not text")
    return made


def _no_extension(code: int, _data: bytes) -> Never:
    raise BadFrame(f"the frame holds extension type {code}; none are used")


def _check(value: Any, depth: int) -> None:
    """Refuse what is nested deeper than `depth`, NaN, and msgpack's own types such as its timestamp."""
    if depth == 0:
        raise BadFrame("the frame is nested too deeply")
    for part in value.values() if type(value) is dict else value:
        kind = type(part)
        if kind in _LEAVES:
            continue
        if kind is float:
            if isnan(part):
                raise BadFrame("the frame holds a number that is NaN")
        elif kind is dict or kind is list:
            _check(part, depth - 1)
        else:
            raise BadFrame(f"the frame holds {_kind(part)}, which is not used")


def is_deeper(value: Any, levels: int) -> bool:
    """Whether there are more levels of maps and arrays than these: then `decode` refuses it."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    if parts is None:
        return False
    return levels <= 0 or any(is_deeper(part, levels - 1) for part in parts)


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bytes: "binary data", type(None): "nothing (nil)"}
    return names.get(type(value), f"a value of type {type(value).__name__}")
