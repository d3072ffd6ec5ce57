"""Spans of a recording are drawn trace by trace, and an autopsy names those that were open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from observe.console.cli import main
from observe.console.taped_lines import TRACES, waterfalls
from observe.probe.codec import encode
from observe.probe.recording import FRAME, MAGIC, META, SUFFIX, pack
from observe.probe.taped_traces import TapedSpan

AT = 1_764_086_400


def span(
    number: int, parent: int, name: str, start: float, end: float | None, trace: str = "ab" * 16
) -> TapedSpan:
    return TapedSpan(trace, number, parent, name, "desk", 4, start, end)


def test_each_trace_has_a_scale_of_its_own_and_spans_stand_below_their_parents() -> None:
    spans = [
        span(1, 0, "invoke_agent Desk", 10.0, None),
        span(2, 1, "chat m", 10.5, 12.0),
        span(3, 99, "execute_tool shelf", 500.0, 500.25, trace="cd" * 16),
    ]
    first, _, root, chat, second, _, orphan = [text.plain for text in waterfalls(spans, 14.0, 100)]
    assert first.startswith(f"trace {'ab' * 16}")
    assert first.endswith("2 spans, 1 open at the end")
    assert root.startswith("invoke_agent Desk  desk")
    assert "▶" in root
    assert chat.startswith("  chat m")
    assert chat.rstrip().endswith("1.5s")
    assert "cdcd" in second
    assert orphan.startswith("execute_tool shelf")


def test_of_many_traces_the_newest_are_drawn() -> None:
    spans = [span(n, 0, "chat m", float(n), n + 0.5, trace=f"{n:032x}") for n in range(1, TRACES + 4)]
    first, *lines = [text.plain for text in waterfalls(spans, 99.0, 100)]
    assert first.startswith("3 older traces are left out")
    assert len([line for line in lines if line.startswith("trace ")]) == TRACES


def recording(directory: Path) -> Path:
    """One that ends while a call is open."""

    def told(number: int, parent: int, name: str, start_s: float) -> dict[str, Any]:
        attributes = {"gen_ai.agent.id": "desk", "observe.pid": 4}
        return {
            "trace": "ab" * 16, "span": number, "parent": parent, "name": name, "start_ns": int(start_s * 1e9),
            "attributes": attributes, "state": "", "flags": 1, "kind": 0, "scope": "observe",
        }  # fmt: skip

    meta = {"node": "shop", "host": "here", "incarnation": "i1", "pid": 5}
    heard = {"n": 1, "at": AT + 1.0, "kind": "handled", "pid": 4, "name": "desk", "class": "Desk", "took_s": 0.5, "message": {"text": "'lamps'"}}  # fmt: skip
    frames: list[dict[str, Any]] = [
        {"t": "spans", "seq": 1, "opened": [told(1, 0, "invoke_agent Desk", AT), told(2, 1, "chat m", AT + 0.5), told(3, 1, "execute_tool shelf", AT)], "ended": [], "resource": {}},
        {"t": "trace", "seq": 2, "session": 1, "events": [heard]},
        {"t": "spans", "seq": 3, "opened": [], "ended": [[3, (AT + 1) * 10**9, 2], [3, 0, 0]]},
    ]  # fmt: skip
    records = [pack(META, encode(meta), AT * 10**6, 1)]
    records += [
        pack(FRAME, encode(frame), (AT + n) * 10**6, n + 1) for n, frame in enumerate(frames, start=1)
    ]
    path = directory / f"shop~1{SUFFIX}"
    path.write_bytes(MAGIC + b"".join(records))
    return path


def test_a_recording_is_shown_by_the_command_that_shows_traces(tmp_path: Path) -> None:
    path = recording(tmp_path)
    run = CliRunner()
    shown = run.invoke(main, ["trace", "show", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("trace ")] == [f"trace {'ab' * 16}"]
    assert any("chat m" in line and "▶" in line for line in lines)
    assert any("execute_tool shelf" in line and "error" in line for line in lines)
    assert any("desk  'lamps'" in line for line in lines)
    chart = run.invoke(main, ["trace", "show", str(path), "--format", "mermaid"])
    assert "sequenceDiagram" in chart.output
    none = run.invoke(main, ["trace", "show", str(path), "--trace", "ff"])
    assert "No span was open for half a second" in none.output
    empty = run.invoke(main, ["trace", "show", str(tmp_path / "nothing.obsrec")])
    assert empty.exit_code != 0
    assert "holds no recording" in empty.output
