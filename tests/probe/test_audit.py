"""The audit log from outside: read, proven, and a client that is not deceived about it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from observe.audit.merkle import check_consistency
from observe.audit.notes import Verifier
from observe.audit.record import Record
from observe.audit.verify import verify
from observe.probe import Probe, ProbeNotStarted, connect
from observe.probe.client import NodeClient
from observe.probe.errors import AuditMismatch, RemoteError
from observe.probe.states import audit_directory, usable_audit_directory
from observe.probe.witness import forget_seen, read_seen, write_seen
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Keeper(Agent):
    """Has something to edit."""

    limit: int = 3
    api_key: str = "none"
    phone: str = "030 1234567"

    def handle(self, message: Any) -> Any:
        return message


@asynccontextmanager
async def shop(**options: Any) -> AsyncIterator[NodeClient]:
    async with Node("shop") as node, Probe(node, **options):
        await node.spawn(Keeper, name="keeper")
        async with connect("shop", timeout_s=20.0) as client:
            await eventually(client.agents, lambda page: page.total == 2)
            yield client


async def recorded(client: NodeClient, *what: str) -> list[Record]:
    """What is on record, of these kinds, or of all but what the log notes of itself."""
    records = [one async for one in client.audit_records()]
    return [one for one in records if (one.what in what if what else one.phase != "noted")]


async def test_the_log_of_a_node_is_read_and_proven_from_outside() -> None:
    """Each answer to a command is a receipt, and the client keeps the newest: it is a witness."""
    async with shop() as client:
        head = await eventually(client.audit_head, lambda head: head.checkpoint)
        assert (head.first, head.problem) == (1, "")
        assert [one.what for one in await recorded(client)] == ["attach"]
        assert Path(head.directory) == audit_directory("shop")
        assert read_seen(client.info.name) is None
        await client.edit("keeper", "limit", 4, reason="more")
        first = read_seen(client.info.name)
        assert first is not None
        await client.edit("keeper", "api_key", "hunter2-hunter2", reason="password=hunter2")
        with pytest.raises(RemoteError):
            await client.edit("keeper", "limit", "many")
        head = await client.audit_head()
        newest = read_seen(client.info.name)
        assert newest is not None
        assert newest.note == head.checkpoint
        key = Verifier.parse(head.key)
        old, new = key.open(first.note), key.open(head.checkpoint)
        assert new.size - old.size == 4
        check_consistency(
            old.size, old.root, new.size, new.root, await client.audit_proof(old.size, new.size)
        )
        edits = await recorded(client, "edit")
        assert [one.phase for one in edits] == [*["requested", "completed"] * 2, "requested", "failed"]
        assert edits[0].target["arguments"] == {"field": "limit", "value": 4, "dry_run": False}
        assert edits[2].target["arguments"]["value"] == "<masked>"
        assert edits[2].reason == "password=<masked>"
        [opened] = [one async for one in client.audit_records() if one.what == "opened"]
        assert opened.target["rule"] == "observe.tracing.masking 1, observe.probe.personal 1"
        page = await client.audit_lines(start=7, limit=1)
        assert (page.start, page.size, json.loads(page.lines[0])["seq"]) == (7, head.size, 7)
        with pytest.raises(RemoteError, match="cannot have grown"):
            await client.audit_proof(head.size + 1, head.size)
    directory = audit_directory("shop")
    assert b"hunter2" not in b"".join(path.read_bytes() for path in directory.iterdir())
    report = verify(directory, key, [first.note, newest.note])
    assert report.exit_code == 0


@pytest.mark.parametrize("keeps", [False, True])
async def test_personal_data_is_masked_before_it_is_written_unless_it_is_to_be_kept(keeps: bool) -> None:
    """By name and by shape, in reasons, messages and differences; never who has acted."""
    async with shop(audit_keeps_personal=keeps, audit_keep_days=180) as client:
        message = {"email": "none yet", "card": "4111 1111 1111 1111"}
        await client.act("send", agent="keeper", message=message, reason="for ann@example.com")
        await client.edit("keeper", "phone", "0170 1234567")
        [_, sent] = await recorded(client, "send")
        assert sent.who.user
        asked, done = await recorded(client, "edit")
        assert done.outcome is not None
        [change] = done.outcome["diff"]
        assert (asked.target["arguments"]["value"] == "0170 1234567") is keeps
        assert ("0170" in change["new"], "030" in change["old"]) == (keeps, keeps)
        [opened] = [one async for one in client.audit_records() if one.what == "opened"]
        assert ("personal" in opened.target["rule"]) is not keeps
        assert opened.target["keep_days"] == 180
    text = "".join(path.read_text() for path in audit_directory("shop").glob("*.jsonl"))
    found = [one in text for one in ("none yet", "4111 1111", "ann@example.com", "'0170 1234567'")]
    assert found == [keeps] * 4


async def test_a_log_that_was_put_back_gets_no_more_commands() -> None:
    """Files and key as they were an hour ago: perfect in itself. The client remembers more, and nothing is done."""
    directory = audit_directory("shop")
    async with shop() as client:
        await client.suspend("keeper")
    shutil.copytree(directory, directory.with_name("before"))
    async with shop() as client:
        await client.edit("keeper", "limit", 5)
    shutil.rmtree(directory)
    directory.with_name("before").rename(directory)
    async with shop() as client:
        for _ in range(2):
            with pytest.raises(AuditMismatch, match=r"it has \d records, and had \d+"):
                await client.edit("keeper", "limit", 6)
        assert (await client.inspect("keeper")).agent["status"] == "idle"
        assert forget_seen(client.info.name)
        assert (await client.edit("keeper", "limit", 6)).done


@pytest.mark.parametrize("how", ["emptied", "another key", "another history"])
async def test_another_log_is_not_believed(how: str) -> None:
    directory = audit_directory("shop")
    async with shop() as client:
        await client.suspend("keeper")
    shutil.rmtree(directory)
    if how == "another key":
        directory.with_name("audit.key").unlink()
    known = read_seen(client.info.name)
    assert known is not None
    if how != "emptied":
        for _ in range(2):
            forget_seen(client.info.name)
            async with shop() as client:
                await client.edit("keeper", "limit", 6)
        forget_seen(client.info.name)
        write_seen(client.info.name, known)
    async with shop() as client:
        why = {
            "emptied": r"it is empty|it has \d records, and had",
            "another key": "not signed by the key",
            "another history": "does not begin",
        }
        with pytest.raises(AuditMismatch, match=why[how]):
            await client.suspend("keeper")


async def findings(client: NodeClient) -> dict[str, str]:
    return {one.check: one.text for one in (await client.findings()).findings}


async def test_while_nothing_can_be_recorded_everything_can_be_looked_at() -> None:
    """And commands are refused with the reason, until it is over."""
    directory = audit_directory("shop")
    directory.parent.mkdir(mode=0o700, parents=True)
    for parent in (directory.parent.parent, directory.parent.parent.parent):
        parent.chmod(0o700)
    directory.touch()
    async with shop() as client:
        assert "not a directory of ours" in (await client.audit_head()).problem
        with pytest.raises(RemoteError, match=r"could not be recorded.*not a directory of ours"):
            await client.suspend("keeper")
        assert (await client.inspect("keeper")).agent["status"] == "idle"
        told = await eventually(lambda: findings(client))
        assert "not a directory of ours" in told["audit_unavailable"]
        directory.unlink()

        async def suspended() -> bool:
            try:
                return (await client.suspend("keeper")).done
            except RemoteError:
                return False

        assert await eventually(suspended)
        assert (await client.audit_head()).problem == ""


def test_the_log_outlives_the_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A runtime directory is emptied when the machine starts anew. Who has no other place still gets a log."""
    inside = audit_directory("shop")
    assert str(inside).startswith(os.environ["OBSERVE_RUNTIME_DIR"])
    monkeypatch.setenv("OBSERVE_STATE_DIR", str(tmp_path / "state"))
    assert audit_directory("shop") == tmp_path / "state" / "audit" / "shop"
    assert usable_audit_directory("shop").is_dir()
    monkeypatch.setenv("OBSERVE_STATE_DIR", "/dev/null/nowhere")
    assert usable_audit_directory("shop") == inside


