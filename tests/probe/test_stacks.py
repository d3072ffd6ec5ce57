"""Stacks from outside: what `faulthandler` has written, read while it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from observe.probe.stacks import last_stack

DUMP = """Thread 0x000000000000000b (most recent call first):
  File "app.py", line 7 in wait_for_end
  File "threading.py", line 982 in run

Current thread 0x000000000000000a (most recent call first):
  File "app.py", line 31 in compute
  File "app.py", line 40 in main
"""


def functions(path: Path, thread: int | None) -> list[str]:
    return [frame.function for frame in last_stack(path, thread)]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "stacks"
    path.write_text(DUMP)
    return path


def test_the_stack_of_the_thread_that_is_meant_is_shown_outermost_first(dump: Path) -> None:
    assert functions(dump, 0xA) == functions(dump, None) == ["main", "compute"]
    assert functions(dump, 0xB) == ["run", "wait_for_end"]


def test_a_dump_that_is_being_written_shows_no_other_thread_and_no_half_a_line(dump: Path) -> None:
    """The thread that counts is often the last of many."""
    for size in range(len(DUMP)):
        dump.write_text(DUMP[:size])
        assert functions(dump, 0xA) in ([], ["compute"])
    dump.write_text(DUMP)
    assert functions(dump, 0xA) == ["main", "compute"]


def test_the_newest_dump_counts(dump: Path) -> None:
    dump.write_text(DUMP + "\n" + DUMP.replace("compute", "sort"))
    assert functions(dump, 0xA) == ["main", "sort"]
