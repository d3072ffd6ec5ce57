"""A value on its way to a person: whatever an agent holds can be shown, cheaply, harmlessly and without its secrets."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime
import enum
import functools
import itertools
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]  # it ships no types
import numpy
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe.tracing import masking
from observe.tracing.allowance import ReprTooSlow, within
from observe.tracing.masking import MASK
from observe.tracing.payload import Limits, Value, clean_block, encode, encode_fields

PATIENT = Limits(seconds=60.0, repr_s=2.0)
"""As in the service but for time, of which a busy test machine has little."""


def packed(value: object, limits: Limits = PATIENT) -> Value:
    """The value after the wire: what cannot be packed fails here."""
    frame = msgpack.packb(encode(value, limits))
    assert len(frame) < 2_000_000
    found: Value = msgpack.unpackb(frame)
    return found


def part(value: Value, key: str) -> Value:
    """The item of this key."""
    return next(item for name, item in value["items"] if name == key)


def depth_of(value: Any) -> int:
    """Levels of maps and lists."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((depth_of(item) for item in parts), default=0) if isinstance(value, dict | list) else 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-5, "-5"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        ("it's", '"it\'s"'),
        (b"\x00ab", "b'\\x00ab'"),
        ([1, "a", [2]], "[1, 'a', [2]]"),
        ((), "()"),
        ((1,), "(1)"),
        ({"a": 1, 2: None}, "{'a': 1, 2: None}"),
        (set(), "set()"),
        ({7}, "{7}"),
        (frozenset(), "frozenset([])"),
        (collections.deque([1, 2], maxlen=5), "deque([1, 2])"),
        (collections.OrderedDict(a=1), "OrderedDict({'a': 1})"),
        (array.array("d", [1.5]), "array([1.5])"),
        (datetime.date(2026, 11, 21), "datetime.date(2026, 11, 21)"),
        (range(3), "range(0, 3)"),
        (len, "<builtin_function_or_method len>"),
        (depth_of, "<function depth_of>"),
        (functools.partial(depth_of, 1), "<partial of <function depth_of>>"),
        (dict, "<class builtins.dict>"),
        (sys, "<module sys>"),
        (ValueError("no", 5), "ValueError('no', 5)"),
    ],
)
def test_plain_values_read_as_python_writes_them(value: object, text: str) -> None:
    """A person on call reads Python, not our notation."""
    assert packed(value)["text"] == text


def test_containers_say_their_size_and_what_was_left_out() -> None:
    """A mailbox of a million entries is shown by its first hundred, and the person knows that it goes on."""
    found = packed(list(range(1_000_000)))
    assert (found["size"], len(found["items"]), found["more"]) == (1_000_000, 100, 999_900)
    assert len(found["text"]) <= 200
    assert found["text"].endswith("…]")
    inner = part(packed({"deep": {"list": list(range(1000))}}), "deep")
    assert part(inner, "list")["more"] > 900


def test_breadth_comes_first() -> None:
    """A huge first attribute does not hide the small one after it."""
    huge = [[[list(range(100)) for _ in range(100)] for _ in range(100)] for _ in range(3)]
    found = encode_fields("Agent", [("huge", huge), ("small", 5)], Limits(nodes=50, seconds=60.0))
    assert part(found, "small")["text"] == "5"
    assert found["text"].endswith("small=5)")


def test_frames_stay_below_the_protocols_nesting() -> None:
    """State stands three levels deep in its reply and each level of it takes three of the sixteen."""
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]
    found = packed(nested)
    assert depth_of(found) <= 13
    assert part(part(part(part(found, "0"), "0"), "0"), "0")["cut"] is True


def test_cycles_end() -> None:
    """Parents know their children and children their parents: the usual case, not a fault."""
    loop: dict[str, object] = {"name": "a"}
    loop["self"] = loop
    other: list[object] = []
    other.append((1, other))
    assert part(packed(loop), "self")["text"] == "<the same dict as above>"
    assert packed(other)["text"] == "[(1, <the same list as above>)]"


def test_huge_texts_and_numbers_are_cut() -> None:
    """Ten megabytes of model output in an attribute must not cross the wire because somebody looked at the agent."""
    text = packed("x" * 10_000_000)
    assert text["size"] == 10_000_000
    assert text["cut"] is True
    assert len(text["text"]) < 1100
    assert packed(b"y" * 10_000_000)["cut"] is True
    assert packed(1 << 10_000_000)["text"] == "<int of 10000001 bits>"
    assert len(msgpack.packb(encode(["z" * 5000] * 100_000))) < 1_000_000
    assert len(packed({"k" * 10_000_000: 1})["items"][0][0]) == 100


