"""The demo's sessions against a model that fails in every way: nothing is lost and nothing is done twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from observe.examples.shop import moods, orders, questions, sessions
from observe.examples.shop.chat import ChatModel, Endpoint, ModelCut, ModelGarbled, ModelLimited, ModelRefused
from observe.examples.shop.ledger import Ledger
from observe.examples.shop.model_server import MODEL, ModelServer
from observe.examples.shop.policies import policy_file
from observe.examples.shop.report import lost_calls
from observe.examples.shop.scout import NOWHERE, TOPICS, Scout
from observe.examples.shop.sessions import Session, Team
from observe.examples.shop.tools import DocumentSearch, ModelGate, OrderDesk
from observe.runtime import Budget, ChildSpec, Crash, Instrument, Node, Supervisor, actions
from observe.runtime.approvals import Person
from observe.runtime.policies import Policies
from observe.runtime.policy_set import reader

SESSIONS = 4


class Crashes(Instrument):
    """Keeps the crashes of a node."""

    def __init__(self) -> None:
        self.seen: list[Crash] = []

    def on_crash(self, crash: Crash) -> None:
        self.seen.append(crash)


class LittleShop:
    """A node with a few impatient sessions, and a model server to be mean to them."""

    def __init__(self, directory: Path, server: ModelServer, timeout_s: float) -> None:
        self.directory = directory
        self.server = server
        self.ledger = Ledger(directory / "ledger.db")
        self.model = ChatModel(Endpoint(f"http://127.0.0.1:{server.port}/v1", MODEL, timeout_s=timeout_s))
        self.node = Node("little-shop", intensity=1000)
        self.crashes = Crashes()

    async def open(self) -> None:
        await self.node.start()
        self.node.instruments.add(self.crashes)
        database = self.directory / "shop.db"
        self.team = team = Team(
            self.ledger, self.model, lambda item, price: price, think_s=0.01, gates=1, orders=1, search=1
        )
        await self.node.spawn(ModelGate, name="model-1", restart="permanent")
        await self.node.spawn(OrderDesk, database, name="orders-1", restart="permanent")
        await self.node.spawn(DocumentSearch, database, name="search-1", restart="permanent")
        children = [
            ChildSpec(Session, (number, team), name=f"session-{number}") for number in range(SESSIONS)
        ]
        await self.node.spawn(Supervisor, children, name="desk", intensity=1000, period_s=1.0)

    async def close(self) -> None:
        await self.node.stop()
        await self.model.close()
        self.ledger.close()

    def column(self, name: str) -> list[int]:
        with closing(sqlite3.connect(self.directory / "ledger.db")) as ledger:
            return [row[0] for row in ledger.execute(f"SELECT {name} FROM sessions ORDER BY name")]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what changes is a database
                await asyncio.sleep(0.01)

    async def advance(self, rounds: int = 1) -> None:
        """Wait until each session has answered so many more customers."""
        goal = [done + rounds for done in self.column("round")] or [rounds] * SESSIONS
        await self.until(lambda: all(map(int.__ge__, self.column("round"), goal)))

    def refunds(self) -> list[float]:
        """What was paid back for espresso machines."""
        with closing(sqlite3.connect(self.directory / "shop.db")) as shop:
            return [row[0] for row in shop.execute("SELECT amount FROM refunds WHERE amount > 100")]

    def told(self, text: str) -> int:
        """How many turns that are still there hold a text."""
        with closing(sqlite3.connect(self.directory / "ledger.db")) as ledger:
            query = "SELECT count(*) FROM turns WHERE message LIKE ?"
            return int(ledger.execute(query, (f"%{text}%",)).fetchone()[0])

    def harm(self) -> dict[str, Any]:
        """What must not be: tool calls that were passed over, or carried out twice."""
        with closing(sqlite3.connect(self.directory / "ledger.db")) as ledger:
            lost = lost_calls(ledger)
        with closing(sqlite3.connect(self.directory / "shop.db")) as shop:
            twice = shop.execute("SELECT key FROM effects GROUP BY key HAVING count(*) > 1").fetchall()
        return {"lost": lost, "twice": twice}


@pytest.fixture
async def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[LittleShop]:
    """The shop. A test that is run with the mood `hang` gets sessions that do not wait long."""
    callspec = getattr(request.node, "callspec", None)
    hangs = callspec is not None and callspec.params.get("mood") == moods.HANG
    monkeypatch.setattr(sessions, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(sessions, "LONGEST_PAUSE_S", 0.05)
    orders.build(tmp_path / "shop.db", seed=1)
    server = ModelServer(moods.Schedule.parse("healthy:3600"), pause_s=0.0)
    await server.start()
    shop = LittleShop(tmp_path, server, timeout_s=0.3 if hangs else 30.0)
    await shop.open()
    yield shop
    await shop.close()
    await server.close()


async def test_sessions_answer_customer_after_customer(shop: LittleShop) -> None:
    """Without trouble there is no crash, and the demo lives on."""
    await shop.advance(3)
    assert shop.crashes.seen == []
    assert shop.harm() == {"lost": 0, "twice": []}


@pytest.mark.parametrize(
    ("mood", "kind"),
    [
        (moods.MALFORMED, "ModelGarbled"),
        (moods.LIMITED, "ModelLimited"),
        (moods.HANG, "ModelSilent"),
        (moods.CUT, "ModelCut"),
        (moods.ERROR, "ModelRefused"),
    ],
)
async def test_a_session_survives_each_kind_of_fault(shop: LittleShop, mood: str, kind: str) -> None:
    """The step crashes, the supervisor restarts the session, it goes on from where it was."""
    await shop.advance()
    before = shop.column("steps")
    shop.server.fixed_mood = mood
    await shop.until(lambda: len(shop.crashes.seen) >= SESSIONS)
    shop.server.fixed_mood = None
    await shop.advance()
    assert {crash.kind for crash in shop.crashes.seen} == {kind}
    assert all(map(int.__gt__, shop.column("steps"), before))
    assert [shop.node.whereis(f"session-{number}") is not None for number in range(SESSIONS)] == [
        True
    ] * SESSIONS
    assert shop.harm() == {"lost": 0, "twice": []}


async def test_a_dear_refund_waits_for_a_person_and_a_refusal_is_told_the_customer(
    shop: LittleShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody else goes on meanwhile; what was granted is paid once, what was not is not."""
    approvals = shop.node.govern().approvals
    held = reader()(policy_file(shop.directory))
    shop.node.govern().set_judges((Policies(held.rules),))
    monkeypatch.setattr(questions, "DEAR_EVERY", 1)
    ann = Person("key-of-ann", "ann", "operator")
    await shop.until(lambda: len(approvals.waiting) == SESSIONS)
    first, second, *_ = approvals.waiting
    assert (first.name, first.said["amount"], first.policy) == ("tool:refund", 640.0, "large-refunds")
    approvals.decide(first.agent, 0, ann, True, "a known customer")
    approvals.decide(second.agent, 0, ann, False, "twice the price")
    await shop.until(lambda: len(shop.refunds()) == 1)
    await shop.until(lambda: shop.told("refused it: twice the price") == 1)
    monkeypatch.setattr(questions, "DEAR_EVERY", 1_000_000)

    async def refuse_the_others() -> None:
        while True:
            for one in approvals.waiting:
                if not one.answer.done():
                    approvals.decide(one.agent, one.number, ann, False, "")
            await asyncio.sleep(0.01)

    refusing = asyncio.create_task(refuse_the_others())
    await shop.advance()
    refusing.cancel()
    assert shop.refunds() == [640.0]
    assert shop.harm() == {"lost": 0, "twice": []}