async def test_who_was_shown_a_state_is_on_record_once(runtime: Path) -> None:
    """An open page asks every second; what is not shown is not told."""
    async with shop() as client:
        await client.agents()
        await client.inspect("keeper", max_items=0)
        for _ in range(3):
            await client.inspect("keeper")
        await client.suspend("keeper")  # recorded after what came before it
        attached, shown, *others = await recorded(client)
        assert (shown.what, shown.phase, shown.target["name"]) == ("inspect", "completed", "keeper")
        assert (attached.what, shown.who.role) == ("attach", "admin")
        assert [one.what for one in others] == ["suspend", "suspend"]


async def test_what_wants_a_reason_is_not_done_without_one(runtime: Path) -> None:
    """And that somebody tried is on record."""
    async with Node("shop") as node, Probe(node, reason_for=("edit", "suspend")):
        await node.spawn(Keeper, name="keeper")
        async with connect("shop", timeout_s=20.0) as client:
            await eventually(client.agents, lambda page: page.total == 2)
            for reason in ("", "  "):
                with pytest.raises(RemoteError, match="wants to know why before it does `edit`"):
                    await client.edit("keeper", "limit", 4, reason=reason)
            assert (await client.edit("keeper", "limit", 4, reason="more")).done
            assert (await client.resume("keeper")).done
            phases = [one.phase for one in await recorded(client, "edit")]
            assert phases == ["requested", "denied", "requested", "denied", "requested", "completed"]


