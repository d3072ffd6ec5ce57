"""Fields whose changes are on record: every one of them, with what it was before, and nothing of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from observe.audit.errors import AuditUnavailable
from observe.audit.record import Record
from observe.probe import Probe, connect
from observe.probe.audited_records import MOST_A_SECOND, AuditedRecords
from observe.probe.client import NodeClient
from observe.probe.far_audited import MOST_A_SECOND as FAR_MOST
from observe.probe.far_audited import FarFields
from observe.probe.frames import AuditedFrame
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Account(Agent):
    audited = ("balance", "limits", "api_key", "later")

    balance: int

    def init(self) -> None:
        self.balance, self.limits, self.api_key, self.notes = 0, {"per_day": 100}, "one", 0

    async def handle(self, message: Any) -> Any:
        self.notes += 1
        match message:
            case "fall":
                self.balance -= 1
                raise RuntimeError("asked for")
            case "deep":
                self.limits["per_day"] = 50
            case "key":
                self.api_key = "hunter2"
            case int():
                self.balance += message
            case "later":
                self.later = True
        return self.balance


async def states(client: NodeClient, count: int) -> list[Record]:
    async def look() -> list[Record]:
        return [one async for one in client.audit_records() if one.what == "state"]

    return await eventually(look, lambda found: len(found) >= count)


def diffs(records: list[Record]) -> list[Any]:
    return [(one.outcome or {})["diff"] for one in records]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_each_change_is_on_record_with_what_it_was(runtime: Path, when: str) -> None:
    """Of agents that were there before the probe, and of those that start later."""
    async with Node("bank") as node:
        early = await node.spawn(Account, name="ann") if when == "before" else None
        async with Probe(node), connect("bank", timeout_s=20.0) as client:
            account = early or await node.spawn(Account, name="ann")
            await eventually(client.agents, lambda page: page.matched == 2)
            await account.call("nothing")
            await account.call(10)
            for message in ("deep", "key", "later"):
                await account.call(message)
            await client.edit("ann", "balance", 7, reason="a correction")
            await account.call("nothing")
            account.cast("fall")
            found = await states(client, 6)
            assert diffs(found) == [
                [{"path": "/balance", "old": "0", "new": "10"}],
                [{"path": "/limits", "old": "{'per_day': 100}", "new": "{'per_day': 50}"}],
                [{"path": "/api_key", "old": "<masked>", "new": "<masked>"}],
                [{"path": "/later", "old": "(absent)", "new": "True"}],
                [{"path": "/balance", "old": "10", "new": "7"}],
                [{"path": "/balance", "old": "7", "new": "6"}],
            ]
            assert [one.reason for one in found] == ["", "", "", "", "outside of a message", ""]
            assert {(one.who.role, one.target["name"], one.phase) for one in found} == {
                ("agent", "ann", "completed")
            }


def test_what_would_flood_the_log_is_counted_and_what_cannot_be_written_too() -> None:
    class Full:
        def __init__(self) -> None:
            self.targets: list[Any] = []

        def write(self, phase: str, then: Any, **fields: Any) -> None:
            self.targets.append(fields["target"])
            then(AuditUnavailable("the disk is full"))

    now, scribe = [5.5], Full()
    records = AuditedRecords(scribe, "i", lambda: now[0])  # type: ignore[arg-type]  # a scribe that refuses
    frame = AuditedFrame.model_validate({"seq": 1, "at": 1.0, "pid": 7, "class": "Account", "diff": []})
    for _ in range(MOST_A_SECOND + 3):
        records.take(frame)
    now[0] = 6.1
    records.take(frame)
    assert len(scribe.targets) == MOST_A_SECOND + 1
    assert scribe.targets[-1]["more_left_out"] == 3
    assert records.statistics() == {"audited_unrecorded": MOST_A_SECOND + 4}


def test_one_name_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="right: audited"):
        type("Wrong", (Agent,), {"audited": "balance", "handle": lambda self, message: None})


async def test_of_changes_in_a_worker_so_many_a_second_are_told_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The link to the node's process is the agents' as well."""
    now = 1.0
    monkeypatch.setattr("observe.probe.far_audited.time.monotonic", lambda: now)
    told: list[dict[str, Any]] = []
    async with Node("bank") as node:
        node.inside = SimpleNamespace(tell=lambda _function, facts: told.append(facts))  # type: ignore[attr-defined]  # a worker's
        account = await node.spawn(Account)
        fields = FarFields(node)  # type: ignore[arg-type]  # as above
        for _ in range(FAR_MOST + 3):
            await account.call(1)
        assert len(told) == FAR_MOST
        now = 2.0
        await account.call(1)
        assert (told[-1]["how"], len(told)) == ("3 changes before it left out", FAR_MOST + 1)
        fields.end()
        await account.call(1)
        assert len(told) == FAR_MOST + 1
