"""The log of a service: what its process logs is kept, with the agent that wrote it, and read through the probe."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.far_log import EVERY_S
from observe.runtime import Agent, Node, Ref
from observe.runtime.logring import LogRing, keep_event
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Scribe

logger = logging.getLogger("shop.tools")


class Clerk(Agent):
    """Logs what it is told to."""

    async def handle(self, message: Any) -> None:
        if message == "crash":
            try:
                raise ValueError("no lamp")
            except ValueError:
                logger.exception("the search failed")
        elif message == "tomorrow":
            await asyncio.sleep(0)
            logger.info("slept")
        else:
            logger.warning(
                "sold %s", message, extra={"order": 17, "api_key": "sk-verysecretindeed1234567890"}
            )


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch) as path:
        yield path


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.fixture
async def node(runtime: Path) -> AsyncIterator[Node]:
    async with Node("shop") as made, Probe(made, placement="thread", tick_s=0.05):
        yield made


@pytest.fixture
async def client(node: Node) -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=20.0) as attached:
        yield attached


async def test_records_are_read_with_the_agent_that_wrote_them(node: Node, client: NodeClient) -> None:
    """Filtered where they are, and masked before they leave."""
    ref = await node.spawn(Clerk, name="clerk")
    other = await node.spawn(Clerk)
    for message in ("a lamp", "crash", "tomorrow"):
        ref.cast(message)
    other.cast("another")
    await ref.call("the last")
    await other.call("its last")
    logger.debug("nobody's")
    page = await client.log(logger="shop")
    assert [one.text for one in page.records if one.agent == "clerk"] == [
        "sold a lamp", "the search failed", "slept", "sold the last",
    ]  # fmt: skip
    assert f"Clerk {other.pid}" in {one.agent for one in page.records}
    lamp = next(one for one in page.records if one.text == "sold a lamp")
    failed = next(one for one in page.records if one.error)
    assert (lamp.level, lamp.severity, lamp.logger, lamp.fields["order"]) == (
        "WARNING",
        30,
        "shop.tools",
        "17",
    )
    assert "verysecret" not in page.model_dump_json()
    assert lamp.place.endswith(" in handle")
    assert failed.error == "ValueError: no lamp"
    assert failed.traceback.rstrip().endswith("ValueError: no lamp")
    # Filters, each of them.
    assert {one.pid for one in (await client.log(agent="clerk")).records} == {ref.pid}
    assert {one.pid for one in (await client.log(agent=other.pid)).records} == {other.pid}
    assert {one.pid for one in (await client.log(agent="Clerk")).records} == {ref.pid, other.pid}
    assert [one.text for one in (await client.log(text="NO LAMP")).records] == ["the search failed"]
    assert [one.text for one in (await client.log(text="order=17", limit=1)).records] == ["sold its last"]
    assert (await client.log(text="verysecret")).records == []
    errors = await client.log(level="error", logger="shop.tools")
    assert [one.text for one in errors.records] == ["the search failed"]
    assert (await client.log(logger="shop.tool")).records == []
    (nobodys,) = (await client.log(text="nobody's")).records
    assert (nobodys.pid, nobodys.agent, bool(nobodys.task)) == (0, "", True)


async def test_a_reader_goes_on_where_it_stopped(node: Node, client: NodeClient) -> None:
    start = await client.log(limit=1)
    for number in range(5):
        logger.info("record %d", number)
    first = await client.log(after=start.next, logger="shop", limit=3)
    assert ([one.text for one in first.records], first.more) == ([f"record {n}" for n in range(3)], True)
    second = await client.log(after=first.next, logger="shop", limit=3)
    assert ([one.text for one in second.records], second.more) == (["record 3", "record 4"], False)
    assert (await client.log(after=second.next, logger="shop")).records == []
    # Numbers of another start of the service are told from those of this one.
    assert (await client.log(after=10**9, limit=1)).next < 10**9


async def test_what_was_pushed_out_is_counted(runtime: Path) -> None:
    """A reader who is too slow learns what they have missed."""
    async with (
        Node("small") as made,
        Probe(made, placement="thread", log_keep=10, log_level="info"),
        connect("small", timeout_s=20.0) as client,
    ):
        start = (await client.log()).next
        for number in range(25):
            logger.info("record %d", number)
            logger.debug("not kept")
        page = await client.log(after=start)
        ours = [one.text for one in page.records if one.logger == logger.name]
        assert ours[-1] == "record 24"
        assert page.missed >= 15
        assert (page.kept, page.keep, page.missed) == (10, 10, page.total - start - 10)
    async with (
        Node("none") as made,
        Probe(made, placement="thread", log_keep=0),
        connect("none", timeout_s=20.0) as client,
    ):
        logger.info("nobody keeps this")
        page = await client.log()
        assert (page.records, page.keep) == ([], 0)


async def test_records_of_structlog_have_their_fields(node: Node, client: NodeClient) -> None:
    """Through logging in both of its ways, and by a processor where it writes by itself."""
    start = (await client.log(limit=1)).next
    for processor in (
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        structlog.stdlib.render_to_log_kwargs,
    ):
        log = structlog.wrap_logger(
            logging.getLogger("shop.struct"),
            processors=[processor],
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        log.warning("sold", lamp="green")
    printed = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(printed),
        processors=[keep_event, structlog.processors.JSONRenderer(default=str)],
    )
    try:
        raise ValueError("dark")
    except ValueError:
        log.exception("sold", lamp="green")
    assert "green" in printed.getvalue()
    page = await client.log(after=start, text="sold")
    assert [(one.text, one.fields, one.level) for one in page.records] == [
        ("sold", {"lamp": "green"}, "WARNING"),
        ("sold", {"lamp": "green"}, "WARNING"),
        ("sold", {"lamp": "green"}, "ERROR"),
    ]
    assert page.records[-1].error == "ValueError: dark"


async def test_nothing_that_is_logged_can_hurt_the_service(
    node: Node, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts whose arguments do not fit or raise, objects that log when they are written, records of any size."""

    class Chatty:
        def __str__(self) -> str:
            logger.info("from within")
            return "chatty"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    before = await client.log()
    logger.info("one %s too many", "argument", "more")  # noqa: PLE1205  # that is the point
    logger.info("%s", Chatty())
    logger.info("broken", extra={"thing": Broken()})
    logger.info("x" * 100_000, extra={f"field{n}": "y" * 1000 for n in range(100)})
    logger.info("steers \x1b[31mthe\x1b[0m \x07terminal")
    page = await client.log(after=before.next, logger="shop")
    texts = [one.text for one in page.records]
    assert texts[0].startswith("one %s too many")
    assert "chatty" in texts
    assert page.lost > before.lost
    assert len(texts[-2]) <= 2100
    assert len(page.records[-2].fields) == 21
    assert texts[-1].startswith("steers the ")
    assert texts[-1].isprintable()


