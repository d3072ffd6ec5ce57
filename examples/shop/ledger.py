"""What the sessions have done so far, in SQLite: written after each step, read when a session starts or restarts.

sessions   one row each: which round it is in, how often it was started, how many steps it has done
turns      the conversation of the round, one message a row
steps      how long each step took; the newest only
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from observe.examples.shop.orders import connect, transaction

Message = dict[str, Any]

KEPT_STEPS: Final = 20_000
"""Step times that stay: enough for percentiles, and no end of demo fills the disk."""
KEPT_ROUNDS: Final = 2
"""Rounds of a session whose conversation stays: the one at hand and the one before."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    name TEXT PRIMARY KEY, round INTEGER NOT NULL DEFAULT 0, starts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0, steps INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS turns (
    session TEXT NOT NULL, round INTEGER NOT NULL, seq INTEGER NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (session, round, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, took_s REAL NOT NULL);
"""


@dataclass
class Progress:
    """Where a session is."""

    round: int = 0
    """Which customer question it works on, from 0."""
    steps: int = 0
    failures: int = 0
    """Starts since the last step that was done: 0 on the first."""
    not_before: float = 0.0
    """Unix time before which the model does not want to hear from it."""
    turns: list[Message] = field(default_factory=list)


class Ledger:
    """One connection, used on the scheduler's thread: a transaction here takes some 50 microseconds."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)
        self._db.executescript(SCHEMA)
        self._recorded = 0

    def close(self) -> None:
        self._db.close()

    def begin(self, session: str) -> Progress:
        """Note that `session` starts, for the first time or again, and tell where it is."""
        with transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO sessions (name, failures) VALUES (?, -1)", (session,))
            self._db.execute(
                "UPDATE sessions SET starts = starts + 1, failures = failures + 1 WHERE name = ?", (session,)
            )
            row = self._db.execute("SELECT * FROM sessions WHERE name = ?", (session,)).fetchone()
            turns = self._db.execute(
                "SELECT message FROM turns WHERE session = ? AND round = ? ORDER BY seq",
                (session, row["round"]),
            ).fetchall()
        return Progress(
            round=row["round"],
            steps=row["steps"],
            failures=row["failures"],
            not_before=row["not_before"],
            turns=[json.loads(turn["message"]) for turn in turns],
        )

    def postpone(self, session: str, seconds: float) -> None:
        """Note that the model wants to be left alone, so that the session knows it after its restart."""
        self._db.execute(
            "UPDATE sessions SET not_before = ? WHERE name = ?", (time.time() + seconds, session)
        )

    def add_turn(self, session: str, progress: Progress, message: Message, kind: str, took_s: float) -> None:
        """Record a step and the message that it added. Both are there afterwards, or neither."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO turns VALUES (?, ?, ?, ?)",
                (session, progress.round, len(progress.turns), json.dumps(message)),
            )
            self._count(session, kind, took_s)
        progress.turns.append(message)
        progress.steps += 1
        progress.failures = 0

    def next_round(self, session: str, progress: Progress, question: list[Message], took_s: float) -> None:
        """Record that a question is answered, and begin the next."""
        following = progress.round + 1
        with transaction(self._db):
            self._db.execute("UPDATE sessions SET round = ? WHERE name = ?", (following, session))
            self._db.executemany(
                "INSERT INTO turns VALUES (?, ?, ?, ?)",
                [(session, following, seq, json.dumps(message)) for seq, message in enumerate(question)],
            )
            self._db.execute(
                "DELETE FROM turns WHERE session = ? AND round <= ?", (session, following - KEPT_ROUNDS)
            )
            self._count(session, "close", took_s)
        progress.round = following
        progress.turns = list(question)
        progress.steps += 1
        progress.failures = 0

    def _count(self, session: str, kind: str, took_s: float) -> None:
        self._db.execute("UPDATE sessions SET steps = steps + 1, failures = 0 WHERE name = ?", (session,))
        self._db.execute(
            "INSERT INTO steps (session, kind, at, took_s) VALUES (?, ?, ?, ?)",
            (session, kind, time.time(), took_s),
        )
        self._recorded += 1
        if self._recorded % 1000 == 0:
            self._db.execute("DELETE FROM steps WHERE id <= (SELECT max(id) FROM steps) - ?", (KEPT_STEPS,))
