"""What happened in a run, measured: from the ledger, from the shop's database, and from the node itself."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from observe.probe.client import NodeClient, connect
from observe.probe.wire_table import Query

SETTLE_S: Final = 5.0
"""A session that is being restarted is absent for a moment. One that is absent for so long is lost."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a run."""

    seconds: float
    sessions_started: int
    """Sessions that have ever begun, by the ledger."""
    sessions_alive: int
    """Of those, the ones alive on the node at the end."""
    sessions_lost: int
    """Started and not alive at the end. Must be 0."""
    steps_done: int
    steps_after_bad_spell: int
    """Steps done since the model recovered. 0 would mean that the sessions did not."""
    conversations: int
    """Customers who have their answer."""
    crashes: int
    restarts: int
    step_p50_s: float
    step_p99_s: float
    model_step_p50_s: float
    """Of the steps that asked the model, as are `model_step_p99_s`. The others take milliseconds."""
    model_step_p99_s: float
    tool_calls: int
    tool_calls_lost: int
    """Wanted by the model, passed over by the session. Must be 0."""
    tool_calls_repeated: int
    """Carried out more than once. Must be 0."""

    @property
    def is_good(self) -> bool:
        """No session lost, no tool call lost or repeated, and work went on after the bad spell."""
        harm = self.sessions_lost + self.tool_calls_lost + self.tool_calls_repeated
        return harm == 0 and self.sessions_started > 0 and self.steps_after_bad_spell > 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def steps_done(directory: Path) -> int:
    """Steps that the ledger has, of all sessions."""
    with closing(_open(directory / "ledger.db")) as ledger:
        return int(ledger.execute("SELECT coalesce(sum(steps), 0) FROM sessions").fetchone()[0])


async def measure(directory: Path, node: str, seconds: float, steps_before_recovery: int | None) -> Report:
    """Look at the databases and at the live node.

    `steps_before_recovery` is how many steps were done when the bad spell ended, None if there was none.
    """
    async with connect(node, timeout_s=10.0) as client:
        deadline = time.monotonic() + SETTLE_S
        while True:
            with closing(_open(directory / "ledger.db")) as ledger:
                started = {row[0] for row in ledger.execute("SELECT name FROM sessions")}
            rows = await _sessions(client)
            alive = {row["name"] for row in rows}
            steps = steps_done(directory)
            since = steps - (steps_before_recovery or 0)
            if (started <= alive and since > 0) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        crashes = (await client.crashes(limit=0)).total
    with closing(_open(directory / "ledger.db")) as ledger:
        times = _step_times(ledger, "%")
        model_times = _step_times(ledger, "model")
        conversations = ledger.execute("SELECT coalesce(sum(max(round - 1, 0)), 0) FROM sessions").fetchone()[
            0
        ]
        lost = lost_calls(ledger)
    with closing(_open(directory / "shop.db")) as shop:
        calls = shop.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()[0]
        repeated = shop.execute(
            "SELECT count(*) FROM (SELECT 1 FROM effects GROUP BY key HAVING count(*) > 1)"
        ).fetchone()[0]
    return Report(
        seconds=round(seconds, 1),
        sessions_started=len(started),
        sessions_alive=len(started & alive),
        sessions_lost=len(started - alive),
        steps_done=steps,
        steps_after_bad_spell=since,
        conversations=conversations,
        crashes=crashes,
        restarts=sum(row["restarts"] for row in rows),
        step_p50_s=round(_percentile(times, 0.50), 4),
        step_p99_s=round(_percentile(times, 0.99), 4),
        model_step_p50_s=round(_percentile(model_times, 0.50), 4),
        model_step_p99_s=round(_percentile(model_times, 0.99), 4),
        tool_calls=calls,
        tool_calls_lost=lost,
        tool_calls_repeated=repeated,
    )


async def _sessions(client: NodeClient) -> list[dict[str, Any]]:
    """All session agents alive on the node, page by page in the order of their pids."""
    rows: list[dict[str, Any]] = []
    while True:
        query = Query(
            sort="pid",
            descending=False,
            filter="class=Session",
            offset=len(rows),
            limit=1000,
            columns=["name", "restarts", "crashes"],
        )
        page = await client.agents(query)
        rows += [dict(zip(page.columns, row, strict=True)) for row in page.rows]
        if not page.rows or len(rows) >= page.matched:
            return rows


def lost_calls(ledger: sqlite3.Connection) -> int:
    """Tool calls in finished conversations that have no answer there."""
    wanted = answered = 0
    query = (
        "SELECT turns.message FROM turns JOIN sessions ON sessions.name = turns.session "
        "WHERE turns.round < sessions.round"
    )
    for (text,) in ledger.execute(query):
        message = json.loads(text)
        wanted += len(message.get("tool_calls") or ())
        answered += message["role"] == "tool"
    return wanted - answered


def _step_times(ledger: sqlite3.Connection, kind: str) -> list[float]:
    rows = ledger.execute("SELECT took_s FROM steps WHERE kind LIKE ? ORDER BY took_s", (kind,))
    return [row[0] for row in rows]


def _percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` of them lie; 0.0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
