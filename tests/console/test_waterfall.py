"""What took how long, below whoever asked for it."""

from __future__ import annotations

from typing import Any

from observe.console.waterfall import as_lines, bars, of_trace
from observe.probe.wire_traces import TraceEvent


def event(kind: str, pid: int, at: float, **fields: Any) -> TraceEvent:
    facts: dict[str, Any] = {
        "n": 1,
        "at": 1000.0 + at,
        "kind": kind,
        "pid": pid,
        "name": f"a{pid}",
        "class": "A",
    }
    return TraceEvent.from_wire(facts | fields)


EVENTS = [
    event("activity", 1, 0.001, way="begin", activity="model:chat"),
    event("activity", 1, 0.004, way="end", activity="model:chat", took_s=0.003),
    event("activity", 2, 0.006, way="begin", activity="tool:search"),
    event("activity", 2, 0.008, way="end", activity="tool:search", took_s=0.002, error="ValueError: no"),
    event("reply", 2, 0.009, way="out", peer=1, took_s=0.004, error="ValueError: no", trace_id="ab" * 16),
    event("reply", 1, 0.0091, way="in", peer=2, peer_name="a2", took_s=0.0043, trace_id="ab" * 16),
    event("handled", 1, 0.010, how="cast", took_s=0.010, message={"type": "str", "text": "'go'"}),
    event("activity", 1, 0.012, way="begin", activity="tool:hangs"),
]


def test_each_piece_of_work_is_below_what_it_is_part_of() -> None:
    drawn = bars(EVENTS)
    assert [(bar.depth, bar.name.strip(), bar.kind) for bar in drawn] == [
        (0, "a1  'go'", "message"),
        (1, "model:chat", "activity"),
        (1, "call → a2", "call"),
        (2, "a2", "message"),
        (3, "tool:search", "activity"),
        (0, "tool:hangs", "activity"),
    ]
    assert [bar.is_open for bar in drawn] == [False] * 5 + [True]
    assert drawn[4].error == "ValueError: no"


def test_lines_have_one_scale_of_time_and_fit_into_the_width() -> None:
    lines = [line.plain for line in as_lines(bars(EVENTS), 80)]
    assert len(lines) == 7
    whole, chat, call = lines[1], lines[2], lines[3]
    assert whole.index("├") < chat.index("├") < call.index("├")
    assert chat.index("┤") < call.index("┤") <= whole.index("┤") + 1
    assert "10.0ms" in whole.replace(" ", "")
    assert "▶" in lines[6]
    assert "ValueError: no" in lines[5]
    assert all(len(line) <= 80 for line in lines if "Error" not in line)


def test_one_trace_is_picked_by_its_first_digits_and_nothing_is_said_to_be_nothing() -> None:
    assert len(of_trace(EVENTS, "ABAB")) == 2
    assert "nothing here" in as_lines(bars([]))[0].plain


def test_many_bars_are_cut_and_counted() -> None:
    many = [event("handled", 1, at / 100, took_s=0.001) for at in range(600)]
    lines = as_lines(bars(many), 80)
    assert lines[-1].plain == "and 100 more"
