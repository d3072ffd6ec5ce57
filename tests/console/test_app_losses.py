"""Nothing is dropped silently: what was left out stands in the header and on the overview; not known is not zero."""

from __future__ import annotations

from observe.probe.wire_lost import Lost, SpanAccount
from tests.console.driving import LARGE, console
from tests.console.fake_node import FakeNode


def losing() -> FakeNode:
    """Some of everything was left out."""
    node = FakeNode()
    spans = SpanAccount(
        started=1000, open=3, waiting=7, exported=900, dropped={"queue_full": 80, "export_failed": 10}
    )
    node.vital.lost = Lost(telemetry=2, facts=0, consoles=1500, traced=40, records=0, spans=spans)
    return node


async def test_what_was_left_out_is_in_the_header_and_said_one_by_one() -> None:
    async with console(losing(), screen="overview", size=LARGE) as driver:
        await driver.until(lambda: driver.shows("trace sessions"))
        assert "left out 1.6k" in driver.line("observing costs")
        assert "1,632" in driver.line("Left out")
        assert "0 events and pictures" in driver.line("this console")
        assert "1,500 events and pictures" in driver.line("other consoles")
        assert "40 events" in driver.line("trace sessions")
        assert "90 of 1,000 spans: 900 sent, 7 waiting, 3 open" in driver.line("1,000 spans")
        assert "80 the backend is slower" in driver.line("queue_full")


async def test_what_this_console_missed_is_told_apart_from_others() -> None:
    async with console(losing(), screen="overview", size=LARGE) as driver:
        await driver.until(lambda: driver.shows("trace sessions"))
        driver.app.attachment.left_out = 500
        node: FakeNode = driver.node
        node.vitals_watch.push(node.vital)
        await driver.until(lambda: "500 events and pictures" in driver.line("this console"))
        assert "1,000 events and pictures" in driver.line("other consoles")


async def test_a_node_that_does_not_tell_is_not_said_to_have_lost_nothing() -> None:
    async with console(screen="overview", size=LARGE) as driver:
        await driver.until(lambda: driver.shows("Left out"))
        assert "not told by this node" in driver.line("Left out")
        assert "left out" not in driver.line("observing costs")


async def test_a_node_that_lost_nothing_is_said_to_have() -> None:
    node = FakeNode()
    node.vital.lost = Lost(telemetry=0, facts=0, consoles=0, traced=0, records=0)
    async with console(node, screen="overview", size=LARGE) as driver:
        await driver.until(lambda: driver.shows("Left out"))
        assert "nothing" in driver.line("Left out")
        assert "left out" not in driver.line("observing costs")
        assert "not traced" in driver.line("spans")