QUIET = """
import asyncio, logging
from observe.runtime import Node
from observe.runtime.logring import LogRing

async def main():
    async with Node("quiet") as node:
        ring = LogRing(node)
        ring.open()
        logging.getLogger("a").warning("first")
        logging.basicConfig(format="own %(message)s")
        logging.getLogger("a").warning("second")
        lonely = logging.getLogger("b")
        lonely.propagate = False
        lonely.addHandler(logging.NullHandler())
        lonely.warning("third")
        ring.close()
        logging.getLogger("a").warning("fourth")
        print([one.text for one in ring.kept()])

asyncio.run(main())
"""


def test_the_services_own_logging_is_as_it_was() -> None:
    """`basicConfig` after the probe's start works, and without any handler warnings go to stderr, once."""
    done = subprocess.run(
        [sys.executable, "-c", QUIET], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "['first', 'second', 'third']\n"
    assert done.stderr == "first\nown second\nown fourth\n"


async def test_another_library_may_wrap_the_same_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """As error trackers do: in any order, and nobody calls itself."""
    monkeypatch.setattr(logging.Logger, "callHandlers", logging.Logger.callHandlers)
    monkeypatch.setattr("observe.runtime.logring._is_wrapped", False)
    monkeypatch.setattr("observe.runtime.logring._call_handlers", logging.Logger.callHandlers)
    seen: list[str] = []
    async with Node("wrapped") as made:
        for times in (1, 2):
            ring = LogRing(made, 10)
            ring.open()
            inner = logging.Logger.callHandlers

            def theirs(self: logging.Logger, record: logging.LogRecord, inner: Any = inner) -> None:
                seen.append(record.getMessage())
                inner(self, record)

            monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
            logger.info("hello")
            assert [one.text for one in ring.kept()] == ["hello"]
            assert len(seen) == times + (times - 1)
            ring.close()


async def test_an_agent_of_another_node_is_nobody_here() -> None:
    async with Node("one") as one, Node("two") as two:
        rings = [LogRing(one, 10), LogRing(two, 10)]
        for ring in rings:
            ring.open()
        try:
            ref = await two.spawn(Clerk)
            await ref.call("a lamp")
        finally:
            for ring in rings:
                ring.close()
        kept = [[record.pid for record in ring.kept() if record.logger == logger.name] for ring in rings]
        assert kept == [[0], [ref.pid]]


async def test_what_workers_log_joins_the_log_when_it_is_read(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each record once, of the agent that wrote it, wherever that runs; also of one that has ended since."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    async with (
        Node("wide") as made,
        Probe(made, placement="thread", tick_s=0.05),
        connect("wide", timeout_s=20.0) as client,
    ):
        ref = await made.spawn(Scribe, name="scribe", isolation="process")
        # The worker begins to keep its log when the probe has told it to, which an answer does not wait for.
        await eventually(lambda: _heard(ref, client), bool, "the first record of the worker")
        start = (await client.log(limit=1)).next
        assert await ref.call("away") != os.getpid()
        page = await eventually(lambda: client.log(after=start, text="far away"), lambda found: found.records)
        (record,) = page.records
        assert (record.agent, record.pid, record.logger) == ("scribe", ref.pid, "shop.far")
        assert record.worker > 0
        await asyncio.sleep(EVERY_S)
        assert len((await client.log(text="far away")).records) == 1


async def _heard(ref: Ref, client: NodeClient) -> bool:
    await ref.call("hello")
    return bool((await client.log(text="far hello")).records)


@pytest.mark.parametrize("wrong", [{"log_keep": -1}, {"log_keep": True}, {"log_level": "loud"}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="log_"):
        Probe("shop", **wrong)


async def test_a_level_that_does_not_exist_is_refused(client: NodeClient) -> None:
    with pytest.raises(ValidationError):
        await client.log(level="loud")  # type: ignore[arg-type]  # that is the point
