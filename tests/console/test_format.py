"""Numbers, times and text as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from observe.console import format as shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (-1, "0"),
        (0.000_085, "85µs"),
        (0.0021, "2.1ms"),
        (0.5, "500ms"),
        (4.23, "4.2s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (187, "3m07s"),
        (7500, "2h05m"),
        (273_600, "3d04h"),
        (35_600_000, "412d"),
    ],
)
def test_durations_say_as_much_as_matters(seconds: float, text: str) -> None:
    """Nobody reads milliseconds behind hours."""
    assert shown.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.7, "1.0k"),
        (1200, "1.2k"),
        (99_960, "100k"),
        (123_456, "123k"),
        (2.5e6, "2.5M"),
    ],
)
def test_short_counts_fit_into_a_narrow_column(number: float, text: str) -> None:
    """A column of counts must not move when one of them grows."""
    assert shown.short_count(number) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1536, "1.5K"), (412 * 2**20, "412M"), (3.25 * 2**30, "3.2G")],
)
def test_sizes_are_binary(size: float, text: str) -> None:
    """As top and ps show them."""
    assert shown.size(size) == text


def test_little_is_not_nothing() -> None:
    """One crash an hour, one message in a minute, a load of a thousandth: each is told apart from none."""
    assert shown.rate(0) == "0"
    assert shown.rate(0.01) == "<0.1"
    assert shown.percent(0) == "0%"
    assert shown.percent(0.0001) == "<0.1%"
    assert shown.bar(0, 4).strip() == ""
    assert shown.bar(0.001, 4).strip() != ""
    assert shown.spark([0, 0.001, 100], 3)[0] == " "
    assert shown.spark([0, 0.001, 100], 3)[1] != " "


@given(st.floats(min_value=0, max_value=1e9))
def test_numbers_keep_to_their_width(number: float) -> None:
    """Each formatter says how wide it gets; columns rely on it."""
    assert len(shown.duration(number)) <= 6
    assert len(shown.short_count(number)) <= 6
    assert len(shown.rate(number)) <= 6
    assert len(shown.size(number)) <= 6


@given(st.text(max_size=60), st.integers(min_value=0, max_value=40))
def test_padded_text_has_exactly_its_width(text: str, width: int) -> None:
    """Names may be in any script: a column that a wide letter can shift is no column."""
    clean = shown.one_line(text)
    assert cell_len(shown.pad(clean, width)) == width
    assert cell_len(shown.pad(clean, width, right=True)) == width
    assert cell_len(shown.clip_middle(clean, max(width, 1))) <= max(width, 1)


def test_text_from_agents_cannot_move_the_cursor() -> None:
    """A name or an exception's text is a stranger's: escape sequences and line breaks are shown, not obeyed."""
    assert shown.one_line("a\nb\x1b[31mc\td") == "a⏎b�[31mc d"


def test_a_spark_shows_the_newest_values_to_the_right() -> None:
    """What happens now is where the eye is."""
    assert shown.spark([9, 9, 0, 4, 8], 3) == " ▄█"
    assert shown.spark([8], 3) == "  █"
    assert shown.spark([], 3) == "   "


def test_a_tall_spark_continues_on_the_line_above() -> None:
    """Twice the lines, twice the steps."""
    assert shown.spark_lines([1, 2, 3, 4], 4, 2) == ["  ▄█", "▄███"]


def test_a_relative_spark_shows_movement_of_a_large_number() -> None:
    """Memory that creeps up by a percent would be a solid block from zero."""
    [line] = shown.spark_lines([1000, 1000, 1049], 3, 1, relative=True)
    assert line[0] == line[1] == "▁"
    assert line[2] >= "▇"


def test_ages_and_counts_read_as_phrases() -> None:
    """They stand in sentences."""
    assert shown.ago(0.2) == "just now"
    assert shown.ago(187) == "3m07s ago"
    assert shown.plural(1, "crash", "crashes") == "1 crash"
    assert shown.plural(1024, "agent") == "1,024 agents"
    assert shown.clock(1_700_000_000) == "22:13:20"
    assert shown.timestamp(1_700_000_000) == "2023-11-14 22:13:20"


def test_memory_that_is_not_known_is_not_zero() -> None:
    """A process that is gone takes none, and that is no figure of it."""
    assert shown.memory(0) == "-"
    assert shown.memory(412 * 2**20) == "412M"
