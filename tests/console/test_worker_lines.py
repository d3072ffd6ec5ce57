"""The worker processes as lines: of the command line and of the overview."""

from __future__ import annotations

from typing import Any

from observe.console.lines import Folds
from observe.console.worker_lines import SHOWN, table, worker_lines


def worker(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "number": number, "os_pid": 4000 + number, "isolated": False, "agents": 3, "handled": 17_000,
        "waiting_bytes": 0, "memory": 40 * 2**20, "cpu": 0.25, "limits": "", "started_at": 1.0, "held": None,
    } | facts  # fmt: skip


HELD = {"pid": 17, "name": "session-3", "class": "Session", "since_s": 12.3, "where": "python"}


def test_a_line_has_the_process_what_it_uses_and_its_limits() -> None:
    heading, first, second = table([worker(1), worker(2, isolated=True, limits="memory 1,024 MiB", os_pid=0)])
    assert heading.split() == [
        "worker",
        "kind",
        "process",
        "agents",
        "handled",
        "memory",
        "cpu",
        "unread",
        "limits",
    ]
    assert first.split()[:4] == ["1", "shared", "4001", "3"]
    assert second.split()[:3] == ["2", "own", "starting"]
    assert second.endswith("memory 1,024 MiB")


def test_a_worker_that_is_held_says_by_whom_and_comes_first() -> None:
    lines = worker_lines([worker(1, cpu=0.9), worker(2, cpu=0.1, held=HELD)], Folds(), 200)
    assert "2, 80.0M, 100% of a core" in lines[0].text
    assert "held by session-3 #17 for 12s, in python code" in lines[2].text
    assert lines[2].pieces[0][1] == "bad"


def test_without_workers_there_is_no_section_and_with_many_the_busiest_are_shown() -> None:
    assert worker_lines([], Folds(), 80) == []
    lines = worker_lines([worker(number) for number in range(1, 21)], Folds(), 80)
    assert len(lines) == SHOWN + 3
    assert "12 more processes" in lines[-1].text
