"""The shop's own database: orders, returns, the handbook's index, and a journal of what the tools have done.

orders     what was bought, and where it is
returns    the side effect that must not happen twice
refunds    money that was paid back: the other one
handbook   the articles, in a full-text index
journal    the answer given to each tool call, under the caller's key: who repeats a call gets the same answer
effects    a row each time a tool really ran: proof that no key stands here twice
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from observe.examples.shop.handbook import ARTICLES

ORDERS: Final = 2000
FIRST_ORDER: Final = 10_000
MACHINES: Final = 20
"""The last orders: espresso machines, dear enough that somebody is asked before the money goes back."""
KEPT_CALLS: Final = 50_000
"""Journal entries that stay. A session repeats a call within seconds; these are the calls of an hour."""

ITEMS: Final = (
    ("kettle", 49.0),
    ("toaster", 39.0),
    ("coffee grinder", 89.0),
    ("teapot", 28.0),
    ("bread knife", 24.5),
    ("cast-iron pan", 64.0),
    ("set of towels", 32.0),
    ("apron", 19.0),
    ("kitchen scale", 21.0),
    ("storage jars", 27.5),
)
MACHINE: Final = ("espresso machine", 640.0)
STATUSES: Final = ("being packed", "shipped", "delivered", "delivered", "delivered", "late")
FIRST_NAMES: Final = (
    "Ada",
    "Bruno",
    "Chiara",
    "Deniz",
    "Edda",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kaya",
    "Lev",
)

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, price REAL NOT NULL,
    status TEXT NOT NULL, ordered_on TEXT NOT NULL, tracking TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS returns (id INTEGER PRIMARY KEY, order_number INTEGER NOT NULL, key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refunds (
    id INTEGER PRIMARY KEY, order_number INTEGER NOT NULL, amount REAL NOT NULL, key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tool TEXT NOT NULL, answer TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS effects (id INTEGER PRIMARY KEY, key TEXT NOT NULL, tool TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS handbook USING fts5(title, text, tokenize = 'porter');
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a database of the demo so that a killed process loses nothing that was committed.

    `synchronous = OFF` leaves the moment of writing to the operating system: only a power failure could lose
    something, and no commit waits for a disk while 400 sessions wait for their scheduler.
    """
    # Used on the scheduler's thread alone; but of an agent that was killed, `weakref.finalize` closes it in whichever
    # thread happens to collect garbage.
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # for this one SQLite does not wait: it may be locked
        connection.execute("PRAGMA synchronous = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done inside, or nothing of it; and no other agent has a turn until it is decided.

    With `Node(preempt=True)` a step can be frozen between any two statements of its own, and a transaction that is open
    meanwhile locks everybody else out. Inside a `with` block it is not frozen, nor in what contextlib calls.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def build(path: Path, seed: int) -> None:
    """Make the database, the same for the same seed. Does nothing to one that exists."""
    connection = connect(path)
    try:
        connection.executescript(SCHEMA)
        if connection.execute("SELECT count(*) FROM orders").fetchone()[0]:
            return
        chance = random.Random(seed)
        with transaction(connection):
            connection.executemany("INSERT INTO handbook (title, text) VALUES (?, ?)", ARTICLES)
            for number in range(FIRST_ORDER, FIRST_ORDER + ORDERS + MACHINES):
                is_machine = number >= FIRST_ORDER + ORDERS
                item, price = MACHINE if is_machine else chance.choice(ITEMS)
                day = f"2026-{chance.randint(1, 11):02d}-{chance.randint(1, 28):02d}"
                status = "delivered" if is_machine else chance.choice(STATUSES)
                row = (number, chance.choice(FIRST_NAMES), item, price, status, day)
                tracking = f"TR{chance.randrange(10**9):09d}"
                connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, tracking))
    finally:
        connection.close()


class Shop:
    """What the tools can do. Each call carries a key; a key that was seen is answered from the journal."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)
        # An agent that is killed does not come to close it.
        self._close = weakref.finalize(self, self._db.close)
        self._done = 0

    def close(self) -> None:
        self._close()

    def do(self, key: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out a tool call once and answer it. What the caller got wrong is an answer too, under `error`."""
        known = self._db.execute("SELECT answer FROM journal WHERE key = ?", (key,)).fetchone()
        if known is not None:
            answer: dict[str, Any] = json.loads(known["answer"])
            return answer
        with transaction(self._db):  # either the effect and its answer are both there, or neither is
            answer = self._run(key, tool, arguments)
            self._db.execute("INSERT INTO effects (key, tool) VALUES (?, ?)", (key, tool))
            self._db.execute(
                "INSERT INTO journal (key, tool, answer, at) VALUES (?, ?, ?, ?)",
                (key, tool, json.dumps(answer), time.time()),
            )
        self._done += 1
        if self._done % 1000 == 0:
            self._forget()
        return answer

    def _run(self, key: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if tool == "lookup_order":
            return self._lookup(arguments.get("order_number"))
        if tool == "open_return":
            return self._return(arguments.get("order_number"), key)
        if tool == "pay_refund":
            return self._pay(arguments.get("order_number"), arguments.get("amount"), key)
        if tool == "search_documents":
            return self._search(str(arguments.get("query", "")))
        return {"error": f"there is no tool {tool}; there are lookup_order, open_return and search_documents"}

    def _lookup(self, number: Any) -> dict[str, Any]:
        row = self._db.execute("SELECT * FROM orders WHERE number = ?", (_number(number),)).fetchone()
        return dict(row) if row is not None else {"error": f"there is no order {number}"}

    def _return(self, number: Any, key: str) -> dict[str, Any]:
        row = self._db.execute(
            "SELECT item, price, status FROM orders WHERE number = ?", (_number(number),)
        ).fetchone()
        if row is None:
            return {"error": f"there is no order {number}"}
        if row["status"] != "delivered":
            return {"error": f"order {number} is {row['status']}; only a delivered one can be returned"}
        cursor = self._db.execute(
            "INSERT INTO returns (order_number, key) VALUES (?, ?)", (_number(number), key)
        )
        return {
            "return_number": f"R{cursor.lastrowid}",
            "order_number": number,
            "item": row["item"],
            "price": row["price"],
        }

    def _pay(self, number: Any, amount: Any, key: str) -> dict[str, Any]:
        cursor = self._db.execute(
            "INSERT INTO refunds (order_number, amount, key) VALUES (?, ?, ?)",
            (_number(number), float(amount), key),
        )
        return {"refund_number": f"M{cursor.lastrowid}"}

    def _search(self, query: str) -> dict[str, Any]:
        # Words only: the index has a query language of its own, in which a customer's dash is an operator.
        words = re.findall(r"[A-Za-z]{3,}", query)[:12]
        if not words:
            return {"documents": []}
        rows = self._db.execute(
            "SELECT title, snippet(handbook, 1, '', '', ' ... ', 40) AS text FROM handbook "
            "WHERE handbook MATCH ? ORDER BY bm25(handbook, 4.0) LIMIT 2",
            (" OR ".join(f'"{word}"' for word in words),),  # quoted: NEAR and AND are words too
        ).fetchall()
        return {"documents": [dict(row) for row in rows]}

    def _forget(self) -> None:
        for table in ("journal", "effects", "returns", "refunds"):
            self._db.execute(
                f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?", (KEPT_CALLS,)
            )


def _number(value: Any) -> int:
    """An order number as a model may write it: 10042, "10042" or "#10042"; -1 for anything else."""
    digits = re.sub(r"\D", "", str(value))
    return int(digits) if 0 < len(digits) <= 12 else -1
