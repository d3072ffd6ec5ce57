"""The tree: who is in trouble far below is seen at once, and a filter keeps those above whom it finds."""

from __future__ import annotations

from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode


def two_levels_deep() -> FakeNode:
    """root #1, sessions #2, and below it session-4 #7, who supervises session-7 #10 to session-9 #12."""
    node = FakeNode(number=40)
    for pid in (10, 11, 12):
        node.set(pid, supervisor=7)
    return node


def lines(driver: Driver) -> list[str]:
    return [line.text for line in driver.app.pages["tree"].query_one("LineView").lines]  # type: ignore[attr-defined]  # by its name


async def test_the_tree_opens_where_somebody_is_in_trouble() -> None:
    """At 3 a.m. nobody unfolds sixty supervisors to find the one child that crashes; and it folds when that is over."""
    node = two_levels_deep()
    new = node.restarted(11)
    node.set(12, activity="tool:search", activity_s=90.0)
    async with console(node, screen="tree") as driver:
        await driver.until(lambda: any(f"session-8 #{new}" in line for line in lines(driver)))
        assert "▲ 2 in trouble" in driver.line("root #1")
        assert "▲ 2 in trouble" in driver.line("session-4 #7")
        assert "▲ stuck" in driver.line("session-9 #12")
        node.set(12, activity=None, activity_s=0.0)
        node.set(new, age_s=100.0)
        driver.app.attachment.findings.wake()
        await driver.until(lambda: not driver.shows("in trouble"))
        assert not any("session-8" in line for line in lines(driver))


async def test_all_whom_a_finding_is_about_are_marked_not_the_worst_alone() -> None:
    node = two_levels_deep()
    for pid, waits_s in ((10, 70.0), (12, 90.0)):
        node.set(pid, activity="tool:search", activity_s=waits_s)
    async with console(node, screen="tree") as driver:
        await driver.until(lambda: driver.shows("session-9 #12"))
        assert "▲ stuck" in driver.line("session-7 #10")
        assert "▲ stuck" in driver.line("session-9 #12")
        assert "▲ 2 in trouble" in driver.line("session-4 #7")
        assert "▲ 2 in trouble" in driver.line("root #1")


async def test_many_in_trouble_are_shown_where_the_screen_has_room_for_them() -> None:
    """More than ten unfold as well when all of them fit, which on a screen of 24 lines they do not."""

    def twelve_in_trouble() -> FakeNode:
        node = FakeNode(number=40)
        for pid in range(28, 43):
            node.set(pid, supervisor=7)
        for pid in range(28, 40):
            node.restarted(pid)
        return node

    async with console(twelve_in_trouble(), screen="tree", size=(200, 60)) as driver:
        await driver.until(lambda: driver.shows("12 in trouble below"))
        await driver.until(lambda: driver.shows("session-39 #42"))
        await driver.press("down", "down", "left")
        await driver.until(lambda: not driver.shows("session-39 #42"))
    async with console(twelve_in_trouble(), screen="tree") as driver:
        await driver.until(lambda: driver.shows("12 in trouble"))
        await driver.settle()
        assert not driver.shows("session-39 #42")


async def test_a_filter_of_the_tree_keeps_those_above() -> None:
    """Who it is, and whose child; Escape brings the whole tree back, with the cursor on whom one has found."""
    async with console(two_levels_deep(), screen="tree") as driver:
        await driver.until(lambda: driver.shows("session-4 #7"))
        await driver.press("slash", *"session-8")
        await driver.until(lambda: driver.shows("1 match session-8"))
        await driver.until(lambda: driver.shows("session-8 #11"))
        shown = lines(driver)
        assert [" ".join(line.split()[1:3]) for line in shown] == [
            "root #1",
            "sessions #2",
            "session-4 #7",
            "session-8 #11",
        ]
        await driver.press("enter", "end", "enter")
        await driver.until(lambda: driver.app.history.current.page == "detail")
        await driver.press("escape")
        await driver.until(lambda: driver.shows("1 match session-8"))
        await driver.press("slash", "x")
        await driver.until(lambda: driver.shows("no agent matches"))
        await driver.press("backspace", *"> <")  # which cannot be read, and changes nothing
        await driver.press(*["backspace"] * 3)
        await driver.until(lambda: driver.shows("1 match session-8,"))
        await driver.press("escape")
        await driver.until(lambda: driver.shows("supervision tree  42 lines"))
        tree = driver.app.pages["tree"]
        await driver.until(lambda: list(tree.targets()) == [11])