async def test_the_scout_runs_away_is_isolated_by_itself_and_goes_on_when_it_is_let_out(
    shop: LittleShop,
) -> None:
    """Its state and its mailbox are kept; a new topic, a new budget, and it works again."""
    containment = shop.node.govern().containment
    spec = ChildSpec(Scout, (shop.team,), name="scout", budget=Budget(same_call=40, on_limit="isolated"))
    await shop.node.spawn(Supervisor, [spec], name="scouts")
    scout = shop.node.control.find("scout")
    assert isinstance(scout, Scout)
    await shop.until(lambda: containment.level_of(scout) == "isolated")
    assert scout.topic == NOWHERE
    assert set(scout.notes) == set(TOPICS)
    assert "budget same_call" in containment.describe(scout)
    scout.topic = "gift card"
    actions.reset_budget(shop.node, scout)
    tries = scout.tries
    containment.contain(scout, "none", by="ann")
    await shop.until(lambda: scout.tries > tries + 10)
    assert containment.level_of(scout) == "none"
    assert scout.topic in TOPICS


async def test_killed_sessions_and_tools_lose_nothing(shop: LittleShop) -> None:
    """An operator may kill anybody at any moment, also in the middle of a tool call."""
    for _ in range(10):
        await shop.advance()
        for name in ("orders-1", "session-1", "model-1"):
            agent = shop.node.whereis(name)
            if agent is not None:
                agent.exit("killed")
    await shop.advance()
    assert shop.harm() == {"lost": 0, "twice": []}


