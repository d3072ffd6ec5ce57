"""How an agent stands, as lines without a terminal: what a person must not miss, and not by colour alone."""

from __future__ import annotations

import pytest

from observe.console.detail_lines import LOCALS, section_lines
from observe.console.lines import Folds, Line
from observe.console.standing_lines import (
    budget_lines,
    limit_pieces,
    past_lines,
    recovery_lines,
    span,
    tie_lines,
)
from observe.probe.wire_agent import Crash, CrashFrame, Detail
from observe.probe.wire_standing import (
    CheckpointLine,
    LadderLine,
    LimitLine,
    PastActivity,
    RungLine,
    TieLines,
)
from tests.console.fake_facts import value
from tests.console.fake_standing import standing_of

ROW = {"pid": 12, "name": "session-1", "class": "Session", "supervisor": 2}


def detail() -> Detail:
    return Detail(agent=ROW, **standing_of(ROW))


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def test_a_limit_has_a_bar_a_share_and_a_sign_when_it_is_nearly_used_up() -> None:
    """Colour-blind eyes must see it as well."""
    [title, own, tools, wall, cost, tree, above] = texts(budget_lines(detail(), Folds(), 100, 0.0))
    assert title.endswith("✕ used up")
    assert (own, tree) == (
        "its own  at a limit: exit",
        "the whole tree under sessions #2 (Supervisor)  at a limit: suspended",
    )
    assert "36 of 40  90%  ▲" in tools
    assert "1m15s of 10m00s  12%" in wall.replace("12.5%", "12%").replace("13%", "12%")
    assert "0.0613, no limit" in cost
    assert "12.5 of 12  104%  ✕" in above


@pytest.mark.parametrize(("used", "filled"), [(0.0, 0), (0.001, 1), (0.5, 8), (3.0, 16)])
def test_a_bar_is_as_long_as_what_was_used(used: float, filled: int) -> None:
    """Little is not nothing, and more than all is a full bar."""
    bar = limit_pieces(LimitLine(name="tokens", used=used, allowed=1.0))[1][0]
    assert (len(bar), len(bar.strip())) == (16, filled)


def test_the_next_rung_stands_out_and_the_end_of_a_ladder_is_said() -> None:
    lines = texts(recovery_lines(detail(), Folds(), 100, 0.0))
    assert [line[0] for line in lines[1:4]] == ["✓", "→", "·"]
    assert "Restore" in lines[2]
    assert lines[4].startswith("Retry x2 was taken 12s ago")
    assert lines[5].startswith("checkpoint  #17 42s ago, 1.2K  changed since")
    at_end = LadderLine(rungs=[RungLine(rung="Retry")], failures=1, next=1, taken="Retry", taken_s=1.0)
    lines = texts(recovery_lines(Detail(agent=ROW, ladder=at_end), Folds(), 100, 0.0))
    assert "supervisor ends" in lines[2]


def test_a_checkpoint_that_failed_says_so() -> None:
    failed = CheckpointLine(policy="each_message", generation=2, age_s=1.0, size=10, fault="disk full")
    assert (
        "not on record: disk full"
        in texts(recovery_lines(Detail(agent=ROW, checkpoint=failed), Folds(), 100, 0))[-1]
    )
    none = CheckpointLine(policy="each_message")
    assert "none yet" in texts(recovery_lines(Detail(agent=ROW, checkpoint=none), Folds(), 100, 0))[-1]


def test_past_activities_stand_in_one_window_that_ends_now() -> None:
    """Two that ran at one time stand above each other; what failed says why."""
    lines = texts(past_lines(detail(), Folds(), 100, 0.0))
    assert lines[0] == "Past activities  3 in the 1m15s since somebody looked"
    assert "1,830" in lines[2] or "1.8k tokens" in lines[2]
    assert lines[3].endswith("✕ TimeoutError: 20 s")
    assert texts(past_lines(Detail(agent=ROW), Folds(), 100, 0.0)) == []
    assert "none in" in texts(past_lines(Detail(agent=ROW, past_for_s=3.0), Folds(), 100, 0.0))[0]


@pytest.mark.parametrize(
    ("ended_s", "took_s", "expected"),
    [
        (0.0, 10.0, "━━━━━━━━━━"),
        (5.0, 5.0, "━━━━━·····"),
        (0.0, 0.0, "·········━"),
        (10.0, 0.0, "━·········"),
    ],
)
def test_a_span_has_its_place_in_the_window(ended_s: float, took_s: float, expected: str) -> None:
    assert span(PastActivity(name="x", pid=1, ended_s=ended_s, took_s=took_s), 10.0, 10) == expected


def test_ties_lead_to_the_agents_at_their_other_ends() -> None:
    lines = tie_lines(detail(), Folds(), 100, 0.0)
    assert lines[0].text == "Links, monitors, groups  1 link, 2 groups, 1 timer, monitored by 1"
    assert [(line.text, line.pid) for line in lines[1:3]] == [
        ("linked to     cart #3 (Cart)", 3), ("monitored by  #4 (Janitor)", 4)
    ]  # fmt: skip
    assert lines[3].text == "groups  region:eu, vip x2"
    assert texts(tie_lines(Detail(agent=ROW, ties=TieLines()), Folds(), 100, 0.0)) == [
        "Links, monitors, groups  none"
    ]


def test_the_variables_of_a_crash_are_shown_when_their_line_is_unfolded() -> None:
    """And asked for only then: until they have come, the line says so."""
    crash = Crash(
        at=1.0, pid=9, class_name="Session", child="s", supervisor=2, reason="ValueError: no", kind="ValueError",
        traceback="Traceback", fingerprint="f",
    )  # fmt: skip
    folds = Folds()
    content = Detail(agent=ROW, last_crash=crash)
    shown = texts(section_lines(content, ("crash",), folds, 100, 1.0))
    assert shown[-1].startswith("local variables")
    folds.set(LOCALS, True)
    assert texts(section_lines(content, ("crash",), folds, 100, 1.0))[-1] == "asking for them …"
    content.crash_locals = [
        CrashFrame(file="shop.py", line=7, function="Session.handle", values=value({"order": 17}))
    ]
    shown = texts(section_lines(content, ("crash",), folds, 100, 1.0))
    assert shown[-2] == "Session.handle  shop.py:7"
    assert "order" in shown[-1]
    assert "17" in shown[-1]
