"""Groups: totals by what agents have in common, and from there to the agents."""

from __future__ import annotations

from observe.console.control import CONTROL_S
from observe.console.group_lines import BY, SORTS, group_lines, heading_pieces
from observe.probe.errors import NodeUnreachable, RemoteError
from observe.probe.wire_console import GroupLine
from tests.console.driving import LARGE, console


async def test_classes_have_totals_and_enter_shows_their_agents() -> None:
    """Which kind of agent is it, before which one."""
    async with console(size=LARGE) as driver:
        await driver.press("b")
        await driver.until(lambda: driver.shows("3 groups by class"))
        assert "400" in driver.line("Session ")
        assert "waiting" in driver.line("Session ")
        await driver.press("enter")
        await driver.until(lambda: driver.shows("400 of 402 agents match class=Session"))


async def test_grouped_by_something_else_and_in_another_order_within_the_filter() -> None:
    """The question goes on where the table left it."""
    async with console() as driver:
        await driver.press("slash", *"waiting", "enter")
        await driver.until(lambda: driver.app.agents_page.table.has_focus)
        await driver.press("b")
        await driver.until(lambda: driver.shows("group by class"))
        await driver.press("o", "S")
        await driver.until(lambda: ("groups", ("supervisor", "waiting", "mailbox")) in driver.node.requests)
        await driver.until(lambda: driver.shows("1 group by supervisor"))
        assert driver.shows("▼mailbox")
        await driver.press("enter")
        await driver.until(lambda: driver.app.table_view.filter == "waiting supervisor=2")


def test_every_width_has_the_sorted_column_and_lines_match_their_heading() -> None:
    """80 columns and 200."""
    group = GroupLine(
        key="Session", filter="class=Session", agents=400, mailbox=2_000_000, handled=10**12, rate=1e6, reductions=10**12,
        load=3.7, restarts=12, crashes=3, by_status={"idle": 300, "waiting": 100},
    )  # fmt: skip
    for width in (40, 76, 120, 196):
        for sort in SORTS:
            heading = "".join(text for text, _ in heading_pieces("class", sort, width))
            [line] = group_lines([group], "class", sort, width)
            assert f"▼{'msg/s' if sort == 'rate' else sort}" in heading
            assert heading.index("status") - 2 <= line.text.index("300") <= heading.index("status") + 2
    assert [by for by in BY if by == "activity"] == ["activity"]


async def test_control_is_recorded_and_without_a_record_there_is_none() -> None:
    """What cannot be written down is not done."""
    async with console(control=False) as driver:
        driver.node.refusals["control"] = RemoteError("refused", "the audit log is full", "make room")
        await driver.press("W", *"why", "enter")
        await driver.until(lambda: driver.shows("control not taken: the audit log is full"))
        assert driver.app.node.only_looks
        del driver.node.refusals["control"]
        await driver.press("W", *"why", "enter")
        await driver.until(lambda: not driver.app.node.only_looks)
        assert ("control", (True, CONTROL_S, "why")) in driver.node.requests
        await driver.press("W")
        await driver.until(lambda: ("control", (False, 0.0, "why")) in driver.node.requests)


async def test_an_older_node_that_does_not_know_of_control_is_no_obstacle() -> None:
    """Each action is on record there as well; a lost node is one."""
    async with console(control=False) as driver:
        driver.node.refusals["control"] = RemoteError("unknown_verb", "there is no verb control")
        await driver.press("W", *"why", "enter")
        await driver.until(lambda: not driver.app.node.only_looks)
        await driver.press("W")
        driver.node.refusals["control"] = NodeUnreachable("gone")  # type: ignore[assignment]  # also an AttachError
        await driver.press("W", *"why", "enter")
        await driver.until(lambda: driver.shows("control not taken: gone"))
