"""The black box: what is recorded survives kill -9, stays within its bounds, and is read up to where it is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from observe.probe.codec import decode, encode
from observe.probe.embed import read_size
from observe.probe.past import Past
from observe.probe.recorder import Recorder
from observe.probe.recording import FRAME, KEY, MAGIC, META, SUFFIX, NotARecording, Record, pack, segments_at
from tests.probe.a_life import record_a_life
from tests.probe.live import wait_until


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recording")
    return folder, record_a_life(folder)


def test_a_recording_survives_kill_nine_of_service_and_probe(recorded: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = recorded
    past = Past(folder)
    assert past.damage == []
    assert past.picture.config.incarnation == facts["incarnation"]
    assert past.picture.state == "dead"
    assert past.picture.agent(past.picture.row("waiter-0"))["mailbox"] == 30


def test_the_autopsy_names_what_was_wrong(recorded: tuple[Path, dict[str, Any]]) -> None:
    """The question of the morning after."""
    found = Past(recorded[0]).autopsy()
    assert [("waiter-1" in one.text, one.count) for one in found.crashed] == [(True, 1)]
    assert [(one.name, one.before, one.mailbox) for one in found.grew] == [("waiter-0", 0, 30)]
    assert found.death is not None
    assert found.death.signal_name == "SIGKILL"
    assert found.node.startswith("shop@")


def test_the_autopsy_of_two_lives_names_what_was_wrong_in_both(
    recorded: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """A service that was started again and died again: the first life may be the one that tells why."""
    (segment,) = segments_at(recorded[0])
    (tmp_path / segment.path.name).write_bytes(segment.path.read_bytes())
    before = tmp_path / f"shop~{1:017d}{SUFFIX}"
    before.write_bytes(MAGIC + b"".join(of_another_life(record, -20) for record in segment))
    found = Past(tmp_path).autopsy()
    assert [(one.count, "waiter-1" in one.text) for one in found.crashed] == [(2, True)]
    assert sum("died" in event.text for event in found.events) == 2
    assert found.death is not None


def of_another_life(record: Record, shift_s: int) -> bytes:
    """The record, so many seconds later, of another incarnation."""
    payload = record.payload
    if record.kind == META or (record.kind == FRAME and b"incarnation" in payload):
        payload = encode(decode(payload) | {"incarnation": "another"})
    return pack(record.kind, payload, record.wall_us + shift_s * 1_000_000, record.mono_us)


def test_seeking_shows_the_node_as_it_was(recorded: tuple[Path, dict[str, Any]]) -> None:
    past = Past(recorded[0])
    past.seek(past.start_us / 1e6)
    assert past.picture.state == "up"
    assert len(past.picture.table) == 0
    past.advance(past.end_us / 1e6)
    assert len(past.picture.table) == 7


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_a_damaged_recording_is_read_up_to_the_damage(
    recorded: tuple[Path, dict[str, Any]], tmp_path: Path, harm: str
) -> None:
    """The disk that failed is often why somebody looks."""
    (segment,) = segments_at(recorded[0])
    content = bytearray(segment.path.read_bytes())
    middle = len(content) * 3 // 4
    if harm == "cut":
        del content[middle:]
    else:
        content[middle] ^= 0x10
    path = tmp_path / segment.path.name
    path.write_bytes(content)
    past = Past(path)
    (damage,) = past.damage
    assert damage.path == path
    assert 0 < damage.offset <= middle
    assert past.picture.row("holder") >= 0  # what came before is there
    done = subprocess.run(
        [str(Path(sys.executable).with_name("observe")), "autopsy", str(path), "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f"byte {damage.offset:,}" in json.loads(done.stdout)["damage"][0]


def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        Past(tmp_path)
    (tmp_path / f"shop~1{SUFFIX}").write_bytes(b"something else")
    with pytest.raises(NotARecording, match="byte 0"):
        Past(tmp_path)


class Nothing:
    """A picture with nothing in it, that claims to be of some agents, and may take its time."""

    def __init__(self, agents: int = 0, may_end: threading.Event | None = None) -> None:
        self.agents = agents
        self.may_end = may_end

    def copy(self) -> None:
        """There is nothing to copy."""

    def to_map(self) -> dict[str, Any]:
        """A keyframe."""
        if self.may_end is not None:
            assert self.may_end.wait(30)
        return {"expected": None}


def recorder(folder: Path, keep_bytes: int, picture: Nothing | None = None) -> Recorder:
    return Recorder(folder, "shop", keep_bytes, {"node": "shop"}, lambda: picture or Nothing())


def test_a_recording_stays_within_its_bound_and_loses_the_oldest(tmp_path: Path) -> None:
    made = recorder(tmp_path, 1 << 20)
    for number in range(400):
        made.flush(float(number), number + 1, 0, settled=True)
        made.note(os.urandom(10_000), number + 1, 0)
    made.close()
    assert made.lost == 0
    paths = sorted(tmp_path.iterdir())
    assert sum(path.stat().st_size for path in paths) <= 1 << 20
    assert len(paths) > 2
    kinds = [record.kind for record in segments_at(paths[0])[0]]
    assert kinds[:2] == [META, KEY]
    assert (paths[0].stat().st_mode & 0o777) == 0o600


def test_a_large_keyframe_is_packed_while_the_recorder_goes_on(tmp_path: Path) -> None:
    """What comes meanwhile is in the old segment, for those who lose the probe just then, and behind the keyframe."""
    picture = Nothing()
    made = recorder(tmp_path, 1 << 20, picture)
    made.flush(0.0, 1, 1, settled=True)
    made.note(os.urandom(200_000), 2, 2)
    picture.agents, picture.may_end = 1_000_000, threading.Event()
    made.flush(1.0, 3, 3, settled=True)  # it is time for the next segment
    made.note(b"meanwhile", 4, 4)
    made.flush(2.0, 5, 5, settled=True)
    (old,) = segments_at(tmp_path)
    assert [record.payload for record in old][-1] == b"meanwhile"
    picture.may_end.set()

    def has_moved_on() -> bool:
        made.flush(3.0, 6, 6, settled=True)
        return len(list(tmp_path.iterdir())) == 2

    wait_until(has_moved_on)
    made.note(b"afterwards", 7, 7)
    made.close()
    _, new = segments_at(tmp_path)
    assert [record.kind for record in new][:2] == [META, KEY]
    assert [record.payload for record in new][2:] == [b"meanwhile", b"afterwards"]
    assert [record.mono_us for record in new] == [3, 3, 4, 7]
    assert made.lost == 0


def test_a_disk_that_refuses_is_counted_and_tried_again(tmp_path: Path) -> None:
    """A recorder that has recorded nothing for weeks must not look well."""
    (tmp_path / "dir").write_text("in the way")
    made = recorder(tmp_path / "dir", 1 << 20)
    made.flush(0.0, 1, 1, settled=True)
    made.note(b"x", 1, 1)
    assert made.statistics()["lost"] == 1
    assert made.error
    (tmp_path / "dir").unlink()
    made.flush(1.0, 2, 2, settled=True)
    assert made.error  # not at once again
    made.flush(31.0, 3, 3, settled=True)
    assert made.error == ""
    made.close()


@pytest.mark.parametrize(
    ("text", "size"), [("200MB", 200_000_000), ("1.5 GB", 1_500_000_000), (5_000_000, 5_000_000)]
)
def test_a_size_is_read_as_people_write_it(text: str | int, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "1kB", "-5MB", 0])
def test_a_size_that_makes_no_sense_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="at least 1 MB"):
        read_size(text)
