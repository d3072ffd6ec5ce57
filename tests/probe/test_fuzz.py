"""Frames that nobody sane would send, from keys of each role and of none: no crash, no hang, no leak, no growth.

The longer run is `python -m tests.fuzz`, outside CI.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
import zmq
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from observe.probe.keys import new_key_pair
from observe.probe.wire import VERBS
from tests.fuzz.harness import KEYS, Broken, Harness, corpus
from tests.fuzz.mutate import HEADERS, mutated, nested
from tests.probe.fake_service import FakeService

WHO = st.sampled_from(sorted(KEYS))
GOOD = corpus()
ENCODED = [msgpack.packb(request) for request in GOOD]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=50)
    | st.binary(max_size=50)
)
VALUES = st.recursive(
    LEAVES,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
)
COMMON = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def desk() -> Iterator[Harness]:
    with Harness(most_s=2.0) as harness:  # no timing gates a test; the longer run is strict
        for who in KEYS:
            harness.hello(who)
        yield harness


def test_the_corpus_has_every_verb() -> None:
    """A new verb is fuzzed because it is in the table."""
    assert {request["verb"] for request in GOOD} == set(VERBS)


@COMMON
@given(WHO, st.binary(max_size=300))
@example("admin", HEADERS[0])
def test_random_bytes_do_no_harm(desk: Harness, who: str, frame: bytes) -> None:
    desk.send(who, frame)


@COMMON
@given(WHO, st.sampled_from(ENCODED), st.data())
def test_truncated_and_bit_flipped_requests_do_no_harm(
    desk: Harness, who: str, frame: bytes, data: st.DataObject
) -> None:
    changed = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    desk.send(who, bytes(changed))


@COMMON
@given(WHO, st.sampled_from(GOOD), st.dictionaries(st.text(max_size=12), VALUES, max_size=5), st.data())
def test_arguments_of_any_kind_do_no_harm(
    desk: Harness, who: str, request: dict[str, Any], more: dict[str, Any], data: st.DataObject
) -> None:
    """Well-formed, and makes no sense."""
    args = dict(request["args"])
    if args:
        args[data.draw(st.sampled_from(sorted(args)))] = data.draw(VALUES)
    with contextlib.suppress(OverflowError, UnicodeEncodeError, ValueError):
        desk.send(who, msgpack.packb(request | {"args": args}))
        desk.send(who, msgpack.packb(request | {"args": args | more}))


@pytest.mark.parametrize("depth", [15, 16, 17, 500, 1000, 5000, 300_000])
def test_deep_nesting_does_no_harm(desk: Harness, depth: int) -> None:
    random = Random(depth)
    for who in KEYS:
        desk.send(who, nested(depth, random))
        desk.send(who, b"\x84\xa1v\x01\xa2id\x01\xa4verb\xa4send\xa4args" + nested(depth, random))


def test_five_thousand_mutations_do_no_harm(desk: Harness) -> None:
    """A small and seeded piece of the longer run."""
    random = Random(5)
    for number in range(5000):
        if number % 500 == 0:
            desk.rest()
            for who in KEYS:
                desk.hello(who)
        desk.send(random.choice(sorted(KEYS)), mutated(random, GOOD, ENCODED))


def test_a_leak_would_be_noticed(desk: Harness) -> None:
    """No check that cannot fail."""
    with pytest.raises(Broken):
        desk._send(b"", {"id": 1, "ok": False, "error": {"message": 'File "x", line 1'}})


def test_a_real_probe_serves_others_while_hostile_frames_come() -> None:
    """Over a socket, from keys with and without a role; a client beside them gets its answers."""
    random = Random(3)
    with FakeService() as service:
        service.start()
        service.shop()
        good, hostile = service.synced_client(), service.client()
        stranger = service.client_with_key(*new_key_pair(), hello=False)
        for _ in range(20):
            for _ in range(20):  # who leaves 64 answers unread loses its place
                frame = mutated(random, GOOD, ENCODED)
                hostile.send_raw(frame[: 1 << 20])
                with contextlib.suppress(zmq.Again):  # it is not let in
                    stranger.socket.send(frame, zmq.NOBLOCK)
            while not hostile.hears_nothing(0.0):
                hostile.receive()
            assert good.ok("ping")["now"] > 0
        assert good.ok("agents", {"limit": 1})["total"] == len(service.pids)
