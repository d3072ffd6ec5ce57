"""Values, stacks, trees and crashes as lines that fold, without a terminal."""

from __future__ import annotations

import pytest

from observe.console.crash_groups import crash_at, group, group_lines
from observe.console.detail_lines import SECTIONS, section_lines, title_pieces
from observe.console.lines import Folds, Line, stack_lines, traceback_lines, value_lines, wrap
from observe.console.tree_lines import FLASH_S, Restarts, tree_lines, unfetched
from observe.probe.wire_agent import Branch, Crash, Detail, Stack, Value
from observe.probe.wire_base import Frame
from tests.console.fake_facts import AT, value
from tests.console.fake_node import FakeNode


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def test_a_container_unfolds_into_its_parts() -> None:
    """One looks into the state, not at its repr."""
    folds = Folds()
    content = value({"a": 1, "b": [2, 3]})
    assert len(value_lines("k", "x", content, folds, 0, 80)) == 1
    folds.set("k", True)
    lines = value_lines("k", "x", content, folds, 0, 80)
    assert [line.depth for line in lines] == [0, 1, 1]
    assert lines[2].open is False
    assert len({line.key for line in lines}) == 3


def test_what_is_unfolded_stays_so_when_the_values_change() -> None:
    """The page is refreshed twice a second while one reads."""
    folds = Folds()
    folds.set("k", True)
    before = value_lines("k", "x", value({"a": 1, "b": [2, 3]}), folds, 0, 80)
    folds.set(before[2].key, True)
    after = value_lines("k", "x", value({"a": 2, "b": [2, 3, 4]}), folds, 0, 80)
    assert len(after) == 6


def test_a_secret_is_shown_as_masked_and_a_failing_repr_as_failing() -> None:
    """Neither is a value, and neither must look like one."""
    [masked] = value_lines("k", "api_key", Value(type="str", text="", masked=True), Folds(), 0, 80)
    assert "masked" in masked.text
    [broken] = value_lines("k", "x", Value(type="Odd", text="", error="ValueError: no"), Folds(), 0, 80)
    assert "repr failed: ValueError: no" in broken.text


def test_a_long_text_unfolds_into_wrapped_lines() -> None:
    """Prompts are long, and one must be able to read them."""
    long = Value(type="str", text=repr("word " * 60 + "\nlast"))
    folds = Folds()
    [short] = value_lines("k", "prompt", long, folds, 0, 60)
    assert short.open is False
    folds.set("k", True)
    lines = value_lines("k", "prompt", long, folds, 0, 60)
    assert len(lines) > 5
    assert all(len(line.text) <= 60 for line in lines)
    assert "last" in lines[-1].text


def test_what_was_left_out_is_counted() -> None:
    """A list of a million must not look like a list of a hundred."""
    content = Value(type="list", text="[…]", size=1000, items=[("0", value(1))], more=999)
    folds = Folds()
    folds.set("k", True)
    assert "999 more" in value_lines("k", "x", content, folds, 0, 80)[-1].text


@pytest.mark.parametrize("width", [10, 33, 80])
def test_wrapping_loses_nothing(width: int) -> None:
    """Also not the spaces at which it breaks."""
    text = "the quick brown fox jumps over the lazy dog " * 5
    assert "".join(wrap(text, width)) == text
    assert all(len(part) <= width for part in wrap(text, width))


def test_a_stack_says_what_is_waited_for() -> None:
    """Of a waiting agent that is the question."""
    stack = Stack(
        pid=1, status="waiting", waiting_on="Future pending",
        frames=[Frame(file="/a/b/c/d/e.py", line=3, function="handle", source="await x()")],
    )  # fmt: skip
    lines = texts(stack_lines("s", stack, 0))
    assert lines[0] == "waits for  Future pending"
    assert lines[1].startswith("handle")
    assert "e.py:3" in lines[1]
    assert lines[2] == "await x()"


def test_an_idle_agent_has_no_stack_and_the_page_says_why() -> None:
    """An empty section would look like a fault of ours."""
    [line] = stack_lines("s", Stack(pid=1, status="idle", frames=[]), 0)
    assert "between messages" in line.text


def test_the_last_line_of_a_traceback_is_loud() -> None:
    """It is the one that is read first."""
    lines = traceback_lines(
        "t", 'Traceback (most recent call last):\n  File "x", line 1\nValueError: no', 0, 80
    )
    assert lines[-1].pieces[0] == ("ValueError: no", "bad")


async def detail(pid: int, **changes: object) -> tuple[FakeNode, Detail]:
    node = FakeNode(number=20)
    node.set(pid, **changes)
    return node, await node.inspect(pid)


async def test_a_page_of_an_agent_has_all_its_sections() -> None:
    """Each question that one has about an agent has its place."""
    node, content = await detail(10, mailbox=30, status="waiting", activity="tool:search", activity_s=41.0)
    lines = section_lines(content, SECTIONS, Folds(), 80, AT)
    titles = [line.pieces[0][0] for line in lines if line.heading]
    assert titles == [
        "Now", "Stack", "State", "Mailbox", "Last crash", "Past activities", "Budget", "Ladder and checkpoint",
        "Supervision", "Links, monitors, groups",
    ]  # fmt: skip
    assert any(line.text == "▲ tool calls of its budget: 90% used" for line in lines)
    assert any(line.text == "▲ 2 failures in a row; at the next one: Restore" for line in lines)
    shown = "\n".join(texts(lines))
    assert "tool:search  for 41s  query=lamp" in shown
    assert "… 10 more" in shown
    assert "sessions #2 (Supervisor)" in shown
    assert "permanent" in shown
    assert len({line.key for line in lines}) == len(lines)
    assert node.requests