class Raises:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


class RaisesWithFields:
    def __init__(self) -> None:
        self.order = 5

    def __repr__(self) -> str:
        raise SystemExit(3)


class TenMegabytes:
    def __repr__(self) -> str:
        return "m" * 10_000_000


class NotText:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]  # the mistake under test


class Endless:
    def __repr__(self) -> str:
        return repr(self)


class Forever:
    def __repr__(self) -> str:
        while True:
            pass


class Swallows:
    def __repr__(self) -> str:
        while True:
            try:
                sum(range(10))
            except Exception as error:  # noqa: BLE001  # the mistake under test
                self.last = error


def test_a_repr_that_fails_becomes_an_error_and_the_fields_are_shown() -> None:
    """Half an object with a reason helps; a failed inspection does not."""
    assert packed(Raises())["error"] == "RuntimeError: no repr today"
    found = packed(RaisesWithFields())
    assert found["error"] == "SystemExit"
    assert part(found, "order")["text"] == "5"
    assert found["text"] == "RaisesWithFields(order=5)"
    assert packed(NotText())["error"].startswith("TypeError")
    assert packed(Endless())["error"].startswith("RecursionError")


def test_a_repr_of_ten_megabytes_is_cut() -> None:
    """Its author meant well."""
    found = packed(TenMegabytes())
    assert found["cut"] is True
    assert len(found["text"]) <= 1001


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage tool holds the trace function")
@pytest.mark.parametrize("hanging", [Forever(), Swallows()])
def test_a_repr_that_never_ends_is_ended(hanging: object) -> None:
    """Inspection runs on the scheduler: a hanging `__repr__` would hold every agent of the node."""
    assert (
        packed([hanging, 7], Limits())["items"][0][1]["error"] == "its __repr__ took too long and was ended"
    )
    assert sys.gettrace() is None


def test_time_is_bounded_altogether() -> None:
    """A thousand slow reprs are no better than one."""
    calls: list[int] = []

    class Slow:
        def __repr__(self) -> str:
            calls.append(1)
            end = time.perf_counter() + 0.004
            while time.perf_counter() < end:
                pass
            return "slow"

    found = packed([Slow() for _ in range(100)], Limits(seconds=0.01, repr_s=0.02))
    assert len(calls) < 50
    assert found["items"][-1][1]["cut"] is True


def test_a_repr_over_a_huge_structure_is_not_called() -> None:
    """`repr` of a list of a million floats holds the interpreter for a second, and nothing could end it."""
    called: list[str] = []

    class Holder:
        def __init__(self) -> None:
            self.data = {"values": list(range(100_000))}

        def __repr__(self) -> str:
            called.append("holder")
            return f"Holder({self.data})"

    @dataclasses.dataclass
    class Row:
        values: list[int]

    assert packed(Holder())["cut"] is True
    assert called == []
    assert len(packed(Row(list(range(1_000_000))))["text"]) <= 220


class Trap:
    """Acts on every touch that is not by the book."""

    touched: list[str] = []

    def __init__(self) -> None:
        self.plain = 1

    def __getattr__(self, name: str) -> object:
        self.touched.append(name)
        raise AttributeError(name)

    @property
    def costly(self) -> object:
        self.touched.append("costly")
        return 1

    @property
    def __class__(self) -> Any:
        self.touched.append("__class__")
        return dict

    @__class__.setter
    def __class__(self, value: object) -> None: ...

    def __len__(self) -> int:
        self.touched.append("__len__")
        return 1

    def __iter__(self) -> Any:
        self.touched.append("__iter__")
        return iter(())

    def __eq__(self, other: object) -> bool:
        self.touched.append("__eq__")
        return True

    def __hash__(self) -> int:
        self.touched.append("__hash__")
        return 1

    def __bool__(self) -> bool:
        self.touched.append("__bool__")
        return False


def test_looking_does_not_touch() -> None:
    """A property that opens a connection, a `__getattr__` that loads from a database: not because somebody looked."""
    Trap.touched.clear()
    trap = Trap()
    found = packed({"trap": trap, "list": [trap]})
    assert part(part(found, "trap"), "plain")["text"] == "1"
    assert part(found, "trap")["type"] == "Trap"
    assert Trap.touched == []


class Sneaky(dict[str, int]):
    def items(self) -> Any:
        raise AssertionError("called")

    def __len__(self) -> int:
        raise AssertionError("called")

    def __iter__(self) -> Any:
        raise AssertionError("called")


