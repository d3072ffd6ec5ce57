"""States are written down so that what comes back equals what was there, or not at all."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.runtime import Node, NotStorable, Unreadable, storable
from observe.runtime.encoding import decode, decode_state, encode, encode_state
from observe.runtime.ref import NamedRef


@storable
class Mood(Enum):
    GOOD = 1
    BAD = "bad"


@storable
@dataclass(frozen=True, slots=True)
class Line:
    article: str
    count: int = 1
    mood: Mood = Mood.GOOD


@storable
@dataclass
class Order:
    number: int
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("an order is made with a number from 0")


@dataclass
class Foreign:
    value: int


class Number(IntEnum):
    ONE = 1


zones = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=7)), ZoneInfo("UTC")])
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 9).map(lambda n: -(2**5000) - n),
    st.floats(allow_nan=False),
    st.text(st.characters(codec=None)),
    st.binary(max_size=20),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(),
    st.timedeltas(),
    st.sampled_from(Mood),
    st.builds(Line, st.text(max_size=3), st.integers(), st.sampled_from(Mood)),
    st.just(Path("/a/b")),
)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3, hashable: bool = False) -> Any:
    """A value of any kind that can be written down, to some depth; as a key of a dict, on wish."""
    shapes = ["atom", "tuple", "frozenset"]
    if not hashable:
        shapes += ["list", "dict", "tagged", "set", "deque", "ordered", "order"]
    shape = draw(st.sampled_from(shapes)) if depth else "atom"
    inner = trees(max(depth - 1, 0), hashable)
    keys = trees(max(depth - 2, 0), True)
    if shape == "atom":
        return draw(atoms)
    if shape in ("dict", "ordered"):
        pairs = draw(st.dictionaries(keys, inner, max_size=3))
        return pairs if shape == "dict" else OrderedDict(pairs)
    if shape == "tagged":
        return draw(st.dictionaries(st.sampled_from(["@", "v", "c", "a"]), inner))
    if shape == "order":
        return Order(draw(st.integers(min_value=0)), [Line(draw(st.text(max_size=2)))])
    members = draw(st.lists(keys if "set" in shape else inner, max_size=4))
    make: Any = {"tuple": tuple, "frozenset": frozenset, "list": list, "set": set, "deque": deque}[shape]
    return deque(members, maxlen=5) if shape == "deque" else make(members)


def kinds(value: Any) -> Any:
    """The types within a value, which equality does not tell apart (1 and True, list subclasses)."""
    if isinstance(value, dict):
        return type(value), [(kinds(key), kinds(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value), [kinds(item) for item in value]
    return type(value)


@settings(max_examples=100, deadline=None)
@given(trees())
def test_what_was_written_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    """A tuple that came back as a list would be a bug that shows up weeks later."""
    back = decode(encode(value, "it"), "it")
    assert back == value
    assert kinds(back) == kinds(value)


def test_numbers_that_json_has_no_words_for() -> None:
    back = decode(encode([math.nan, math.inf, -math.inf, -0.0], "it"), "it")
    assert math.isnan(back[0])
    assert back[1:3] == [math.inf, -math.inf]
    assert math.copysign(1, back[3]) == -1


def test_moments_keep_their_zone_and_fold() -> None:
    """In the night when the clocks go back, an hour comes twice."""
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    back = decode(encode([moment, time(1, 2, fold=1), date(2026, 1, 1), Counter("aab")], "it"), "it")
    assert back[0].fold == 1
    assert str(back[0].tzinfo) == "Europe/Berlin"
    assert back[0].utcoffset() == moment.utcoffset()
    assert back[1].fold == 1
    assert back[3] == Counter(a=2, b=1)


@pytest.mark.parametrize(
    ("state", "where", "why"),
    [
        ({"conn": object()}, "self.conn", "unsaved"),
        ({"orders": [1, {"a": (Foreign(1),)}]}, "self.orders[1]['a'][0]", "@storable"),
        ({"seen": defaultdict(list)}, "self.seen", "subclass of dict"),
        ({"n": Number.ONE}, "self.n", "@storable"),
        ({"order": Order(1, [Line({})])}, "", ""),  # type: ignore[arg-type]  # what fields hold is not checked
        ({"order": Order(1, [Line(len)])}, "self.order.lines[0].article", "builtin_function"),  # type: ignore[arg-type]  # as above
    ],
)
def test_what_cannot_be_written_down_is_named(state: dict[str, Any], where: str, why: str) -> None:
    """Whoever reads the error at night must find the attribute, and what to do about it."""
    if not where:
        assert decode_state(encode_state(state, "it"), "it") == state
        return
    with pytest.raises(NotStorable) as caught:
        encode_state(state, "Session 4 (s4)")
    assert caught.value.where == where
    assert why in str(caught.value)
    assert str(caught.value).startswith("Session 4 (s4) cannot be stored: self.")


def test_a_cycle_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotStorable, match="contains itself"):
        encode(loop, "it")


def test_a_ref_by_name_comes_back_and_one_by_pid_is_refused() -> None:
    """A pid means another agent after a restart, or none."""
    node = Node("x")
    back = decode(encode([NamedRef(node, "orders")], "it"), "it", node)
    assert back == [NamedRef(node, "orders")]
    with pytest.raises(Unreadable, match="no node"):
        decode(encode(NamedRef(node, "orders"), "it"), "it")


async def test_a_ref_by_pid_is_refused(node: Node) -> None:
    with pytest.raises(NotStorable, match="by name"):
        encode({"peer": node.supervisor}, "it")


def test_reading_runs_no_code_and_knows_only_storable_classes() -> None:
    """A store may have been written by somebody else."""
    with pytest.raises(Unreadable, match="not storable here"):
        decode(b'{"@":"data","c":"subprocess:Popen","v":{"args":"true"}}', "it")
    for broken in (b"{", b'{"@":"uuid","v":"x"}', b'{"@":"tuple"}', b'{"@":"decimal","v":"x"}', b"\xff"):
        with pytest.raises(Unreadable, match="it cannot be read back"):
            decode(broken, "it")


def test_a_stored_object_meets_a_class_that_has_grown() -> None:
    """New fields need defaults, fields that are gone are let go, and what `__init__` checks is not checked again."""
    old = b'{"@":"data","c":"%s:Line","v":{"article":"mug","gone":1}}' % __name__.encode()
    assert decode(old, "it") == Line("mug")
    with pytest.raises(Unreadable, match="without 'article'"):
        decode(old.replace(b'"article"', b'"x"'), "it")
    negative = b'{"@":"data","c":"%s:Order","v":{"number":-1}}' % __name__.encode()
    assert decode(negative, "it").number == -1


def test_only_dataclasses_and_enums_are_made_storable() -> None:
    with pytest.raises(TypeError, match="only dataclasses and enums"):
        storable(UUID)
    with pytest.raises(ValueError, match="belongs to"):
        storable(name=f"{__name__}:Line")(Foreign)


def test_a_storable_class_may_have_a_name_of_its_own() -> None:
    """So that it can move to another module."""

    @storable(name="money")
    @dataclass
    class Money:
        amount: Decimal

    assert b'"money"' in encode(Money(Decimal("1.50")), "it")
    assert decode(encode(Money(Decimal("1.50")), "it"), "it") == Money(Decimal("1.50"))
