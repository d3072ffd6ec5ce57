"""Attaches are on record: who, with what and from where; and whoever attaches without end is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.export import sentence
from observe.audit.reading import read
from observe.audit.record import Record, Who
from observe.probe import Probe, connect
from observe.probe.attach_records import EACH, MOST_SOURCES, PERIOD_S, AttachRecords
from observe.probe.introduction import acting_user, installed_version, local_user
from observe.probe.keys import KeyHolder, new_key_pair
from observe.probe.program import PROGRAM
from observe.probe.scribe import Scribe
from observe.probe.states import audit_directory
from observe.probe.wire import HelloArgs
from observe.runtime import Node
from tests.probe.live import eventually, private_runtime

ANN = KeyHolder("ann", new_key_pair()[0], "operator")


class Kept(Scribe):
    """Takes what is to be written."""

    def __init__(self) -> None:
        super().__init__(None)
        self.records: list[dict[str, Any]] = []

    def write(self, phase: str, then: object, **fields: Any) -> None:
        self.records.append(fields | {"phase": phase})


@pytest.fixture
def kept() -> Iterator[Kept]:
    scribe = Kept()
    yield scribe
    scribe.close()


@pytest.fixture
def attaches(kept: Kept) -> AttachRecords:
    return AttachRecords(kept, "i", wall=lambda: 5000.0)


def attach(attaches: AttachRecords, now: float, client: str = "observe ps 1", **said: str) -> None:
    who = Who(key=ANN.fingerprint, name=ANN.name, role=ANN.role, user="svc", address=said.pop("address", ""))
    attaches.take(ANN, who, HelloArgs(versions=[1], client=client, **said), True, now)


def counts(kept: Kept) -> list[int]:
    """Of each record, for how many attaches it stands."""
    return [one["outcome"]["counted"] if one["outcome"] else 1 for one in kept.records]


def test_a_script_that_attaches_every_second_writes_little_and_nothing_is_left_uncounted(
    kept: Kept, attaches: AttachRecords
) -> None:
    """An hour of `observe ps` each second, each with a process id of its own."""
    for second in range(3600):
        attach(attaches, float(second), f"observe ps {second}")
        attaches.tick(float(second))
    assert len(kept.records) <= EACH + 3600 / PERIOD_S
    attaches.close()
    assert sum(counts(kept)) == 3600
    assert kept.records[0]["target"] == {"client": "observe ps 0", "card": True}
    assert kept.records[EACH]["outcome"] == {"counted": int(PERIOD_S) - EACH, "first": 5000.0, "last": 5000.0}


def test_somebody_who_comes_beside_a_script_has_a_record_of_their_own(
    kept: Kept, attaches: AttachRecords
) -> None:
    for second in range(100):
        attach(attaches, float(second))
    before = len(kept.records)
    attach(attaches, 100.0, "observe attach 7", user="alice", version="1.0")
    attach(attaches, 100.0, address="10.0.0.7")
    assert [one["target"].get("client") for one in kept.records[before:]] == [
        "observe attach 7",
        "observe ps 1",
    ]
    assert kept.records[before]["target"] == {
        "client": "observe attach 7", "version": "1.0", "user": "alice", "card": True,
    }  # fmt: skip


def test_after_a_quiet_period_each_is_on_record_again(kept: Kept, attaches: AttachRecords) -> None:
    for second in range(EACH + 1):
        attach(attaches, float(second))
    attaches.tick(PERIOD_S)
    attach(attaches, PERIOD_S + 1)
    assert counts(kept) == [1] * (EACH + 1)
    attaches.tick(2 * PERIOD_S)
    attaches.tick(3 * PERIOD_S + 10)
    attach(attaches, 3 * PERIOD_S + 11)
    assert counts(kept) == [1] * (EACH + 3)
    assert attaches.statistics() == {"attaches_counted": 0, "attaches_unrecorded": 0}


def test_names_that_are_made_up_do_not_fill_the_log(kept: Kept, attaches: AttachRecords) -> None:
    """What a client says of itself is free; that must not be a way to a record each time."""
    for number in range(5000):
        attach(attaches, 1.0, user=f"user {number}")
    assert len(kept.records) <= MOST_SOURCES + EACH
    attaches.close()
    assert sum(counts(kept)) == 5000


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.mark.usefixtures("runtime")
async def test_an_attach_is_on_record_with_who_and_what_it_was() -> None:
    """Also one with the key of the node's own card, and the checkpoint covers it at once."""
    async with Node("shop") as node, Probe(node):
        PROGRAM.set("observe ps")
        async with connect("shop", timeout_s=20.0) as client:

            async def on_record() -> list[Record]:
                return [one async for one in client.audit_records() if one.what == "attach"]

            [record] = await eventually(on_record, lambda records: records)
            head = await eventually(client.audit_head, lambda head: head.checkpoint)
        assert record.target == {
            "client": f"observe ps {os.getpid()}", "version": installed_version(), "user": acting_user(),
            "card": True,
        }  # fmt: skip
        assert (record.phase, record.node, record.incarnation) == (
            "completed",
            client.info.name,
            node.incarnation,
        )
        assert (record.who.user, record.who.role, len(record.who.key)) == (local_user(), "admin", 16)
        assert head.checkpoint.splitlines()[1] == str(record.seq)


@pytest.mark.usefixtures("runtime")
async def test_counted_attaches_are_on_record_when_the_probe_ends() -> None:
    async with Node("shop") as node, Probe(node):
        for _ in range(EACH + 3):
            async with connect("shop", timeout_s=20.0):
                pass
    records, _ = read(audit_directory("shop"))
    attaches = [one for one in records if one.what == "attach"]
    assert [one.outcome["counted"] if one.outcome else 1 for one in attaches] == [1] * EACH + [3]
    said = f"{PROGRAM.get()} {os.getpid()} {installed_version()} of {acting_user()} from 127.0.0.1"
    assert sentence(attaches[0]).endswith(f": attach: completed: {said}")
    assert sentence(attaches[-1]).endswith(f": attach: completed: 3 more, the last: {said}")
