"""Where checkpoints are kept: the interface of a store, and the two that come with the runtime.

    scheduler's thread          writer thread (SQLiteStore)
    put() --> queue ----------> BEGIN; everything that has come meanwhile; COMMIT (fsync)
    future <------------------- resolved only after the commit

A store holds records by key and knows nothing of agents. Operations take effect in the order in which they were asked for, so
whoever puts and then gets receives what was put.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, Protocol, runtime_checkable

from observe.runtime.clock import wall_s
from observe.runtime.errors import StoreFault, StoreFull

RECORD_VERSION: Final = 1
"""The layout of what is in a record. A record of a later one is refused rather than misread."""

MAX_RECORD_BYTES: Final = 64 << 20
"""The most that one record may hold. More in one agent belongs into a database of its own."""

BATCH: Final = 1000
"""The most operations in one commit: what a power cut at the wrong moment makes the callers of repeat."""

RESULTS_KEPT_S: Final = 7 * 86400.0
"""How long the results of keyed activities are kept at least. Later retries run the activity again."""

RESULT: Final = "result:"
"""How the keys of activities' results begin."""


@dataclass(frozen=True, slots=True)
class Record:
    """One thing in a store."""

    key: str
    """`state:…` for an agent's checkpoint, `result:…` for what a keyed activity returned, `parked:…` for a message."""
    class_name: str
    """The agent's class, `module:qualname`: for people, and to notice that another one came to its place."""
    state: bytes
    """The attributes of the agent, or the result, as `encoding` writes them."""
    message: bytes | None = None
    """The message that was in hand; None for none."""
    generation: int = 1
    """The first checkpoint of a place is 1, and each further one is one more, across restarts."""
    at: float = 0.0
    """When it was taken, in Unix time."""
    start: bytes | None = None
    """How a dynamic supervisor starts the child: its name and its own arguments."""
    version: int = RECORD_VERSION


@runtime_checkable
class Store(Protocol):
    """What the runtime asks of a store. All methods are called on the node's thread and return at once; the work
    is done when the future is, and in the order of the calls. (An `async def` becomes one by `asyncio.create_task`.)

    Futures fail with StoreFault, or StoreFull.
    """

    def open(self) -> Future[None]:
        """Make ready. The node does not start before this is done."""

    def put(self, record: Record) -> Future[None]:
        """Keep `record` in place of the one with its key. Done when it would survive the process."""

    def get(self, key: str) -> Future[Record | None]:
        """The record with this key."""

    def delete(self, key: str, *, below: str = "") -> Future[None]:
        """Forget the record with this key, if there is one, and those whose keys begin with `below`, if it is given. All at once."""

    def scan(self, prefix: str, after: str = "", limit: int = 1000) -> Future[list[Record]]:
        """Up to `limit` records whose keys begin with `prefix` and are greater than `after`, in the keys' order."""

    def close(self) -> Future[None]:
        """Finish what was asked for and let go. The node has stopped."""