def test_classes_derived_from_containers_are_read_as_their_base() -> None:
    """Overridden methods may do anything; those of `dict` itself do not."""
    sneaky = Sneaky(a=1)
    sneaky.extra = 5  # type: ignore[attr-defined]  # any attribute will do
    found = packed(sneaky)
    assert part(found, "a")["text"] == "1"
    assert part(found, ".extra")["text"] == "5"


def test_system_objects_are_shown() -> None:
    """Open sockets, locks, tasks and threads hang on real agents."""
    with socket.socket() as connection, open(os.devnull) as file:
        values = [
            connection, file, threading.Lock(), threading.RLock(), threading.current_thread(), weakref.ref(Raises),
            iter([1]), (n for n in [1]), {}.keys(), types.MappingProxyType({"a": 1}), memoryview(b"x"), object(),
            pathlib.Path("/a"), asyncio.Lock(), collections.ChainMap({}), lambda: 1, Raises().__repr__, NotImplemented,
        ]  # fmt: skip
        found = packed(values)
    assert "error" not in str(found)
    assert all(item["text"] for _, item in found["items"])


def test_a_dictionary_that_changes_meanwhile() -> None:
    """Threads of the service go on while somebody looks."""
    shared: dict[int, int] = dict.fromkeys(range(1000), 0)
    stop = threading.Event()

    def churn() -> None:
        number = 1000
        while not stop.is_set():
            shared[number] = number
            shared.pop(number - 500, None)
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(200):
            assert packed(shared)["type"] == "dict"
    finally:
        stop.set()
        thread.join()


class Slotted:
    __slots__ = ("_hidden", "empty", "filled")

    def __init__(self) -> None:
        self.filled = 1
        self._hidden = 2


@dataclasses.dataclass(slots=True)
class Order:
    id: int
    lines: list[str]


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1


class Model(pydantic.BaseModel):
    name: str
    key: pydantic.SecretStr
    tags: list[str] = []


def test_objects_show_their_fields() -> None:
    """Slots, dataclasses, named tuples, enumerations, pydantic models, namespaces: each by its names."""
    assert packed(Slotted())["text"] == "Slotted(_hidden=2, filled=1)"
    assert packed(Order(5, ["a"]))["text"] == "Order(id=5, lines=['a'])"
    assert packed(Point(1, 2))["text"] == "Point(x=1, y=2)"
    assert packed(Colour.RED)["text"] == "<Colour.RED>"
    assert packed(types.SimpleNamespace(a=1))["text"] == "SimpleNamespace(a=1)"
    assert [key for key, _ in packed({Colour.RED: 1, (1, "a"): 2, b"k": 3, True: 4})["items"]] == [
        "<Colour.RED>", "(1, a)", "b'k'", "True",
    ]  # fmt: skip
    model = packed(Model(name="n", key=pydantic.SecretStr("hunter22"), tags=["x"]))
    assert part(model, "name")["text"] == "'n'"
    assert "hunter22" not in str(model)


def test_numpy_arrays_show_shape_type_and_first_numbers() -> None:
    """An embedding of 100 MB is a shape and five numbers to a reader."""
    found = packed(numpy.zeros((1000, 1000)))
    assert found["text"].startswith("(1000, 1000) float64 [0.0, 0.0")
    assert found["size"] == 1_000_000
    assert packed(numpy.array([Raises(), 1], dtype=object))["items"][0][1]["error"]
    assert packed(numpy.float64(1.5))["type"] == "float64"


@pytest.mark.parametrize(
    "state",
    [
        {"password": "hunter22"},
        {"db_password": "hunter22"},
        {"api_key": b"hunter22"},
        {"OPENAI_API_KEY": "hunter22"},
        {"apiKey": ["hunter22"]},
        {"client_secret": {"value": "hunter22"}},
        {"headers": {"Authorization": "hunter22"}},
        {"headers": [("authorization", "hunter22")]},
        {"access_token": "hunter22"},
        {"pin_secret": pathlib.Path("hunter22")},
        {"text": "call it with sk-hunter22hunter22hunter22 please"},
        {"text": "Authorization: Bearer hunter22hunter22"},
        {"text": b"Bearer hunter22hunter22"},
        {"url": "postgresql://user:hunter22@db/shop"},
        {"text": "-----BEGIN RSA PRIVATE KEY-----\nhunter22" + "x" * 5000},
        {"text": "eyJhbGciOiJIUzI1NiJ9.hunter22hunter22.sig"},
        {"text": 'connect(password="hunter22")'},
        {"text": "y" * 997 + "sk-hunter22hunter22hunter22"},
        {"ghp_hunter22hunter22hunter22": 1},
        {"error": ValueError("login with password='hunter22' failed")},
    ],
)
def test_secrets_are_masked(state: dict[str, object]) -> None:
    """A console, a recording and a log of the console must not become places where keys leak."""
    assert "hunter22" not in str(packed(state))
    assert "hunter22" not in str(encode_fields("Agent", list(state.items()), PATIENT))


