"""A live node recorded by a client: the file is that of a flight recorder, also when the node dies or we read too slowly."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from observe.console.cli import main
from observe.probe.client import connect
from observe.probe.codec import encode
from observe.probe.errors import RemoteError
from observe.probe.past import Past
from observe.probe.recording import FRAME, KEY, MAGIC, META, SAMPLE, Segment
from observe.probe.streams import MAX_TAPES, Streams, Subscription
from observe.probe.tapes import CHUNK_BYTES, WAITING_BYTES, Tapes
from observe.probe.taping import record
from observe.probe.wire_watches import WatchArgs
from tests.probe.live import LiveService, eventually, private_runtime


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with (
        pytest.MonkeyPatch.context() as patch,
        private_runtime(patch) as runtime,
        LiveService(runtime, linger_s=0.5) as service,
    ):
        yield service


async def test_what_happens_while_it_is_recorded_is_in_the_file(service: LiveService, tmp_path: Path) -> None:
    """From the whole picture on: agents that do nothing are there as well."""
    path, stop = tmp_path / "shop.obsrec", asyncio.Event()
    async with connect("shop") as node:
        await eventually(node.agents, lambda page: page.total == 7)
        taping = asyncio.ensure_future(record(node, path, stop=stop))
        await eventually(lambda: asyncio.sleep(0, path.exists() and path.stat().st_size > 100))
        service.do("cast", "waiter-1", "crash")
        await eventually(node.crashes, lambda found: found.total)
        # It can be read while it grows: the successor is there, and whoever crashed is gone.
        await eventually(
            lambda: asyncio.sleep(0, Past(path)), lambda past: past.crashes and len(past.picture.table) == 7
        )
        stop.set()
        taped = await taping
    assert (taped.size_bytes, taped.dropped, taped.ended_by) == (path.stat().st_size, 0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.kind for one in Segment(path)][:2] == [META, KEY]
    past = Past(path)
    assert past.damage == []
    assert len(past.picture.table) == 7
    assert "waiter-1" in past.crashes[0].text
    async with connect(str(path)) as then:
        assert (await then.crashes()).total == 1


def test_the_command_makes_a_file_that_can_be_replayed(service: LiveService, tmp_path: Path) -> None:
    path = str(tmp_path / "shop.obsrec")
    runner = CliRunner()
    done = runner.invoke(main, ["record", "shop", "-o", path, "--for", "0.5s", "--json"])
    assert (done.exit_code, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert facts["bytes"] == os.path.getsize(path)
    assert 0.4 < facts["seconds"] < 30
    again = runner.invoke(main, ["record", "shop", "-o", path, "--for", "1s"])
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)
    assert runner.invoke(main, ["record", "shop", "-o", f"{path}2", "--for", "soon"]).exit_code == 2
    shown = runner.invoke(main, ["ps", path, "--json"])
    assert json.loads(shown.stdout)["total"] == 7


async def test_a_file_that_is_full_ends_there_and_is_whole(service: LiveService, tmp_path: Path) -> None:
    async with connect("shop") as node:
        taped = await record(node, tmp_path / "small.obsrec", limit_bytes=5_000)
    assert "allowed" in taped.ended_by
    assert taped.size_bytes <= 5_000
    assert Past(tmp_path / "small.obsrec").damage == []


async def test_no_more_than_a_few_record_at_one_time(service: LiveService) -> None:
    async with connect("shop") as node:
        watches = [await node.watch_tape() for _ in range(MAX_TAPES)]
        with pytest.raises(RemoteError, match="record this node already") as caught:
            await node.watch_tape()
        assert caught.value.code == "busy"
        for watch in watches:
            await watch.close()
        await (await node.watch_tape()).close()


async def test_the_death_of_the_node_is_in_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the client is told why it got no more."""
    path = tmp_path / "shop.obsrec"
    with private_runtime(monkeypatch) as runtime, LiveService(runtime, linger_s=1.0) as service:
        async with connect("shop") as node:
            await eventually(node.agents, lambda page: page.total == 7)
            taping = asyncio.ensure_future(record(node, path))
            await eventually(lambda: asyncio.sleep(0, path.exists() and path.stat().st_size > 100))
            service.kill()
            taped = await taping
    assert taped.ended_by
    past = Past(path)
    assert past.death is not None
    assert past.death.signal_name == "SIGKILL"
    assert past.picture.state == "dead"


