"""Stores: what they acknowledge is there, and what they cannot do they say."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from observe.runtime import MemoryStore, Node, Record, SQLiteStore, Store, StoreFault, StoreFull


def record(key: str, state: bytes = b"{}", generation: int = 1) -> Record:
    return Record(key, "Session", state, generation=generation, at=1.0)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


async def test_a_store_keeps_gets_scans_and_forgets(store: Store) -> None:
    """The whole interface, for everybody who writes another store."""
    assert isinstance(store, Store)
    assert await store.get("a") is None
    full = Record("a:1", "Session", b"state", b"message", 7, 2.5, b"start", 1)
    await store.put(full)
    assert await store.get("a:1") == full
    for key in ("a:3", "a:2", "b:1", "a;1"):
        await store.put(record(key))
    assert [one.key for one in await store.scan("a:")] == ["a:1", "a:2", "a:3"]
    assert [one.key for one in await store.scan("a:", after="a:1", limit=1)] == ["a:2"]
    await store.delete("b:1", below="a:")
    assert [one.key for one in await store.scan("")] == ["a;1"]
    await store.delete("never there")


async def test_operations_take_effect_in_the_order_of_the_calls(store: Store) -> None:
    """Whoever puts and then gets receives what was put, without waiting in between."""
    first, second, got = (
        store.put(record("k", generation=1)),
        store.put(record("k", generation=2)),
        store.get("k"),
    )
    assert await got == record("k", generation=2)
    assert first.done()
    assert second.done()
    deleted, gone = store.delete("k"), store.get("k")
    await deleted
    assert await gone is None


async def test_what_comes_while_a_commit_is_under_way_shares_the_next(tmp_path: Path) -> None:
    """A thousand agents must not wait for a thousand fsyncs."""
    store = SQLiteStore(tmp_path / "store.db")
    await store.open()
    await asyncio.gather(*(store.put(record(str(n))) for n in range(500)))
    assert store.written == 500
    assert store.commits < 100
    await store.close()


async def test_a_reopened_store_has_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for n in range(3):
        store = SQLiteStore(path, durability="process")
        await store.open()
        assert len(await store.scan("")) == n
        store.put(record(str(n)))
        await store.close()  # finishes what was asked for
        with pytest.raises(StoreFault, match="closed"):
            await store.put(record("late"))


def modes_in(directory: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in directory.iterdir()]


async def test_what_agents_know_is_for_their_user_only(tmp_path: Path) -> None:
    """States hold customers' words."""
    store = SQLiteStore(tmp_path / "store.db")
    await store.open()
    await store.put(record("k"))
    assert modes_in(tmp_path) == [0o600] * 3
    await store.close()


async def test_a_full_store_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """What it holds stays, what fits still goes in, and nobody waits for ever."""
    store = SQLiteStore(tmp_path / "store.db", max_bytes=128 << 10)
    await store.open()
    await store.put(record("old", b"x" * 60_000))
    large, small = store.put(record("large", b"x" * 200_000)), store.put(record("small"))
    with pytest.raises(StoreFull, match="max_bytes"):
        await large
    await small  # shared the transaction with one that failed
    with pytest.raises(StoreFull):
        await store.put(record("old", b"x" * 200_000))
    kept = await store.get("old")
    assert kept is not None
    assert len(kept.state) == 60_000
    await store.delete("old")
    await store.put(record("again", b"x" * 60_000))
    await store.close()


async def test_a_file_that_another_program_holds_is_a_fault_not_a_wait(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLiteStore(path, busy_s=0.01)
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFault, match="another program"):
        await store.put(record("k"))
    assert await store.get("k") is None
    other.execute("COMMIT")
    other.close()
    await store.put(record("k"))
    await store.close()


async def test_a_file_that_is_no_store_is_refused_at_the_start(tmp_path: Path) -> None:
    """The node does not start, rather than start and keep nothing."""
    path = tmp_path / "store.db"
    path.write_bytes(b"this is no database" * 100)
    node = Node("x", store=SQLiteStore(path))
    with pytest.raises(StoreFault, match="not a database"):
        await node.start()
    assert not node.is_running
    with pytest.raises(StoreFault, match="unable to open"):
        await Node("x", store=SQLiteStore(tmp_path / "nowhere" / "store.db")).start()


async def test_a_key_that_sqlite_cannot_hold_fails_alone(tmp_path: Path) -> None:
    """Whatever happens in the writer thread, it lives on and everybody gets an answer."""
    store = SQLiteStore(tmp_path / "store.db")
    await store.open()
    bad, good = store.put(record("\ud800")), store.put(record("good"))
    with pytest.raises(StoreFault, match="surrogates"):
        await bad
    await good
    await store.close()


async def test_old_results_are_forgotten_when_the_store_is_opened(tmp_path: Path) -> None:
    """What grows has a limit; checkpoints are forgotten by their agents, results by age."""
    store = SQLiteStore(tmp_path / "store.db")
    await store.open()
    await store.put(record("result:a"))
    await store.put(record("state:a"))
    await store.close()
    again = SQLiteStore(tmp_path / "store.db")
    await again.open()
    assert [one.key for one in await again.scan("")] == ["state:a"]
    await again.close()


async def test_a_store_serves_one_node_at_a_time(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    with pytest.raises(StoreFault, match="not open"):
        await store.get("k")
    await store.open()
    with pytest.raises(StoreFault, match="one node"):
        store.open()
    await store.close()
    await store.close()
