"""The page of the audit log: the newest records, one in full, and whether all of it is proven."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from observe.console.audit_filter import parse
from observe.console.audit_tail import KEPT, Tail, read
from observe.console.pages.audit import AuditPage
from observe.probe.wire_audit import AuditHead
from tests.console.driving import Driver, console
from tests.console.fake_audit import audit_line, some_records
from tests.console.fake_node import FakeNode


async def opened(driver: Driver) -> AuditPage:
    await driver.press("apostrophe")
    await driver.until(lambda: driver.shows("▲ denied     bob") and driver.shows("record 6"))
    page = driver.app.pages["audit"]
    assert isinstance(page, AuditPage)
    return page


def written(directory: Path) -> list[str]:
    (path,) = directory.glob("audit-shop-*.jsonl")
    return path.read_text().splitlines()


async def test_the_newest_records_are_listed_with_the_chosen_one_in_full() -> None:
    """Who, what, whom, why, and what became of it; from a record to the other one of its command."""
    async with console(FakeNode(role="viewer")) as driver:
        page = await opened(driver)
        assert page.chosen is not None
        assert page.chosen.seq == 6
        await driver.press("down")
        await driver.until(lambda: driver.shows("record 5"))
        assert driver.shows("why              stuck since 03:10")
        assert "step: 3 → 4" in driver.line("diff  ")
        await driver.press("enter", "end")
        await driver.until(lambda: driver.shows("record 4, 1.0s before"))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("record 4  "))
        assert page.view.has_focus
        await driver.press("enter", "escape")
        assert page.view.has_focus


async def test_what_is_added_appears_and_who_reads_an_older_one_is_not_moved() -> None:
    async with console() as driver:
        page = await opened(driver)
        await driver.press("down")
        driver.node.audit.append(audit_line(7, "requested", "gc"))
        page.poller.wake()
        await driver.until(lambda: driver.shows("gc"))
        assert page.chosen is not None
        assert page.chosen.seq == 5
        await driver.press("S")
        assert [page.view.lines[0].key, page.view.lines[-1].key] == ["record/1", "record/7"]
        driver.node.audit.append(audit_line(8, "completed", "gc"))
        page.poller.wake()
        await driver.until(lambda: page.chosen is not None and page.chosen.seq == 8)


async def test_a_filter_narrows_as_one_types_and_escape_clears_it() -> None:
    """Also while a time in it is half typed."""
    async with console() as driver:
        await opened(driver)
        await driver.press("slash", *"who=ann what=kill -outcome=requested since=")
        await driver.until(lambda: driver.shows("1 of the newest 6 records match who=ann"))
        await driver.press(*"2x")
        await driver.until(lambda: driver.shows("'2x' is no time"))
        await driver.press("enter", "escape")
        await driver.until(lambda: driver.shows("the newest 6 records"))
        assert driver.app.page.page_name == "audit"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("who=ann,bob -what=control", [1, 4, 5, 6]),
        ("who=fedc", [6]),
        ("who=viewer phase=denied", [6]),
        ("on=session", [4, 5]),
        ("on=7", [4, 5]),
        ("outcome=completed,denied", [3, 5, 6]),
        ("PRICES", [6]),
        ("-stuck", [1, 6]),
        ("since=5s", [5, 6]),
        ("until=2023-11-14T22:11:43", [1, 2, 3]),
        ("x=1", []),
    ],
)
def test_the_filter_knows_who_what_on_whom_outcome_and_time(text: str, found: list[int]) -> None:
    wanted = parse(text, 1_699_999_910.0)
    assert [one.record.seq for one in read(some_records()) if wanted.has(one.record, one.line)] == found


async def test_of_a_long_log_it_is_looked_further_back_when_asked_for() -> None:
    """Only the end is read unasked; what was removed is no record, and what is found stays found while the log grows."""
    node = FakeNode()
    node.audit[1:] = [
        audit_line(n, "completed", "gc" if n % 1000 else "kill", command_id=str(n)) for n in range(2, 6001)
    ]
    node.audit_first = 1001
    async with console(node) as driver:
        await driver.press("apostrophe")
        await driver.until(lambda: driver.shows("of 6,000: r looks further back"))
        page = driver.app.pages["audit"]
        assert isinstance(page, AuditPage)
        assert driver.shows("not proven here yet: p proves it")
        await driver.press("slash", *"what=kill", "enter")
        await driver.until(lambda: driver.shows("2 of the newest 2,000 records"))
        await driver.press("r")
        await driver.until(lambda: driver.shows("3 records found, back to record 1,001"))
        assert [entry.record.seq for entry in page._found] == [6000, 5000, 4000, 3000, 2000]
        await driver.press("r")
        await driver.until(lambda: driver.shows("there are no records before these"))
        assert min(asked[0] for verb, asked in node.requests if verb == "audit") == 1001


async def test_the_agent_of_a_record_is_a_key_away() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("o")
        await driver.until(lambda: driver.shows("this record is about no agent"))
        await driver.press("down", "o")
        await driver.until(lambda: driver.shows("session-4 #7"))
        assert driver.app.page.page_name == "detail"


async def test_a_log_that_nobody_signed_and_one_that_cannot_be_written_say_so_first() -> None:
    """Then every command is refused; somebody must know why."""
    node = FakeNode()
    async with console(node) as driver:
        page = await opened(driver)
        await driver.until(lambda: driver.shows("✕ UNSIGNED: no checkpoint covers"))
        page.report = None
        await driver.press("p")
        await driver.until(lambda: page.report is not None)
        node.audit_problem = "no space left on the device"
        page.poller.wake()
        await driver.until(lambda: driver.shows("NOTHING CAN BE WRITTEN: no space left on the device"))


async def test_records_are_copied_saved_and_exported_as_they_stand_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with console() as driver:
        page = await opened(driver)
        await driver.press("y")
        assert json.loads(driver.app.clipboard)["seq"] == 6
        await driver.press("s")
        await driver.until(lambda: driver.shows("Write 6 records into a file"))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("bytes written to"))
        assert written(tmp_path) == driver.node.audit
        columns, rows = page.listed()
        assert [row[columns.index("record")] for row in rows] == [6, 5, 4, 3, 2, 1]


def test_of_a_long_log_the_end_is_kept_and_a_shorter_one_is_read_anew() -> None:
    tail = Tail()
    head = AuditHead(size=10_000, first=1)
    assert tail.start(head) == 10_000 - KEPT + 1
    tail.take([audit_line(number, "requested", "kill") for number in range(8001, 10_001)] + ["no record"])
    assert (len(tail.kept), tail.last, tail.start(head)) == (KEPT, 10_000, 10_001)
    assert tail.start(AuditHead(size=3, first=1)) == 1
    assert not tail.kept