class Picture:
    """A picture whose keyframe is larger than a push."""

    agents = 1

    def copy(self) -> None:
        """There is nothing to copy."""

    def to_map(self) -> dict[str, Any]:
        """A keyframe."""
        return {"expected": None, "random": os.urandom(3 * CHUNK_BYTES)}


def read(subscription: Subscription, pieces: int) -> bytes:
    """What so many pushes bring."""
    return b"".join(subscription.waiting.pop(0) for _ in range(min(pieces, len(subscription.waiting))))


def test_who_reads_too_slowly_gets_a_gap_and_a_new_keyframe(tmp_path: Path) -> None:
    """The file has no damage, and the gap is said; what waits is bounded."""
    streams = Streams()
    subscription = streams.open(b"client", WatchArgs(what="tape", credit=1), 0.0)
    tapes = Tapes(streams, {"node": "shop"}, Picture)
    clock = iter(range(1, 1_000_000))

    def turn(*payloads: bytes) -> None:
        for payload in payloads:
            tapes.note(payload, next(clock), next(clock), FRAME)
        tapes.flush(next(clock), next(clock), settled=True)

    turn()
    turn()  # the keyframe is there
    file = MAGIC + read(subscription, 2)  # in the middle of it
    while not subscription.dropped:
        turn(os.urandom(1 << 20))
        assert sum(map(len, subscription.waiting)) < WAITING_BYTES + 12 * CHUNK_BYTES
    turn(b"behind the new keyframe")
    file += read(subscription, 100)
    turn(b"and after")
    file += read(subscription, 100)
    path = tmp_path / "shop.obsrec"
    path.write_bytes(file)
    segment = Segment(path)
    records = list(segment)
    assert segment.damage is None
    assert [one.kind for one in records] == [META, KEY, META, KEY, FRAME, FRAME]
    assert [one.payload for one in records[4:]] == [b"behind the new keyframe", b"and after"]
    assert subscription.dropped > 30


def test_a_gap_in_the_middle_of_a_file_is_not_read_over(tmp_path: Path) -> None:
    """Another beginning within a file means that something was left out: the next keyframe counts."""
    from observe.probe.recording import pack

    def key(agents: int) -> bytes:
        empty = ["", 0, b""]
        from observe.probe.table import FLOATS, INTS

        columns: dict[str, Any] = {name: ["", 1, b""] for name in INTS}
        content = {
            "expected": 5, "clock_offset_us": 0, "python": "3", "version": "1", "started_at": 0.0, "strings": "",
            "size": agents, "newest_us": 1, "ints": columns, "floats": dict.fromkeys(FLOATS, empty), "vitals": None,
            "samples": [],
        }  # fmt: skip
        return encode(content)

    sample = encode({"memory": 1, "cpu": 0.0, "held": None})
    meta = encode({"node": "shop", "host": "here", "incarnation": "1", "pid": 1, "format": 1})
    path = tmp_path / "shop.obsrec"
    path.write_bytes(
        MAGIC
        + pack(META, meta, 1, 1) + pack(KEY, key(0), 1, 1) + pack(SAMPLE, sample, 10, 10)
        + pack(META, meta, 20, 20) + pack(KEY, key(1), 20, 20) + pack(SAMPLE, sample, 30, 30)
    )  # fmt: skip
    past = Past(path)
    assert len(past.picture.table) == 1
    past.seek(10e-6)
    assert len(past.picture.table) == 0
    past.advance(30e-6)
    assert len(past.picture.table) == 1
