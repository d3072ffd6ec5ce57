"""How it is with the node, in words: its standing, its findings, the verdict."""

from __future__ import annotations

import asyncio

import pytest

from observe.console.columns import NAMES
from observe.console.crash_groups import group
from observe.console.findings import concerning, verdict, worst_first
from observe.console.node_view import NodeView
from observe.console.row_filter import passes
from observe.console.signs import Signs
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire import Held
from tests.console.fake_facts import AT
from tests.console.fake_node import FakeNode


def attached() -> tuple[NodeView, FakeNode]:
    node = FakeNode(number=20)
    view = NodeView("shop")
    view.attached(node.info, "operator", AT)
    view.took_vitals(node.vital, AT)
    return view, node


def test_a_healthy_node_is_up_and_says_since_when() -> None:
    """The first thing one wants to know."""
    view, _ = attached()
    standing = view.standing(AT)
    assert (standing.word, standing.text) == ("UP", "2h05m")
    assert view.verdict().startswith("calm")


def test_before_it_is_attached_it_says_what_it_does() -> None:
    """An empty screen would look broken."""
    assert NodeView("shop").standing(AT).word == "CONNECTING"


def test_a_held_scheduler_names_the_agent_and_its_time_ticks_on() -> None:
    """Also while no new vital signs come."""
    view, node = attached()
    held = Held(pid=9, name="session-6", class_name="Session", since_s=3.0, where="python", stack=[])
    view.took_vitals(node.vital.model_copy(update={"state": "held", "held": held}), AT)
    assert view.standing(AT + 4).text == "by session-6 #9 for 7.0s"
    assert "h opens it" in view.standing(AT).more


def test_c_code_that_keeps_the_gil_is_told_apart() -> None:
    """It cannot be interrupted, and one has to know."""
    view, node = attached()
    held = Held(pid=0, name=None, class_name="", since_s=3.0, where="c", stack=[])
    view.took_vitals(node.vital.model_copy(update={"state": "held", "held": held}), AT)
    assert "code outside any agent" in view.standing(AT).text
    assert "C code" in view.standing(AT).more


def test_a_dead_node_is_dead_also_when_its_probe_has_gone() -> None:
    """LOST would raise hopes."""
    view, node = attached()
    view.took_vitals(node.vital.model_copy(update={"state": "dead"}), AT)
    assert view.standing(AT + 3).word == "DEAD"
    assert "3.0s ago" in view.standing(AT + 3).more
    view.linked("lost", "gone", node.info, AT + 5)
    assert view.standing(AT + 6).word == "DEAD"
    assert "waiting for the node" in view.standing(AT + 6).more
    assert not view.is_fresh


def test_a_lost_connection_counts_from_the_loss_and_not_from_each_attempt() -> None:
    """The client goes back and forth between trying and failing."""
    view, node = attached()
    view.linked("lost", "cable cut", node.info, AT)
    view.linked("connecting", "looking", node.info, AT + 2)
    view.linked("lost", "cable cut", node.info, AT + 4)
    standing = view.standing(AT + 10)
    assert (standing.word, standing.text) == ("LOST", "reconnecting for 10s")
    assert "cable cut" in standing.more


def test_another_incarnation_begins_with_an_empty_past() -> None:
    """The old process's memory is not the new one's."""
    view, node = attached()
    assert not view.linked("up", "", node.info, AT)
    assert view.linked("up", "", node.info.model_copy(update={"incarnation": "two"}), AT)
    assert view.vitals is None
    assert view.signs.seconds() == 0


def test_old_telemetry_is_said_to_be_old() -> None:
    """An up node whose rows do not move may be one whose telemetry has stopped."""
    view, _ = attached()
    assert "last picture" in view.standing(AT + 30).text


def test_clocks_that_differ_do_not_make_a_picture_old() -> None:
    """The node's clock counts for the node's times."""
    node = FakeNode(number=3)
    view = NodeView("shop")
    view.attached(node.info, "viewer", AT - 3600)
    view.took_vitals(node.vital, AT - 3600)
    assert view.picture_age(AT - 3600) == 0.0


def test_it_is_too_early_to_say_at_first() -> None:
    """Two seconds without a crash prove nothing."""
    signs = Signs()
    signs.fold(AT, {"agents": 3.0})
    assert verdict(signs, []) == "too early to say"


def test_findings_come_worst_first_and_lead_to_their_agents() -> None:
    """Each is the node's own sentence, with a filter behind it and an order that fits."""
    node = FakeNode(number=20)
    node.crashed(5, "ValueError: x")
    node.set(7, mailbox=1204)
    signs = Signs()
    signs.fold(AT, {"crashes_min": 2.0})
    told = asyncio.run(node.findings()).findings
    found = worst_first(signs, told, group(node.crash_list))
    assert [(one.check, one.level) for one in found] == [("crashes", "bad"), ("mailbox_grows", "warn")]
    assert "2 crashes in the last minute, most: Session ValueError: x" in found[0].text
    assert (found[1].filter, found[1].sort, found[1].pid) == ("mailbox>=100", "mailbox", 7)
    rows = {row["pid"]: tuple(row[name] for name in NAMES) for row in map(node._row, range(22))}
    assert [pid for pid, row in rows.items() if concerning(row, found)] == [7]
    assert verdict(signs, found) == ""


def test_one_cause_says_why_and_the_bare_count_of_crashes_is_left_out() -> None:
    """Twice the same news is noise."""
    signs = Signs()
    signs.fold(AT, {"crashes_min": 9.0})
    cause = StandingFinding(check="one_cause", text="9 crashes have one cause", advice="", count=9, since=AT)
    assert [one.check for one in worst_first(signs, [cause], [])] == ["one_cause"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("session-3", {6}),
        ("pid=6,7", {6, 7}),
        ("-pid>=7 pid>5", {6}),
        ("name~session-1 -name=session-1", set(range(13, 23))),
        ("status!=idle,waiting,running,runnable", set()),
        ("supervisor=sessions", set()),
        ("mailbox>", set()),
    ],
)
def test_rows_on_the_screen_pass_a_filter_as_they_do_on_the_node(text: str, expected: set[int]) -> None:
    """Marks on rows agree with the table that the filter shows; what cannot be told from a row marks nobody."""
    node = FakeNode(number=20)
    rows = [tuple(node._row(index)[name] for name in NAMES) for index in range(22)]
    assert {row[0] for row in rows if passes(row, text)} == expected
