"""The past as a node: the same client, the same verbs, at any moment of a recording; and nothing that can be done to it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from observe.probe.client import Watch, connect
from observe.probe.errors import NodeUnreachable, RemoteError
from observe.probe.past import Past
from observe.probe.recording import NotARecording, segments_at
from observe.probe.replay import Replay, moment
from observe.probe.wire_watches import Event, Events
from tests.probe.a_life import record_a_life
from tests.probe.live import eventually


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    record_a_life(folder)
    return folder


async def test_every_verb_that_reads_answers_as_on_the_node(recorded: Path) -> None:
    """At the end of the recording the node is dead, and all that was known of it is there."""
    async with connect(f"{recorded}/") as node:
        assert node.is_past
        assert (node.role, node.info.state, node.info.agents) == ("viewer", "dead", 7)
        page = await node.agents(sort="mailbox", limit=1, columns=["name", "mailbox"])
        assert page.rows == [["waiter-0", 30]]
        assert (await node.vitals(600.0)).state == "dead"
        assert (await node.tree()).children_total >= 3
        (crash,) = (await node.crashes()).crashes
        assert (crash.name, crash.kind) == ("waiter-1", "ValueError")
        assert crash.restarted
        assert (await node.deaths()).deaths[0].signal_name == "SIGKILL"
        assert (await node.findings()).findings is not None
        detail = await node.inspect("waiter-0")
        assert detail.agent["mailbox"] == 30
        assert "recording" in detail.note
        assert await node.ping() >= 0


async def test_what_acts_is_refused_with_the_reason(recorded: Path) -> None:
    async with connect(f"{recorded}/") as node:
        for attempt in (node.kill("waiter-0"), node.suspend("waiter-0"), node.stop("waiter-0")):
            with pytest.raises(RemoteError, match="nothing can be done to the past"):
                await attempt


async def test_a_moment_shows_what_was_known_then(recorded: Path) -> None:
    """Before the crash there is none in the list, and no ages run on."""
    past = Past(recorded)
    (crash, death) = past.crashes
    assert "waiter-1" in crash.text
    assert "died" in death.text
    async with connect(f"{recorded}/@{crash.wall_us / 1e6 - 0.001}") as before:
        assert (await before.crashes()).total == 0
        assert before.info.state == "up"
        assert before.info.now <= crash.wall_us / 1e6
    async with connect(f"{recorded}/@{crash.wall_us / 1e6}") as after:
        assert (await after.crashes()).total == 1
        ages = [(await after.agents(columns=["age_s"])).rows for _ in range(2)]
        assert ages[0] == ages[1]


async def test_it_plays_and_tells_what_happens_when_it_did(recorded: Path) -> None:
    """Followed with the same watches as a live node."""
    async with Replay(recorded, speed=4.0, paused=True) as replay, replay.client() as node:
        start, crash = replay.at, replay.past.crashes[0]
        assert node.info.state == "up"
        watch = await node.watch_events(interval_s=0.05)
        first = asyncio.ensure_future(_crash_of(watch))
        await asyncio.sleep(0.3)
        assert replay.at == start  # it is paused
        assert not first.done()
        replay.is_paused = False
        event = await asyncio.wait_for(first, 30)
        assert event.at == pytest.approx(crash.wall_us / 1e6, abs=1.0)
        await eventually(node.vitals, lambda vitals: vitals.state == "dead")
        await eventually(lambda: asyncio.sleep(0, replay.is_over))


async def _crash_of(watch: Watch[Events]) -> Event:
    async for push in watch:
        for event in push.data.events:
            if event.kind == "crash":
                return event
    raise AssertionError("no crash was told")


async def test_jumping_from_crash_to_crash(recorded: Path) -> None:
    """Also to the death of the node, and back."""
    async with Replay(recorded, paused=True) as replay, replay.client() as node:
        crash = replay.next_crash()
        assert crash is not None
        await replay.seek(crash.wall_us / 1e6)
        assert (await node.crashes()).total == 1
        death = replay.next_crash()
        assert death is not None
        assert "died" in death.text
        await replay.seek(death.wall_us / 1e6)
        assert (await node.vitals()).state == "dead"
        assert replay.next_crash() is None
        back = replay.crash_before()
        assert back == crash
        await replay.seek(crash.wall_us / 1e6 - 0.001)
        assert (await node.vitals()).state == "up"
        assert (await node.crashes()).total == 0


async def test_going_on_and_going_there_at_once_show_the_same(recorded: Path) -> None:
    """Whichever way one came."""
    end = Past(recorded).end_us / 1e6
    async with (
        Replay(recorded, paused=True) as slow,
        slow.client() as one,
        connect(f"{recorded}/@{end}") as other,
    ):
        for number in range(1, 11):
            slow.past.advance(slow.start + (end - slow.start) * number / 10)
        assert (await one.agents()).rows == (await other.agents()).rows
        crashes = await one.crashes(), await other.crashes()
        assert crashes[0].to_wire() == crashes[1].to_wire()


async def test_a_cut_off_file_is_shown_up_to_there(recorded: Path, tmp_path: Path) -> None:
    """And says where that is: file, byte and time."""
    (segment,) = segments_at(recorded)
    content = segment.path.read_bytes()
    path = tmp_path / segment.path.name
    path.write_bytes(content[: len(content) * 3 // 4])
    async with connect(str(path)) as node:
        assert (await node.agents(filter="name=holder")).matched == 1
    past = Past(path)
    (damage,) = past.damage
    assert damage.after_us == past.end_us
    assert f"{damage.offset:,}" in str(damage)
    assert "UTC" in str(damage)


async def test_what_follows_a_damaged_segment_is_played_from_its_keyframe(
    recorded: Path, tmp_path: Path
) -> None:
    """The table is not trusted across the gap."""
    (segment,) = segments_at(recorded)
    content = bytearray(segment.path.read_bytes())
    name, _, stamp = segment.path.name.partition("~")
    (tmp_path / segment.path.name).write_bytes(content[: len(content) // 2])
    (tmp_path / f"{name}~{int(stamp[:17]) + 1:017d}.obsrec").write_bytes(content)
    async with connect(f"{tmp_path}/") as node:
        assert (await node.vitals()).state == "dead"
        assert (await node.agents()).total == 7
    assert len(Past(tmp_path).damage) == 1


def test_a_moment_is_read_as_people_write_it(recorded: Path) -> None:
    past = Past(recorded)
    start, end = past.start_us / 1e6, past.end_us / 1e6
    assert (moment(past, ""), moment(past, "end")) == (start, end)
    assert moment(past, "-2s") == end - 2
    assert moment(past, "+1m") == start + 60
    assert moment(past, "crash") == past.crashes[-1].wall_us / 1e6
    assert moment(past, str(start + 1)) == start + 1
    assert moment(past, f"{datetime.fromtimestamp(end):%H:%M:%S}") == int(end)
    assert moment(past, f"{datetime.fromtimestamp(end):%Y-%m-%d %H:%M:%S}") == int(end)
    with pytest.raises(NotARecording, match="no time"):
        moment(past, "yesterday")


async def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable, match="holds no recording"):
        await connect(f"{tmp_path}/").open()
    with pytest.raises(NodeUnreachable, match="holds no recording"):
        await connect("nowhere.obsrec").open()
