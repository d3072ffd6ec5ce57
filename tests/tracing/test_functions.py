"""Any function of the running service can be listened to, for a while, and is afterwards as it was."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from observe.runtime import Agent, Node, scheduler
from observe.runtime.testing import eventually
from observe.tracing import rates
from observe.tracing.errors import BadSelector
from observe.tracing.function_session import FunctionSession
from tests.tracing import elsewhere
from tests.tracing import functions_to_trace as these

MODULE = these.__name__


def residue() -> dict[str, Any]:
    """All that a session could leave behind."""
    found: dict[str, Any] = {
        "names": {name: id(value) for name, value in vars(these).items() if not name.startswith("__")},
        "methods": {name: id(value) for name, value in vars(these.Desk).items()},
        "elsewhere": {
            name: id(value) for name, value in vars(elsewhere).items() if not name.startswith("__")
        },
        "trace": (sys.gettrace(), sys.getprofile()),
    }
    if sys.version_info >= (3, 12):
        tools = [number for number in range(6) if sys.monitoring.get_tool(number) is not None]
        found["tools"] = tools
        found["events"] = [sys.monitoring.get_events(number) for number in tools]
    return found


@pytest.fixture(autouse=True)
def leaves_nothing() -> Any:
    before = residue()
    yield
    assert residue() == before
    sessions = [
        one for one in gc.get_objects() if type(one) is FunctionSession and one._hook and not one.ended
    ]
    assert not sessions


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("functions@localhost") as node:
        yield node


class Heard:
    """A session, and what it told."""

    def __init__(self, node: Node, function: str, **bounds: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.left_out = 0
        limits: dict[str, Any] = {"count": 100, "for_s": 60.0, "rate": 1000.0}
        self.session = FunctionSession(node, function, **(limits | bounds), sink=self._sink)
        self.place = self.session.start()

    def _sink(self, events: list[dict[str, Any]], left_out: int) -> bool:
        self.events += events
        self.left_out += left_out
        return True

    def end(self) -> list[dict[str, Any]]:
        """All calls."""
        self.session.stop()
        return [event for event in self.events if event["kind"] == "call"]


def heard(node: Node, function: str, **bounds: Any) -> Heard:
    return Heard(node, f"{MODULE}:{function}", **bounds)


async def test_a_call_shows_its_arguments_its_result_how_long_it_took_and_who_called(node: Node) -> None:
    calls = heard(node, "search")
    these.search("mug", 1, 2, limit=2, password="tiger2", colour="red")
    (call,) = calls.end()
    assert call["how"] == "returned"
    text = call["arguments"]["text"]
    assert "query='mug'" in text
    assert "limit=2" in text
    assert "colour" in text
    assert "tiger" not in str(call)
    assert call["value"]["text"] == "['mug', 'mug']"
    assert 0 <= call["took_s"] < 10
    assert call["caller"].startswith(f"{__name__}:test_a_call_shows")
    assert (call["pid"], call["n"]) == (0, 1)
    assert f"{MODULE}:search" in calls.place
    these.search("afterwards")
    assert len(calls.events) == 2, "the call and the end"


@pytest.mark.parametrize(
    "given", [["mug"], {"what": "mug"}, [["mug"]], {"what": ["mug"]}, ["mug", "x" * 5000]], ids=repr
)
async def test_what_changes_after_the_call_is_shown_as_it_was(node: Node, given: Any) -> None:
    """Calls are put into words when nobody waits for that; what they were given may be another by then."""
    calls = heard(node, "same")
    assert these.same(given) is given
    for inner in (given[0] if isinstance(given, list) else given["what"], given):
        if isinstance(inner, list | dict):
            inner.clear()
    (call,) = calls.end()
    for shown in (
        call["arguments"],
        call["value"],
    ):  # on a busy machine what is inside is cut, but it is not empty
        assert not {"[]", "{}"} & set(re.findall(r"\[\]|{}", shown["text"])), shown["text"]


async def test_whoever_took_the_function_by_its_name_is_heard_as_well(node: Node) -> None:
    calls = heard(node, "search")
    elsewhere.look("mug")
    (call,) = calls.end()
    assert call["caller"].startswith("tests.tracing.elsewhere:look")


@pytest.mark.parametrize(
    ("function", "do", "shows", "value"),
    [
        ("Desk.find", lambda: these.Desk("d").find("mug"), "what='mug'", "'d: mug'"),
        ("Corner.find", lambda: these.Corner("c").find("mug"), "what='mug'", "'c: mug'"),
        ("Desk.fixed", lambda: these.Desk.fixed(3), "x=3", "4"),
        ("Desk.made", lambda: these.Desk.made("n"), "name='n'", "Desk"),
        ("Desk.label", lambda: these.Desk("d").label, "()", "'<d>'"),
        ("Desk.__init__", lambda: these.Desk("d"), "name='d'", "None"),
    ],
)
async def test_methods_of_each_kind(
    node: Node, function: str, do: Callable[[], object], shows: str, value: str
) -> None:
    calls = heard(node, function)
    do()
    (call,) = calls.end()
    assert shows in call["arguments"]["text"]
    assert value in call["value"]["text"]


async def test_what_it_raises_is_shown_and_still_raised(node: Node) -> None:
    calls = heard(node, "fails")
    with pytest.raises(ValueError, match="no 7"):
        these.fails(7)
    (call,) = calls.end()
    assert (call["how"], call["error"]) == ("raised", "ValueError: no 7")
    assert "value" not in call


async def test_recursion_is_one_call_a_level(node: Node) -> None:
    calls = heard(node, "factorial")
    assert these.factorial(4) == 24
    found = calls.end()
    assert [call["value"]["text"] for call in found] == ["1", "2", "6", "24"]
    assert sum(":factorial" in call["caller"] for call in found) == 3


async def test_generators_and_coroutines_are_calls_from_their_first_step_to_their_end(node: Node) -> None:
    calls = heard(node, "numbers")
    assert list(these.numbers(3)) == [0, 1, 2]
    given_up = these.numbers(3)
    assert next(given_up) == 0
    given_up.close()  # type: ignore[attr-defined]  # it is a generator
    assert [call["how"] for call in calls.end()] == ["returned", "closed"]

    calls = heard(node, "waits")
    assert await these.waits(0.01) == "waited"
    task = asyncio.create_task(these.waits(60))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    open_one = asyncio.create_task(these.waits(60))
    await asyncio.sleep(0)
    first, second, third = calls.end()
    assert (first["value"]["text"], first["took_s"] >= 0.01) == ("'waited'", True)
    assert (second["how"], second["error"].partition(":")[0]) == ("raised", "CancelledError")
    assert third["how"] == "open"
    open_one.cancel()
    await asyncio.gather(open_one, return_exceptions=True)

    calls = heard(node, "stream")
    assert [number async for number in these.stream(3)] == [0, 1, 2]
    given_up_too = these.stream(3)
    async for _ in given_up_too:
        break
    await given_up_too.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator
    assert [call["how"] for call in calls.end()] == ["returned", "closed"]


async def test_decorated_functions_are_told_apart_although_they_share_the_decorator(node: Node) -> None:
    calls = heard(node, "plus")
    assert (these.plus(1, 2), these.minus(3, 1)) == (3, 2)
    (call,) = calls.end()
    assert call["value"]["text"] == "3"


async def test_a_text_that_calls_the_function_itself_does_not_go_round(node: Node) -> None:
    calls = heard(node, "search")
    these.search(these.Loud(), limit=1)  # type: ignore[arg-type]  # whatever the service passes
    assert len(calls.end()) == 1


class Finder(Agent):
    async def handle(self, message: Any) -> Any:
        return these.search(message)


async def test_the_agent_in_whose_step_it_was_called_is_named_and_threads_are(node: Node) -> None:
    finder = await node.spawn(Finder, name="finder")
    calls = heard(node, "search")
    await finder.call("mug")
    await asyncio.to_thread(these.search, "lamp")
    await eventually(lambda: len(calls.events) == 2)
    first, second = calls.end()
    assert (first["pid"], first["name"], first["class"]) == (finder.pid, "finder", "Finder")
    assert (second["pid"], second["thread"] != "") == (0, True)


async def test_it_ends_after_so_many_calls_and_counts_beyond_its_rate(node: Node) -> None:
    calls = heard(node, "search", count=3)
    for _ in range(10):
        these.search("mug")
    await eventually(lambda: calls.session.ended)
    assert calls.session.ended == "after 3 calls"
    assert len(calls.end()) == 3

    calls = heard(node, "search", rate=2.0)
    for _ in range(50):
        these.search("mug")
    made = len(calls.end())
    assert 2 <= made < 50
    assert made + calls.left_out == 50


async def test_it_ends_in_time_although_something_holds_the_scheduler(node: Node) -> None:
    calls = heard(node, "search", for_s=0.05, rate=10_000.0, count=100_000)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:  # as a step would that does not end
        these.search("mug")
        if time.monotonic() > until - 0.2:
            count = calls.session._told
            these.search("later")
            assert calls.session._told == count
    await eventually(lambda: calls.session.ended)


async def test_one_function_has_one_session(node: Node) -> None:
    calls = heard(node, "search")
    with pytest.raises(BadSelector, match="traced already"):
        heard(node, "search")
    calls.end()
    heard(node, "search").end()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("search", "write module:function"),
        ("tests.tracing.functions_to_trase:search", "did you mean tests.tracing.functions_to_trace"),
        (f"{MODULE}:serch", "did you mean search"),
        (f"{MODULE}:Desk", "Desk.__init__"),
        ("math:sqrt", "written in C"),
        (f"{MODULE}:search.limit", "is no class"),
    ],
)
async def test_what_cannot_be_traced_is_refused_with_what_may_be_meant(
    node: Node, function: str, says: str
) -> None:
    with pytest.raises(BadSelector, match=says):
        Heard(node, function)


async def test_calls_from_many_threads_are_all_heard(node: Node) -> None:
    calls = heard(node, "search", count=10_000, rate=10_000.0)

    def work() -> None:
        for _ in range(100):
            these.search("mug")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await eventually(lambda: calls.session._told == 400)
    assert len({call["n"] for call in calls.end()}) == 400


class Spinner(Agent):
    def handle(self, message: Any) -> int:
        total = 0
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            total += these.factorial(3)
        return total


@pytest.mark.timeout(120, method="thread")  # preemption needs the signal for itself
async def test_preemption_and_a_session_do_not_disturb_each_other() -> None:
    """Both look at running code: one freezes a step that spins, the other tells of the calls in it."""
    pytest.importorskip("greenlet")
    async with Node("spun@localhost", preempt=True) as node:
        spinner = await node.spawn(Spinner)
        other = await node.spawn(Finder)
        calls = heard(node, "factorial", count=100_000, rate=10_000.0)
        spinning = asyncio.create_task(spinner.call("go", timeout=60))
        answered = 0
        while not spinning.done():
            await other.call("mug", timeout=60)
            answered += 1
            await asyncio.sleep(0.01)
        assert await spinning > 0
        found = calls.end()
    assert answered > 3, "others ran meanwhile"
    assert found
    assert {call["how"] for call in found} <= {"returned", "open"}
    assert {call["class"] for call in found} == {"Spinner"}


@pytest.mark.parametrize("rate", [1000.0, 1.0])
@pytest.mark.parametrize(
    "function",
    ["observe.runtime.scheduler:current_agent", "observe.tracing.frozen:frozen", "observe.tracing.peek:type_name", "observe.tracing.rates:Rate.take",
     "threading:current_thread", "asyncio.base_events:BaseEventLoop.call_soon", "asyncio.base_events:BaseEventLoop.call_soon_threadsafe"],
)  # fmt: skip
async def test_functions_that_a_session_itself_uses_are_no_danger(
    node: Node, function: str, rate: float
) -> None:
    """Telling of a call calls them, of which it would have to tell, and so on: that once ended the node."""
    first, second = Heard(node, function, rate=rate), Heard(node, f"{MODULE}:same")

    def calls() -> None:
        for number in range(3):
            scheduler.current_agent()
            rates.Rate(1000.0).take()
            assert these.same(number) == number

    await asyncio.wait_for(asyncio.to_thread(calls), 30)
    calls()
    first.end()
    assert len(second.end()) == 6