class MemoryStore:
    """A store for tests, and for restarts that need not outlive the process.

    Args:
        max_records: it is full when it holds so many.
    """

    def __init__(self, max_records: int = 1_000_000) -> None:
        self.records: dict[str, Record] = {}
        self.max_records = max_records
        self.fault: StoreFault | None = None
        """While set, every operation fails with it: a broken store, for tests."""

    def open(self) -> Future[None]:
        return self._done(lambda: None)

    def put(self, record: Record) -> Future[None]:
        def keep() -> None:
            if record.key not in self.records and len(self.records) >= self.max_records:
                raise StoreFull(
                    "the memory store", f"it holds its {self.max_records:,} records (max_records)"
                )
            self.records[record.key] = record

        return self._done(keep)

    def get(self, key: str) -> Future[Record | None]:
        return self._done(lambda: self.records.get(key))

    def delete(self, key: str, *, below: str = "") -> Future[None]:
        def forget() -> None:
            self.records.pop(key, None)
            for other in [other for other in self.records if below and other.startswith(below)]:
                del self.records[other]

        return self._done(forget)

    def scan(self, prefix: str, after: str = "", limit: int = 1000) -> Future[list[Record]]:
        def select() -> list[Record]:
            keys = sorted(key for key in self.records if key.startswith(prefix) and key > after)
            return [self.records[key] for key in keys[:limit]]

        return self._done(select)

    def close(self) -> Future[None]:
        return self._done(lambda: None)

    def _done(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = asyncio.get_running_loop().create_future()
        try:
            if self.fault is not None:
                raise self.fault
            future.set_result(work())
        except StoreFault as fault:
            future.set_exception(fault)
        return future


_COLUMNS = "key, class_name, state, message, generation, at, start, version"

_TABLE = """
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY, class_name TEXT NOT NULL, state BLOB NOT NULL, message BLOB,
    generation INTEGER NOT NULL, at REAL NOT NULL, start BLOB, version INTEGER NOT NULL
) WITHOUT ROWID"""

_PUT = f"INSERT OR REPLACE INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_GET = f"SELECT {_COLUMNS} FROM records WHERE key = ?"
_SCAN = f"SELECT {_COLUMNS} FROM records WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
_DELETE_BELOW = "DELETE FROM records WHERE key >= ? AND key < ?"
_EXPIRE = "DELETE FROM records WHERE key >= ? AND key < ? AND at < ?"

_Operation = tuple[str, tuple[Any, ...], "Future[Any]"]


class SQLiteStore:
    """A store in one SQLite file (WAL), written by a thread of its own. Only the file's owner may read it.

    What comes while a commit is under way shares the next one. `put` is done after the commit has reached the disk.

    Args:
        path: the file; made if it is not there. One node at a time.
        durability: `power` survives a power cut (fsync at each commit); `process` the end of the process, `kill -9`
            included, and is some hundred times quicker on a slow disk.
        max_bytes: the store is full when the file has this size; as much as the disk holds if left out.
        results_kept_s: how long results of keyed activities are kept.
        busy_s: how long to wait for another program that holds the file's lock.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Literal["power", "process"] = "power",
        max_bytes: int | None = None,
        results_kept_s: float = RESULTS_KEPT_S,
        busy_s: float = 5.0,
    ) -> None:
        if durability not in ("power", "process"):
            raise ValueError(f"durability must be 'power' or 'process', not {durability!r}")
        self.path = Path(path)
        self._durability = durability
        self._max_bytes = max_bytes
        self._results_kept_s = results_kept_s
        self._busy_s = busy_s
        self._operations: SimpleQueue[_Operation | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: AbstractEventLoop | None = None
        self._fault: StoreFault | None = StoreFault(self._name, "it is not open")
        self.commits = 0
        """Transactions that have been committed; may be read from any thread."""
        self.written = 0
        """Records put or deleted in them."""

    @property
    def _name(self) -> str:
        return f"the store {self.path}"

    def open(self) -> Future[None]:
        """Start the writer thread and make the table. Fails with StoreFault when the file cannot be written."""
        if self._thread is not None:
            raise StoreFault(self._name, "it is open already: a store belongs to one node at a time")
        self._loop = asyncio.get_running_loop()
        self._fault = None
        self._thread = threading.Thread(target=self._write, name="observe:store", daemon=True)
        opened = self._ask("open")
        self._thread.start()
        return opened

    def put(self, record: Record) -> Future[None]:
        if len(record.state) + len(record.message or b"") > MAX_RECORD_BYTES:
            raise StoreFull(self._name, f"the record {record.key} has more than {MAX_RECORD_BYTES:,} bytes")
        return self._ask(
            "put",
            record.key,
            record.class_name,
            record.state,
            record.message,
            record.generation,
            record.at,
            record.start,
            record.version,
        )

    def get(self, key: str) -> Future[Record | None]:
        return self._ask("get", key)

    def delete(self, key: str, *, below: str = "") -> Future[None]:
        return self._ask("delete", key, below)

    def scan(self, prefix: str, after: str = "", limit: int = 1000) -> Future[list[Record]]:
        return self._ask("scan", after, prefix, prefix + "\U0010ffff", limit)

    def close(self) -> Future[None]:
        """Commit what is left, and end the thread."""
        if self._thread is None:
            future = asyncio.get_running_loop().create_future()
            future.set_result(None)
            return future
        closed = self._ask("close")
        self._fault = StoreFault(self._name, "it is closed")
        self._operations.put(None)
        self._thread = None
        return closed

    def _ask(self, what: str, *values: Any) -> Future[Any]:
        loop = self._loop or asyncio.get_running_loop()
        future: Future[Any] = loop.create_future()
        if self._fault is not None:
            future.set_exception(self._fault)
        else:
            self._operations.put((what, values, future))
        return future

    # -- The writer thread

    def _write(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while True:
                batch = self._take()
                if batch is None:
                    return
                if connection is None:
                    connection, outcomes = self._connect(batch)
                else:
                    outcomes = self._commit(connection, batch)
                if connection is not None and batch[-1][0] == "close":
                    connection.close()  # before anybody is told: the file is free then
                self._tell(batch, outcomes)
        finally:
            if connection is not None:
                connection.close()

    def _take(self) -> list[_Operation] | None:
        """What has come meanwhile, or the next thing to come; None to end."""
        first = self._operations.get()
        if first is None:
            return None
        batch = [first]
        # The first operation opens the file, and the last closes it: each on its own.
        with suppress(Empty):
            while len(batch) < BATCH and batch[-1][0] not in ("open", "close"):
                after = self._operations.get_nowait()
                if after is None:
                    break
                batch.append(after)
        return batch

    def _connect(self, batch: list[_Operation]) -> tuple[sqlite3.Connection | None, list[Any]]:
        connection: sqlite3.Connection | None = None
        with suppress(OSError):  # what is wrong with the path, SQLite says as well
            # States are nobody else's business. SQLite gives its other files the mode of the first.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            connection = sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if self._durability == 'power' else 'NORMAL'}")
            if self._max_bytes is not None:
                (page_size,) = connection.execute("PRAGMA page_size").fetchone()
                connection.execute(f"PRAGMA max_page_count={max(1, self._max_bytes // page_size)}")
            connection.execute(_TABLE)
            connection.execute("BEGIN IMMEDIATE")  # a file that can only be read is noticed now
            connection.execute(_EXPIRE, (RESULT, RESULT + "\U0010ffff", wall_s() - self._results_kept_s))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            fault = self._translated(error)
            self._fault = fault
            return None, [fault] * len(batch)
        return connection, [None] * len(batch)

    def _commit(self, connection: sqlite3.Connection, batch: list[_Operation]) -> list[Any]:
        """One transaction for all; when it fails, one for each, so that only those fail that must."""
        try:
            return self._transact(connection, batch)
        except Exception as error:
            if len(batch) == 1:
                return [self._translated(error)]
        outcomes: list[Any] = []
        for operation in batch:
            try:
                outcomes += self._transact(connection, [operation])
            except Exception as error:
                outcomes.append(self._translated(error))
        return outcomes

    def _transact(self, connection: sqlite3.Connection, batch: list[_Operation]) -> list[Any]:
        writes = sum(what in ("put", "delete") for what, _, _ in batch)
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            outcomes = [self._execute(connection, what, values) for what, values, _ in batch]
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself when the disk is full.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        if writes:
            self.commits += 1
            self.written += writes
        return outcomes

    def _execute(self, connection: sqlite3.Connection, what: str, values: tuple[Any, ...]) -> Any:
        if what == "put":
            connection.execute(_PUT, values)
            return None
        if what == "get":
            row = connection.execute(_GET, values).fetchone()
            return None if row is None else Record(*row)
        if what == "scan":
            return [Record(*row) for row in connection.execute(_SCAN, values)]
        if what == "delete":
            key, below = values
            connection.execute("DELETE FROM records WHERE key = ?", (key,))
            if below:
                connection.execute(_DELETE_BELOW, (below, below + "\U0010ffff"))
        return None

    def _translated(self, error: Exception) -> StoreFault:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return StoreFull(self._name, f"there is no room left ({error}); make room or raise max_bytes")
        if isinstance(error, sqlite3.DatabaseError) and "locked" in str(error):
            return StoreFault(self._name, f"another program has held its lock for {self._busy_s:g} s")
        if not isinstance(error, sqlite3.Error):
            return StoreFault(self._name, f"{type(error).__name__}: {error}")
        return StoreFault(self._name, f"{error}; see that the file can be written and is a store")

    def _tell(self, batch: list[_Operation], outcomes: list[Any]) -> None:
        assert self._loop is not None
        # A closed loop has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_resolve, [future for _, _, future in batch], outcomes)


def _resolve(futures: list[Future[Any]], outcomes: list[Any]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue  # whoever waited was cancelled
        if isinstance(outcome, StoreFault):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
