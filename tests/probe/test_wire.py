"""The messages of the attach protocol: strict where a client asks, tolerant where a node tells, and documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
from pydantic import ValidationError

from observe.probe import (
    wire,
    wire_agent,
    wire_budgets,
    wire_letters,
    wire_log,
    wire_names,
    wire_table,
    wire_traces,
    wire_watches,
)
from observe.probe.codec import decode
from observe.probe.errors import ERROR_CODES, exit_code_of
from observe.probe.feed import read_frame
from observe.probe.frames import FEED_FRAMES
from observe.probe.wire_base import Told

ROOT = Path(__file__).parent.parent.parent
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
GOLDEN = Path(__file__).parent / "golden_protocol_1.txt"


def section(title: str) -> str:
    """A section of the document, without those after it."""
    return re.split(r"^#+ ", PROTOCOL.split(title, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def golden_frames() -> list[tuple[str, bytes]]:
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]
    return [(name, bytes.fromhex(frame)) for name, frame in lines]


@pytest.mark.parametrize(("name", "frame"), golden_frames(), ids=[name for name, _ in golden_frames()])
def test_frames_of_protocol_1_can_still_be_read(name: str, frame: bytes) -> None:
    """Consoles and recordings of an earlier version exist: their bytes must keep their meaning."""
    kind, _, what = name.partition(":")
    message = decode(frame)
    if kind == "request":
        request = wire.Request.model_validate(message)
        assert request.verb == what
        wire.VERBS[what][1].model_validate(request.args)
    elif kind == "reply":
        reply = wire.Reply.from_wire(message)
        assert reply.ok
        model_of(what).from_wire(reply.result)
    elif kind == "error":
        body = wire.Reply.from_wire(message).error
        assert body is not None
        assert body.code == what
    elif kind == "push":
        model_of(what).from_wire(wire_watches.Push.from_wire(message).data)
    else:
        assert kind == "feed"
        assert isinstance(read_frame(frame), FEED_FRAMES[what])


def model_of(name: str) -> type[Told]:
    """The class of this name, in whichever module of the wire it stands."""
    found: type[Told] = next(
        getattr(module, name)
        for module in (
            wire,
            wire_agent,
            wire_table,
            wire_watches,
            wire_traces,
            wire_log,
            wire_letters,
            wire_budgets,
            wire_names,
        )
        if hasattr(module, name)
    )
    assert issubclass(found, Told)
    return found


def test_every_kind_of_message_has_a_golden_frame() -> None:
    """A message without one can change unnoticed."""
    names = {name for name, _ in golden_frames()}
    assert {f"request:{verb}" for verb in wire.VERBS} <= names
    assert {f"feed:{kind}" for kind in FEED_FRAMES} <= names


def test_the_table_of_verbs_is_the_documented_one() -> None:
    """What can be reached from outside is a list that people review, not what happens to be a method."""
    rows = re.findall(
        r"^\| `(\w+)` \| (viewer|operator|admin) \|", section("### 1.3 Verbs"), flags=re.MULTILINE
    )
    assert rows == [(verb, role) for verb, (role, _) in wire.VERBS.items()]


def test_the_error_codes_and_their_exit_status_are_the_documented_ones() -> None:
    """Scripts branch on both."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d) \|$", section("### 1.2 Errors"), flags=re.MULTILINE)
    assert [code for code, _ in rows] == list(ERROR_CODES)
    assert [int(status) for _, status in rows] == [exit_code_of(code) for code, _ in rows]


def test_the_columns_are_the_documented_ones() -> None:
    """A column that is not described cannot be understood; one that is not there cannot be sorted by."""
    rows = re.findall(r"^\| `(\w+)` \| (?:int|float|str)", section("### 1.4 Values"), flags=re.MULTILINE)
    assert rows == list(wire_table.COLUMNS)


@pytest.mark.parametrize(
    "args",
    [
        {"limit": "5"},
        {"limit": True},
        {"limit": 1001},
        {"limit": -1},
        {"offset": -1},
        {"offset": 1.5},
        {"sort": 5},
        {"descending": 1},
        {"columns": "pid"},
        {"columns": [1]},
        {"filter": "x" * 2000},
        {"limits": 5},
    ],
)
def test_a_query_that_is_not_exactly_right_is_refused(args: dict[str, Any]) -> None:
    """A guess at what a client meant is a different query."""
    with pytest.raises(ValidationError):
        wire_table.Query.model_validate(args)


@pytest.mark.parametrize("agent", [0, -1, 2**63, "", True, 1.0, None, ["x"]])
def test_an_agent_is_a_pid_or_a_name(agent: object) -> None:
    """True is an int to Python, and pid 1 is the root supervisor."""
    with pytest.raises(ValidationError):
        wire_agent.StackArgs.model_validate({"agent": agent})


def test_what_a_later_version_adds_to_an_answer_is_passed_over() -> None:
    """So the protocol can grow by addition without breaking consoles that are out there."""
    pong = wire.Pong.from_wire({"now": 1.0, "mood": "fine"})
    assert pong.to_wire() == {"now": 1.0}


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    """An expiry of infinity would never expire."""
    args = {"agent": 1, "incarnation": "i", "expires_at": number, "command_id": "c"}
    with pytest.raises(ValidationError):
        wire_agent.KillArgs.model_validate(args)


def test_a_value_crosses_without_what_does_not_apply() -> None:
    """Most values have a type and a text; six more keys each would double every detail view."""
    value = wire_agent.Value(type="list", text="[1]", items=[("0", wire_agent.Value(type="int", text="1"))])
    detail = wire_agent.Detail(agent={}, state=value).to_wire()
    assert detail["state"] == {
        "type": "list", "text": "[1]", "items": [("0", {"type": "int", "text": "1"})]
    }  # fmt: skip
    assert wire_agent.Detail.from_wire(msgpack.unpackb(msgpack.packb(detail))).state == value


def test_class_is_called_class_on_the_wire_only() -> None:
    """Python keeps the word for itself."""
    held = wire.Held(pid=1, class_name="Worker", since_s=1.0, where="c")
    assert held.to_wire()["class"] == "Worker"
    assert wire.Held.from_wire(held.to_wire()).class_name == "Worker"