async def test_a_section_that_was_folded_stays_folded() -> None:
    """Whoever reads the stack has put the rest away."""
    _, content = await detail(10)
    folds = Folds()
    folds.set("state", False)
    lines = section_lines(content, ("state",), folds, 80, AT)
    assert len(lines) == 1


async def test_a_crash_is_told_where_one_looks_first() -> None:
    """In the first section, with its age; the traceback further down."""
    node = FakeNode(number=20)
    new = node.restarted(10)
    node.crashed(10, "ValueError: no JSON", restarted=new)
    content = await node.inspect(new)
    lines = section_lines(content, SECTIONS, Folds(), 80, AT)
    shown = texts(lines)
    assert any("crashed 5.0s ago: ValueError: no JSON" in text for text in shown[:5])
    assert any("json.loads(text)" in text for text in shown)


async def test_the_headline_fits_its_width() -> None:
    """At 80 cells the last counters give way."""
    _, content = await detail(10)
    for width in (60, 78, 198):
        first, second = title_pieces(content, width, False)
        assert sum(len(text) for text, _ in first) <= width
        assert sum(len(text) for text, _ in second) <= width + 2


async def tree(node: FakeNode, depth: int = 3, most: int = 50) -> Branch:
    return await node.tree(None, depth, most)


async def test_in_the_tree_the_unhealthy_come_first() -> None:
    """Four hundred siblings, one sick: it must not be on the eighth page."""
    node = FakeNode(number=30)
    node.restarted(20)
    lines = tree_lines(await tree(node), {}, Folds())
    assert lines[2].text.find("session-17") > 0
    assert "1 crash" in lines[2].text


async def test_the_tree_tells_how_much_of_an_intensity_is_used_up() -> None:
    """One restart more than it allows, and everything below goes: in words, not by colour alone."""
    node = FakeNode(number=5)
    node.restarts_within = 60
    assert "one_for_one ███▋   60 of 100 restarts in 10s" in tree_lines(await tree(node), {}, Folds())[1].text
    node.restarts_within = 100
    assert (
        "100 of 100 restarts in 10s: one more and it gives up"
        in tree_lines(await tree(node), {}, Folds())[1].text
    )
    node.restarts_within = 0
    assert "one_for_one 100 in 10s" in tree_lines(await tree(node), {}, Folds())[1].text


async def test_a_restart_stands_out_in_the_tree_for_some_seconds() -> None:
    """Numbers that grow are not seen; what was there at the first look is no news."""
    node, restarts = FakeNode(number=5), Restarts()
    node.restarted(3)
    restarts.look(await tree(node), {}, 10.0)
    assert restarts.fresh == frozenset()
    node.restarted(4)
    after = await tree(node)
    restarts.look(after, {}, 11.0)
    lines = [line.text for line in tree_lines(after, {}, Folds(), fresh=restarts.fresh)]
    assert [("↻ 1 restart just now" in line) for line in lines if "restart" in line and "one_for" not in line] == [
        False, True
    ]  # fmt: skip
    restarts.look(after, {}, 11.0 + FLASH_S)
    assert restarts.fresh == frozenset()


async def test_a_supervisor_counts_its_children_by_status() -> None:
    """That is the state of four hundred agents in one line."""
    lines = tree_lines(await tree(FakeNode(number=30)), {}, Folds())
    assert "30: " in lines[1].text
    assert "idle" in lines[1].text


async def test_children_that_did_not_come_along_are_counted_and_asked_for() -> None:
    """A tree of a million is not sent at once, and does not look complete either."""
    node = FakeNode(number=300)
    shallow = await tree(node, depth=1)
    assert unfetched(shallow, {}, Folds()) == [2]
    grafts = {2: await node.tree(2, 1, 50)}
    lines = tree_lines(shallow, grafts, Folds())
    assert len(lines) == 2 + 50 + 1
    assert "250 more" in lines[-1].text


async def test_a_folded_branch_asks_for_nothing() -> None:
    """What is not shown is not fetched."""
    shallow = await tree(FakeNode(number=300), depth=1)
    folds = Folds()
    folds.set("tree/1/sessions", False)
    assert unfetched(shallow, {}, folds) == []
    assert len(tree_lines(shallow, {}, folds)) == 2


def crashes() -> list[Crash]:
    node = FakeNode(number=20)
    for pid, reason in ((5, "ValueError: x"), (6, "ValueError: x"), (7, "OSError: y"), (5, "ValueError: x")):
        node.crashed(pid, reason)
    return node.crash_list


def test_one_fault_is_one_line_however_often_it_strikes() -> None:
    """Grouped by type and place, the most frequent first."""
    groups = group(crashes())
    assert [(len(item.crashes), item.agents) for item in groups] == [(3, 2), (1, 1)]
    lines = group_lines(groups, Folds(), AT)
    assert len(lines) == 2
    assert "3x" in lines[0].text
    assert "2 agents" in lines[0].text


def test_each_crash_of_a_group_can_be_found_again() -> None:
    """Its line leads to its own traceback, also after newer ones have come."""
    groups = group(crashes())
    folds = Folds()
    folds.set(f"group/{groups[0].fingerprint}", True)
    lines = group_lines(groups, folds, AT)
    assert len(lines) == 5
    oldest = crash_at(groups, lines[3].key)
    assert oldest is groups[0].crashes[2]
    groups[0].crashes.insert(0, groups[0].crashes[0].model_copy(update={"pid": 77}))
    assert crash_at(groups, lines[3].key) is oldest
    assert crash_at(groups, "none") is None