async def test_a_tool_call_that_is_repeated_gets_its_first_answer(tmp_path: Path) -> None:
    """Between the tool's work and the session's record of it there is a moment in which a session can die."""
    orders.build(tmp_path / "shop.db", seed=1)
    with closing(orders.Shop(tmp_path / "shop.db")) as shop:
        numbers = range(orders.FIRST_ORDER, orders.FIRST_ORDER + orders.ORDERS)
        first = next(
            (number, answer)
            for number in numbers
            if "return_number"
            in (answer := shop.do(f"s/1/{number}", "open_return", {"order_number": number}))
        )
        again = shop.do(f"s/1/{first[0]}", "open_return", {"order_number": first[0]})
        assert again == first[1]
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        assert database.execute("SELECT count(*) FROM returns").fetchone() == (1,)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("lookup_order", {"order_number": 1}),
        ("lookup_order", {}),
        ("lookup_order", {"order_number": [1, 2]}),
        ("open_return", {"order_number": "none"}),
        ("brew_coffee", {}),
    ],
)
def test_what_a_model_gets_wrong_is_an_answer_and_no_crash(
    tmp_path: Path, tool: str, arguments: dict[str, Any]
) -> None:
    """A real model invents order numbers and tools; it can correct itself only if it is told."""
    orders.build(tmp_path / "shop.db", seed=1)
    with closing(orders.Shop(tmp_path / "shop.db")) as shop:
        assert "error" in shop.do("key", tool, arguments)


def test_a_search_finds_an_article_whatever_the_customer_types(tmp_path: Path) -> None:
    """The index has operators of its own; quotes and dashes of customers are none."""
    orders.build(tmp_path / "shop.db", seed=1)
    with closing(orders.Shop(tmp_path / "shop.db")) as shop:
        found = shop.do("1", "search_documents", {"query": "when does my refund arrive?"})
        assert found["documents"][0]["title"] == "When a refund arrives"
        odd = shop.do("2", "search_documents", {"query": '"refund" - (NEAR* AND ; DROP'})
        assert odd["documents"]
        assert shop.do("3", "search_documents", {"query": "?"}) == {"documents": []}


async def test_each_fault_of_a_model_has_its_own_error(tmp_path: Path) -> None:
    """The crash list of the console groups by type: five troubles must look like five."""
    server = ModelServer(moods.Schedule.parse("healthy:3600"), pause_s=0.0)
    model = ChatModel(Endpoint(f"http://127.0.0.1:{await server.start()}/v1", MODEL, timeout_s=5.0))
    question = [{"role": "user", "content": "Where is order 10001?"}]
    expected = {
        moods.MALFORMED: ModelGarbled,
        moods.LIMITED: ModelLimited,
        moods.CUT: ModelCut,
        moods.ERROR: ModelRefused,
    }
    try:
        for mood, error in expected.items():
            server.fixed_mood = mood
            with pytest.raises(error):
                await model.answer(question, [])
        server.fixed_mood = None
        assert (await model.answer(question, []))["content"]
    finally:
        await model.close()
        await server.close()


def test_a_database_of_an_agent_that_was_killed_is_closed_by_whoever_collects_it(tmp_path: Path) -> None:
    """Garbage is collected in any thread; the database must not stay open because it was opened in another one."""
    orders.build(tmp_path / "shop.db", seed=1)
    shop = orders.Shop(tmp_path / "shop.db")
    database = shop._db
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(shop._close).result()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")
