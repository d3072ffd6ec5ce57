"""`observe trace` against a real service, and what is drawn of what it hears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from observe.console.sequence import OTHERS, OUTSIDE, as_mermaid, as_svg, as_text, chart
from observe.probe.wire_traces import TraceEvent
from tests.console.test_cli_data import Running, service


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with service("traced", Path(__file__).with_name("service_that_talks.py")) as found:
        found.until(lambda: found.json("ps", found.name)["total"] > 3)
        yield found


def event(kind: str, pid: int = 1, **fields: Any) -> TraceEvent:
    facts: dict[str, Any] = {"n": 1, "at": 1e9, "kind": kind, "pid": pid, "name": f"a{pid}", "class": "A"}
    if "text" in fields and kind in ("send", "call", "receive"):
        fields["message"] = {"type": "str", "text": fields.pop("text")}
    return TraceEvent.from_wire(facts | fields)


# -- the command -----------------------------------------------------------------------------------------------------------


def test_lines_tell_who_says_what_to_whom(running: Running) -> None:
    status, out, err = running.observe("trace", running.name, "asker", "--max", "4", "--for", "20s")
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == 4
    assert any("asker" in line and "call" in line and "→ answerer" in line for line in lines)
    assert any("reply" in line and "= 'yes'" in line for line in lines)
    assert "Listening to 1 agent of traced@" in err
    assert "4 events (after 4 events)" in err


def test_a_file_shows_again_what_was_heard_in_every_form(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "heard.jsonl"
    status, _, err = running.observe(
        "trace", running.name, "class:*er", "--max", "12", "--for", "20s", "--format", "json", "-o", str(path)
    )
    assert (status, "12 events" in err) == (0, True)
    first, *events = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["selector"] == "class:*er"
    assert len(events) == 12
    for style, holds in {
        "rich": "answerer", "sequence": "▶", "waterfall": "{'question': ", "mermaid": "sequenceDiagram", "svg": "<svg", "json": '"kind"', "otlp": "resourceSpans",
    }.items():  # fmt: skip
        status, out, _ = running.observe("trace", "show", str(path), "--format", style)
        assert status == 0, style
        assert holds in out, style
    spans = json.loads(running.observe("trace", "show", str(path), "--format", "otlp")[1])
    made = spans["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert made
    assert all(len(span["traceId"]) == 32 and len(span["spanId"]) == 16 for span in made)
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in made)


def test_a_file_that_is_cut_shows_what_is_whole(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    running.observe("trace", running.name, "asker", "--max", "3", "--for", "20s", "-o", str(path))
    path.write_text(path.read_text()[:-20])
    assert running.observe("trace", "show", str(path))[0] == 0
    path.write_text("nonsense\n")
    status, _, err = running.observe("trace", "show", str(path))
    assert status == 1
    assert "is no file of" in err
    assert running.observe("trace", "show", str(tmp_path / "nowhere"))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["asker", "--events", "sned"], "events"),
        (["asker", "--for", "soon"], "is no time"),
        (["asker", "--rate", "many"], "is no rate"),
        (["asker", "-o", "/nowhere/x"], "cannot be written"),
        (["asker", "--for", "2h"], "for_s"),
    ],
)
def test_wrong_usage_is_explained(running: Running, arguments: list[str], says: str) -> None:
    status, _, err = running.observe("trace", running.name, *arguments)
    assert status == 2
    assert says in err


def test_a_selector_or_condition_that_is_wrong_is_explained(running: Running) -> None:
    status, _, err = running.observe("trace", running.name, "clas:Asker")
    assert (status != 0, "did you mean class:Asker" in err) == (True, True)
    status, _, err = running.observe("trace", running.name, "asker", "--where", "mesage == 1")
    assert (status != 0, "did you mean message" in err) == (True, True)


def test_the_calls_of_a_function_are_lines_and_json(running: Running, tmp_path: Path) -> None:
    status, out, err = running.observe(
        "trace", running.name, "--function", "__main__:Answerer.handle", "--max", "3", "--for", "20s"
    )
    assert (status, len(out.splitlines())) == (0, 3), err
    assert all(line.split()[1].startswith("handle(message=") for line in out.splitlines())
    assert "Listening to __main__:Answerer.handle" in err
    assert "3 calls (after 3 calls)" in err
    path = tmp_path / "calls.jsonl"
    status, out, _ = running.observe(
        "trace",
        running.name,
        "--function",
        "__main__:Answerer.handle",
        "--max",
        "2",
        "--format",
        "json",
        "-o",
        str(path),
    )
    assert (status, out) == (0, "")
    assert [json.loads(line)["how"] for line in path.read_text().splitlines()] == ["returned"] * 2
    status, _, err = running.observe("trace", running.name, "--function", "__main__:Answerer.handel")
    assert (status, "did you mean handle" in err) == (2, True)
    status, _, err = running.observe("trace", running.name)
    assert (status, "SELECTOR" in err) == (2, True)


def test_a_profile_is_a_table_or_a_file_for_others(running: Running, tmp_path: Path) -> None:
    status, out, err = running.observe("profile", running.name, "--for", "500ms")
    assert (status, "AGENT" in out, "FUNCTION" in out) == (0, True, True)
    assert "of a core" in err
    path = tmp_path / "profile.json"
    status, _, _ = running.observe(
        "profile", running.name, "--for", "200ms", "--format", "speedscope", "-o", str(path)
    )
    assert status == 0
    assert json.loads(path.read_text())["$schema"].startswith("https://www.speedscope.app")


# -- the chart -------------------------------------------------------------------------------------------------------------


def test_a_message_of_which_both_ends_are_traced_is_drawn_once() -> None:
    drawn = chart(
        [
            event("call", 1, peer=2, peer_name="a2", text="'q'"),
            event("receive", 2, peer=1, peer_name="a1", how="call", text="'q'"),
            event("reply", 2, peer=1, peer_name="a1", way="out", value={"type": "int", "text": "1"}),
            event(
                "reply", 1, peer=2, peer_name="a2", way="in", value={"type": "int", "text": "1"}, took_s=0.001
            ),
            event("receive", 1, how="cast", text="'from nobody'"),
        ]
    )
    assert [(step.source, step.target, step.label) for step in drawn.steps] == [
        ("a1", "a2", "'q'"),
        ("a2", "a1", "1 (1.0ms)"),
        (OUTSIDE, "a1", "'from nobody'"),
    ]


def test_many_agents_share_the_last_lane_and_no_line_is_too_wide() -> None:
    events = [event("send", 1, peer=n, peer_name=f"agent-number-{n}", text="x" * 500) for n in range(2, 40)]
    drawn = chart(events, max_lanes=5)
    assert len(drawn.lanes) == 5
    assert drawn.lanes[-1] == OTHERS
    for width in (80, 100, 200):
        assert max(map(len, as_text(drawn, width))) <= width
    assert as_text(chart([])) == ["(nothing was sent)"]


def test_documents_hold_any_text() -> None:
    nasty = '<b>&"#;\x1b[2J--> 漢字'
    drawn = chart([event("send", 1, peer=2, peer_name=nasty, text=nasty), event("crash", 1, text=nasty)])
    ElementTree.fromstring(as_svg(drawn).replace("\x1b", ""))
    mermaid = as_mermaid(drawn)
    assert mermaid.startswith("sequenceDiagram\n")
    assert len(mermaid.splitlines()) == 1 + 2 + 2
    assert ";" not in mermaid.replace("#35;", "").replace("#59;", "")