async def test_a_reason_for_what_is_no_command_is_a_mistake_that_is_told(runtime: Path) -> None:
    async with Node("shop") as node:
        with pytest.raises(ProbeNotStarted, match="'kil' is no command"):
            await Probe(node, reason_for=("kil",)).start()


async def test_consoles_follow_a_changed_key_and_refuse_a_revoked_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has seen the old key goes on with the new one only where the old one vouches for it."""
    async with shop() as client, connect("shop", timeout_s=20.0) as other:
        node = client.info.name
        await other.edit("keeper", "limit", 4)
        first = await other.rotate_key(reason="yearly")
        assert first.done
        seen = read_seen(node)
        assert seen is not None
        assert (seen.key, (await client.audit_head()).key) == (first.key, first.key)
        write_seen(node, type(seen)(first.former, seen.note))
        await client.edit("keeper", "limit", 5)  # it looks at what it keeps, and follows
        seen = read_seen(node)
        assert seen is not None
        assert seen.key == first.key
        second = await other.rotate_key("compromised", reason="the disk was stolen")
        assert second.former == first.key
        await other.edit("keeper", "limit", 6)  # it has revoked it, so it knows
        with pytest.raises(AuditMismatch, match="revoked as compromised"):
            await client.edit("keeper", "limit", 7)
        assert forget_seen(node)
        await client.edit("keeper", "limit", 8)
        keys = await client.audit_keys()
        assert (keys.key, len(keys.rotations)) == (second.key, 2)
        head = await client.audit_head()
        records = [one async for one in client.audit_records()]
    assert [(one.what, one.phase) for one in records if one.what in ("key", "rotate_key")] == [
        ("rotate_key", "requested"), ("key", "noted"), ("rotate_key", "completed"),
    ] * 2  # fmt: skip
    assert verify(Path(head.directory), Verifier.parse(second.key)).exit_code == 0