def test_secret_numbers_go_and_counts_stay() -> None:
    """`max_tokens` is the most looked-at number of a model call, and not a secret."""
    found = packed(
        {"password": 123456, "max_tokens": 400, "tokens": {"prompt": 5}, "secret": None, "token": True}
    )
    assert part(found, "password") == {"type": "int", "text": MASK, "masked": True}
    assert part(found, "max_tokens")["text"] == "400"
    assert part(part(found, "tokens"), "prompt")["text"] == "5"
    assert part(found, "secret")["text"] == "None"


class Login:
    def __init__(self) -> None:
        self.user = "ann"

    def __repr__(self) -> str:
        return "Login(user='ann', password='hunter22')"


def test_secrets_inside_a_repr_are_masked() -> None:
    """Classes print what they like."""
    found = packed(Login())
    assert found["text"] == f"Login(user='ann', password={MASK})"
    assert found["masked"] is True


def test_texts_cannot_steer_a_terminal() -> None:
    """State comes from strangers: model output, web pages. An escape sequence in it must not reach the console's."""

    class Shouting:
        def __repr__(self) -> str:
            return "\x1b[2J\x07\u202egnp\ud800 a\nb"

    assert packed(Shouting())["text"] == "\\x1b[2J\\x07\\u202egnp\\ud800 a\nb"
    assert "\x1b" not in str(packed({"\x1b[0m": "\x1b[0m"}))
    assert clean_block("\x1b]0;t\x07\n\tx") == "\\x1b]0;t\\x07\n\tx"


def test_long_blocks_keep_their_ends() -> None:
    """Of a traceback of ten thousand lines the last one says what happened."""
    block = clean_block("first\n" + "middle\n" * 100_000 + "last", limit=1000)
    assert block.startswith("first\n")
    assert block.endswith("last")
    assert "characters left out" in block
    assert len(block) < 1100


def test_within_leaves_no_trace_function_behind() -> None:
    """A forgotten trace function makes the whole service slow."""
    assert within(1.0, lambda: 5) == 5
    assert sys.gettrace() is None


def spins() -> None:
    """For ever, in one call."""
    while True:
        pass


def counts() -> None:
    """For ever, in calls of which each is short, on one line."""
    any(one < 0 for one in itertools.count())


@pytest.mark.parametrize("endless", [spins, counts])
def test_what_takes_too_long_is_ended(endless: Callable[[], None]) -> None:
    with pytest.raises(ReprTooSlow):
        within(0.005, endless)
    assert sys.gettrace() is None


def test_what_the_interpreter_calls_meanwhile_comes_to_its_end() -> None:
    """A destructor that is ended half way leaves a file open, or a lock taken."""
    begun, ended = [], []

    class Held:
        def __del__(self) -> None:
            begun.append(0)
            for _ in range(200):
                pass
            ended.append(0)

    def makes() -> None:
        while True:
            Held()

    for _ in range(5):
        with pytest.raises(ReprTooSlow):
            within(0.02, makes)
    assert len(begun) == len(ended) > 5


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: (
        st.lists(children) | st.dictionaries(st.text() | st.integers(), children) | st.tuples(children)
    ),
    max_leaves=50,
)


@given(nested)
def test_whatever_is_given_can_be_packed(value: object) -> None:
    """No state may make an inspection fail."""
    assert packed(value)["text"]


def test_payload_loads_nothing_heavy() -> None:
    """It is imported into every service."""
    code = "import sys, observe.tracing.payload as p; p.encode([1]); print([m for m in sys.modules if m in ('numpy','pydantic','msgpack','zmq')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@given(
    st.text(alphabet="ab:= -_/@.\"'pskbearrtokn0123", max_size=40)
    | st.from_regex(masking._SHAPES)
    | st.from_regex(masking._ASSIGNED)
    | st.lists(st.sampled_from([*masking._SIGNS_OF_SHAPES, *masking._SIGNS_OF_NAMES, "=", ":", " ", "a" * 12, "B", "@", "PASS", "\u017f"]))
    .map("".join)
)  # fmt: skip
def test_what_is_passed_over_could_not_have_been_masked(text: str) -> None:
    """Most texts have no sign of a secret, and are not looked at more closely."""
    masked, shapes = masking._SHAPES.subn(masking.MASK, text)
    masked, assigned = masking._ASSIGNED.subn(masking._mask_assigned, masked)
    assert masking.mask_text(text) == (masked, shapes > 0 or (assigned > 0 and masked != text))
