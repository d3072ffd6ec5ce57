"""The codec stands where strangers' bytes come in: whatever they are, they become a message or a `BadFrame`."""

from __future__ import annotations

import math
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe.probe.codec import REQUEST_DEPTH, REQUEST_LIMIT_BYTES, decode, encode, is_deeper
from observe.probe.errors import BadFrame, TooLarge

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_what_is_encoded_comes_back_as_it_was(message: dict[str, Any]) -> None:
    """Both ends of the wire must see one message."""
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_bad_frame(frame: bytes) -> None:
    """An exception of any other class would get past the handler and end the probe's loop."""
    try:
        assert isinstance(decode(frame), dict)
    except BadFrame:
        pass


@given(VALUES, st.integers(0, 50), st.integers(0, 255))
def test_a_flipped_byte_raises_nothing_but_bad_frame(value: Any, at: int, byte: int) -> None:
    """Nearly right frames reach further into the decoder than noise does."""
    frame = bytearray(msgpack.packb({"v": 1, "id": 1, "verb": "agents", "args": {"x": value}}))
    frame[at % len(frame)] = byte
    try:
        assert isinstance(decode(bytes(frame)), dict)
    except BadFrame:
        pass


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (b"\xdf\xff\xff\xff\xff", "not msgpack"),  # a map that claims four thousand million keys
        (b"\xdd\xff\xff\xff\xff", "not msgpack"),
        (msgpack.packb([1, 2]), "a list"),
        (msgpack.packb("text"), "a text"),
        (msgpack.packb(None), "nothing"),
        (b"\x82\xa1a\x01\xa1a\x02", "same key twice"),
        (b"\x81\x01\x02", "not msgpack"),  # a key that is a number
        (b"\x81\xc4\x01a\x02", "key that is not text"),
        (msgpack.packb({"a": math.nan}), "NaN"),
        (msgpack.packb({"a": [1, {"b": math.nan}]}), "NaN"),
        (msgpack.packb({"a": msgpack.ExtType(5, b"x")}), "extension type 5"),
        (msgpack.packb({"a": msgpack.Timestamp(5)}), "not used"),
        (b"\x81\xa1a\xa2\xff\xfe", "not msgpack"),  # no UTF-8
        (msgpack.packb({"a": 1}) + b"\x00", "not msgpack"),  # something after the end
        (b"\x81\xa1a" * 100 + b"\x01", "deeply"),
        (b"\x81\xa1a" * 2000 + b"\x01", "not msgpack"),
        (b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01", "not msgpack"),
    ],
)
def test_each_hostile_frame_is_refused_with_its_reason(frame: bytes, why: str) -> None:
    """msgpack itself accepts about half of these."""
    with pytest.raises(BadFrame, match=why):
        decode(frame)


def test_depth_is_bounded_exactly() -> None:
    """The limit of the documentation is the limit of the code."""
    nested: Any = {}
    for _ in range(REQUEST_DEPTH - 1):
        nested = {"a": nested}
    assert decode(encode(nested), depth=REQUEST_DEPTH) == nested
    with pytest.raises(BadFrame, match="deeply"):
        decode(encode({"a": nested}), depth=REQUEST_DEPTH)


@pytest.mark.parametrize("levels", range(1, 5))
@pytest.mark.parametrize("innermost", [[], {}, 1])
def test_what_is_too_deep_is_known_before_it_is_sent(levels: int, innermost: Any) -> None:
    """Whoever sends it all the same has no answer: nobody reads its number."""
    message: Any = innermost
    for number in range(levels):
        message = {"a": message} if number % 2 or number == levels - 1 else [message]
    for limit in range(1, 6):
        try:
            decode(encode(message), depth=limit)
        except BadFrame:
            assert is_deeper(message, limit)
        else:
            assert not is_deeper(message, limit)


def test_a_frame_above_the_limit_is_not_even_parsed() -> None:
    """Parsing it is what would cost."""
    with pytest.raises(BadFrame, match="1,048,577 bytes"):
        decode(b"\xc1" * (REQUEST_LIMIT_BYTES + 1), limit_bytes=REQUEST_LIMIT_BYTES)


def test_a_message_that_no_frame_can_hold_is_refused_here() -> None:
    """Otherwise the other side hangs up and nobody knows why."""
    with pytest.raises(TooLarge, match="at most 100"):
        encode({"a": "x" * 200}, limit_bytes=100)


@pytest.mark.parametrize("value", [{1, 2}, object(), 2**70, 1j])
def test_what_has_no_form_on_the_wire_raises_value_error(value: object) -> None:
    """One class of exception for callers to handle, instead of msgpack's three."""
    with pytest.raises(ValueError, match="cannot be written"):
        encode({"a": value})


def test_text_that_utf8_cannot_hold_crosses_as_escapes() -> None:
    """File names hold lone surrogates; a stack with one must still be shown."""
    assert decode(encode({"file": "a\udcffb"})) == {"file": "a\\udcffb"}
