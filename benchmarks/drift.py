"""How often drift is found where nothing has changed, on the demo; and how soon where something has.

The demo's sessions work with a model that is well, thinking fast; each activity that ends is written down, in order, and then
told to `observe.probe.drift` as a node does. Every comparison that says "drifts" is a false positive. The same tape is
then told again with one session changed halfway, once for each way to change: that is what must be found.

    python -m benchmarks drift
    OBSERVE_DRIFT_SECONDS=600 python -m benchmarks drift
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import Result
from observe.examples.shop import orders, refunds
from observe.examples.shop.chat import ChatModel, Endpoint
from observe.examples.shop.ledger import Ledger
from observe.examples.shop.model_server import MODEL, ModelServer
from observe.examples.shop.moods import Schedule
from observe.examples.shop.service import Shop, plan
from observe.examples.shop.sessions import Team
from observe.probe.drift import Drift
from observe.runtime import Node
from observe.runtime.activity import Activity
from observe.runtime.agent import Agent
from observe.runtime.clock import now_us
from observe.runtime.instrument import Instrument

SECONDS = float(os.environ.get("OBSERVE_DRIFT_SECONDS", "60"))
SESSIONS = 30
THINK_S = 0.02
"""The demo's sessions think for 8 s between two steps: what they do is the same, in an hour instead of a minute."""
PAUSE_S = 0.01
"""And its model answers in a fifth of the time."""
PIECE = 20
AGENTS = 200
AGENT_EVENTS = 1000
CHANGED = 10
"""Sessions that are changed, one after the other."""


@dataclass(frozen=True, slots=True)
class Event:
    """An activity that has ended."""

    pid: int
    class_name: str
    goal: str
    name: str
    failed: bool
    took_us: int
    tokens: int


class Tape(Instrument):
    """Writes down activities."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        tokens = activity.input_tokens + activity.output_tokens
        took_us = max(now_us() - activity.since_us, 0)
        name = type(agent).__name__
        self.events.append(
            Event(agent.ref.pid, name, agent.goal, activity.name, error is not None, took_us, tokens)
        )


async def recorded(seconds: float) -> list[Event]:
    """What the demo's agents do in this time."""
    tape = Tape()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        orders.build(directory / "shop.db", 1)
        ledger = Ledger(directory / "ledger.db")
        server = ModelServer(Schedule.parse("healthy:1"), pause_s=PAUSE_S)
        model = ChatModel(Endpoint(f"http://127.0.0.1:{await server.start()}/v1", MODEL))
        team = Team(ledger, model, refunds.refund, think_s=THINK_S)
        try:
            async with Node("drift", watchdog_s=None) as node:
                node.instruments.add(tape)
                await node.spawn(Shop, plan(SESSIONS, team, directory / "shop.db"), name="shop")
                await asyncio.sleep(seconds)
        finally:
            await model.close()
            await server.close()
            ledger.close()
    return tape.events


def told(events: list[Event]) -> tuple[int, Counter[int], dict[int, int]]:
    """How often was compared, how often each agent was said to drift, and after how many of its events first."""
    drift = Drift()
    said: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    first: dict[int, int] = {}
    for one in events:
        seen[one.pid] += 1
        found = drift.activity(
            one.pid, one.class_name, one.name, one.failed, one.took_us, one.tokens, one.goal
        )
        if isinstance(found, tuple):
            said[one.pid] += 1
            first.setdefault(one.pid, seen[one.pid])
    return drift.compared, said, first


def resampled(events: list[Event]) -> list[Event]:
    """More agents than the demo has: each does what sessions did, in pieces of chance of `PIECE` activities at one goal."""
    chance = random.Random(1)
    rows: dict[tuple[int, str], list[Event]] = {}
    for one in events:
        rows.setdefault((one.pid, one.goal), []).append(one)
    pieces = [row[at : at + PIECE] for row in rows.values() for at in range(0, len(row) - PIECE + 1, PIECE)]
    made = [
        [replace(one, pid=pid) for _ in range(AGENT_EVENTS // PIECE) for one in chance.choice(pieces)]
        for pid in range(1, AGENTS + 1)
    ]
    return [one for together in zip(*made, strict=True) for one in together] if pieces else []


Change = Callable[[list[Event], random.Random], list[Event]]


def _other_tool(own: list[Event], chance: random.Random) -> list[Event]:
    return [replace(one, name="tool:refund") if chance.random() < 0.6 else one for one in own]


def _other_order(own: list[Event], chance: random.Random) -> list[Event]:
    names = [one.name for one in own]
    chance.shuffle(names)
    return [replace(one, name=name) for one, name in zip(own, names, strict=True)]


def _failures(own: list[Event], chance: random.Random) -> list[Event]:
    return [replace(one, failed=chance.random() < 0.5) for one in own]


def _slower(own: list[Event], _chance: random.Random) -> list[Event]:
    return [replace(one, took_us=8 * one.took_us) for one in own]


def _tokens(own: list[Event], _chance: random.Random) -> list[Event]:
    return [replace(one, tokens=6 * one.tokens) for one in own]


CHANGES: dict[str, tuple[str, Change]] = {
    "other_tool": ("of 10 activities 6 are refunds", _other_tool),
    "other_order": ("the same activities in an order of chance", _other_order),
    "failures": ("half of them fail", _failures),
    "slower": ("they take 8 times as long", _slower),
    "tokens": ("they use 6 times the tokens", _tokens),
}


def changed(events: list[Event], pid: int, change: Change) -> tuple[list[Event], int]:
    """The tape with one agent changed from halfway on, and how many events it had before."""
    places = [place for place, one in enumerate(events) if one.pid == pid]
    before = len(places) // 2
    after = places[before:]
    altered = list(events)
    for place, one in zip(after, change([events[at] for at in after], random.Random(pid)), strict=True):
        altered[place] = one
    return altered, before


def run() -> list[Result]:
    """Shares in percent, and activities until it is found."""
    events = asyncio.run(recorded(SECONDS))
    compared, said, _ = told(events)
    made = [
        Result("activities", len(events), "", note=f"of the demo in {SECONDS:g} s, {SESSIONS} sessions"),
        Result("comparisons", compared, "", note="of an agent's newest 100 with the baseline"),
        Result("false_positives", 100 * sum(said.values()) / max(compared, 1), "%", note="of comparisons"),
        Result(
            "false_agents", 100 * len(said) / max(len({one.pid for one in events}), 1), "%",
            note="of agents, ever said to drift",
        ),
    ]  # fmt: skip
    again, wrong, _ = told(resampled(events))
    share = 100 * sum(wrong.values()) / max(again, 1)
    made += [
        Result(
            "resampled", again, "", note=f"comparisons of {AGENTS} agents made of pieces of these sessions"
        ),
        Result("false_resampled", share, "%", note="of these"),
    ]
    usual = Counter(one.pid for one in events if one.class_name == "Session")
    pids = [pid for pid, _ in usual.most_common(CHANGED)]
    for name, (what, change) in CHANGES.items():
        after = []
        for pid in pids:
            altered, before = changed(events, pid, change)
            _, _, first = told(altered)
            if first.get(pid, 0) > before:
                after.append(first[pid] - before)
        made.append(
            Result(
                f"found_{name}",
                100 * len(after) / max(len(pids), 1),
                "%",
                note=f"of {len(pids)} sessions: {what}",
            )
        )
        if after:
            made.append(
                Result(
                    f"after_{name}", sorted(after)[len(after) // 2], "", note="activities later, the median"
                )
            )
    return made
