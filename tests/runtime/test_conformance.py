"""Conformance: what agents do against machines of what they should do, followed over restarts and reloads."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observe.runtime import Agent, Denied, Node
from observe.runtime.approvals import Person
from observe.runtime.conformance import VIOLATION, Compiled, Machine, Program, read_pattern
from observe.runtime.governed import Governed
from observe.runtime.instrument import Instrument
from observe.runtime.policies import Rule
from observe.runtime.testing import eventually


class Clerk(Agent):
    restricted_tools = ("tool:look",)

    def init(self) -> None:
        self.status = "new"

    async def handle(self, message: Any) -> Any:
        match message:
            case ("status", text):
                self.status = text
            case ("fail", tool):
                try:
                    async with self.activity(tool):
                        raise ValueError(tool)
                except ValueError:
                    return "failed"
            case ("crash",):
                raise ValueError("crash")
            case ("tell", to):
                self.node.ref(to).cast("hello")
            case ("order", tool, order):
                return await self.do(tool, order=order)
            case str() if message.startswith("tool:"):
                return await self.do(message)
        return "done"

    async def do(self, tool: str, **said: Any) -> str:
        try:
            async with self.activity(tool, **said):
                return tool
        except Denied as error:
            return f"denied by {error.policy}"


class Record(Instrument):
    def __init__(self, node: Node) -> None:
        self.said: list[Governed] = []
        node.instruments.add(self)

    def on_governed(self, event: Governed) -> None:
        if event.what == "violation":
            self.said.append(event)

    @property
    def actual(self) -> list[str]:
        return [one.facts["actual"] for one in self.said]


async def do(machines: Sequence[Machine], *messages: Any) -> tuple[list[Any], list[str], Record]:
    """What an agent answers under these machines, the violations that were told, and the record."""
    async with Node("test", policies=machines) as node:
        record = Record(node)
        await node.spawn(Clerk, name="other")
        clerk = await node.spawn(Clerk, name="clerk")
        said = [await clerk.call(message) for message in messages]
        return said, record.actual, record


@pytest.mark.parametrize(
    ("machine", "messages", "actual"),
    [
        (
            Machine.only("p", "tool:ship", after="end tool:pay"),
            ["tool:ship", "tool:pay", "tool:ship", "tool:ship"],
            ["begin tool:ship"] * 2,
        ),
        (
            Machine.only("p", "tool:ship", after="end tool:pay", once=False),
            ["tool:ship", "tool:pay", "tool:ship", "tool:ship"],
            ["begin tool:ship"],
        ),
        (
            Machine.never("p", "tool:search", after="tool:delete", until="tool:undo"),
            ["tool:search", "tool:delete", "tool:search", "tool:undo", "tool:search"],
            ["begin tool:search"],
        ),
        (
            Machine.at_most("p", 2, "fail tool:*", until="end tool:*", per="name"),
            [("fail", "tool:a"), ("fail", "tool:b"), ("fail", "tool:a"), "tool:b", ("fail", "tool:a"), ("fail", "tool:b")],
            ["fail tool:a"],
        ),
        (
            Machine.only("p", "tool:refund", after="tool:check", per="order"),
            [("order", "tool:check", 1), ("order", "tool:refund", 2), ("order", "tool:refund", 1)],
            ["begin tool:refund"],
        ),
        (Machine.never("p", "message status", after="message look"), ["look", ("status", "x")], ["message status"]),
        (
            Machine.never("p", "state status=open", after="state status=closed", fields=("status",)),
            [("status", "open"), ("status", "closed"), "look", ("status", "open")],
            ["state status=open"],
        ),
        (Machine.at_most("p", 1, "send other"), [("tell", "other"), ("tell", "other")], ["send other"]),
        (Machine.at_most("p", 0, "tool:ship", agents=("Nobody",)), ["tool:ship"], []),
        (Machine.at_most("p", 0, "tool:ship", agents=("cler*",)), ["tool:ship"], ["begin tool:ship"]),
    ],
)  # fmt: skip
async def test_violations_are_told(machine: Machine, messages: list[Any], actual: list[str]) -> None:
    said, told, _ = await do([machine], *messages)
    assert told == actual
    assert not any("denied" in str(one) for one in said), "it only reports"


async def test_a_violation_says_what_was_expected_and_shows_the_sequence() -> None:
    machine = Machine.only("paid", "tool:ship", after="end tool:pay", reason="not for nothing")
    _, _, record = await do([machine], "tool:look", "tool:pay", "tool:ship", "tool:else", "tool:ship")
    [told] = record.said
    assert (told.policy, told.name, told.on) == ("paid", "clerk", "begin tool:ship")
    assert told.reason == "not for nothing; in 'closed': begin tool:ship, expected end tool:pay"
    assert told.facts == {
        "expected": "end tool:pay",
        "actual": "begin tool:ship",
        "state": "closed",
        "sequence": "end tool:pay, begin tool:ship, begin tool:ship",
    }


async def test_what_is_about_to_happen_is_denied_and_did_not_happen() -> None:
    """Neither is a machine moved by it, nor is it told twice."""
    machines = [
        Machine.only("paid", "tool:ship", after="end tool:pay", effect="deny"),
        Machine.at_most("silent", 0, "send other", effect="deny"),
    ]
    said, told, _ = await do(machines, "tool:ship", "tool:pay", "tool:ship", "tool:ship")
    assert said == ["denied by paid", "tool:pay", "tool:ship", "denied by paid"]
    assert told == ["begin tool:ship"] * 2
    async with Node("test", policies=machines) as node:
        clerk = await node.spawn(Clerk)
        await node.spawn(Clerk, name="other")
        with pytest.raises(Exception, match="a message to other"):
            await clerk.call(("tell", "other"))


async def test_who_deviates_is_contained() -> None:
    """Before what is about to begin, and after what has happened already."""
    machines = [
        Machine.never("deleted", "tool:search", after="tool:delete", effect="contain", level="restricted"),
        Machine.at_most("retries", 1, "fail tool:*", effect="contain", level="monitored", reason="too often"),
    ]
    async with Node("test", policies=machines) as node:
        clerk = await node.spawn(Clerk, name="clerk")
        containment, agent = node.govern().containment, node.control.find("clerk")
        record = Record(node)
        await clerk.call(("fail", "tool:a"))
        assert containment.level_of(agent) == "none"
        await clerk.call(("fail", "tool:a"))
        assert containment.level_of(agent) == "monitored"
        assert containment.describe(agent) == "monitored by policy retries: too often"
        await clerk.call("tool:delete")
        assert await clerk.call("tool:search") == "denied by policy deleted"
        assert containment.level_of(agent) == "restricted"
        assert record.actual == ["fail tool:a", "begin tool:search"]


async def test_a_crash_is_no_way_to_be_forgiven() -> None:
    machine = Machine.never("deleted", "tool:search", after="tool:delete", effect="deny")
    async with Node("test", policies=[machine]) as node:
        clerk = await node.spawn(Clerk, name="clerk", restart="permanent")
        await clerk.call("tool:delete")
        clerk.cast(("crash",))
        await clerk.wait_exit()
        await eventually(lambda: node.registry.get("clerk"))
        assert await node.ref("clerk").call("tool:search") == "denied by deleted"
        fresh = await node.spawn(Clerk, name="fresh")
        assert await fresh.call("tool:search") == "tool:search"


async def test_machines_that_stay_go_on_when_others_change() -> None:
    """A reload is none either; but a machine that was changed begins anew."""
    deleted = Machine.never("deleted", "tool:search", after="tool:delete", effect="deny")
    count = Machine.at_most("count", 1, "tool:mail", effect="deny")
    async with Node("test", policies=[deleted, count]) as node:
        clerk = await node.spawn(Clerk)
        for tool in ("tool:delete", "tool:mail"):
            await clerk.call(tool)
        assert node.policies is not None
        node.policies.replace([Machine.at_most("count", 2, "tool:mail", effect="deny"), deleted])
        assert await clerk.call("tool:search") == "denied by deleted"
        assert [await clerk.call("tool:mail") for _ in range(3)] == ["tool:mail"] * 2 + ["denied by count"]
        node.policies.replace([])
        assert await clerk.call("tool:search") == "tool:search"
        assert node.govern().conforming is None


async def test_an_approval_allows_one_refund_of_its_order() -> None:
    """A rule asks the person, the machine sees to it that there is no refund without."""
    policies: list[Rule | Machine] = [
        Rule("ask", "approve", "tool:refund", where={"order": "1"}),
        Machine.only("refunds", "tool:refund", after="approved tool:refund", per="order", effect="deny"),
    ]
    async with Node("test", policies=policies) as node:
        clerk = await node.spawn(Clerk)
        assert await clerk.call(("order", "tool:refund", 2)) == "denied by refunds"
        asking = asyncio.create_task(clerk.call(("order", "tool:refund", 1)))
        approvals = node.govern().approvals
        await eventually(lambda: approvals.waiting)
        approvals.decide(approvals.waiting[0].agent, 0, Person("k", "ann", "operator"), True, "")
        assert await asking == "tool:refund"


async def test_a_state_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval of yesterday is none."""
    now = [10**9]
    monkeypatch.setattr("observe.runtime.conforming.now_ns", lambda: now[0])
    for per in ("", "order"):
        machine = Machine.only("p", "tool:ship", after="tool:pay", within_s=60, per=per, effect="deny")
        async with Node("test", policies=[machine]) as node:
            clerk = await node.spawn(Clerk)
            for wait_s, said in ((59, "tool:ship"), (61, "denied by p")):
                await clerk.call(("order", "tool:pay", 1))
                now[0] += wait_s * 10**9
                assert await clerk.call(("order", "tool:ship", 1)) == said


async def test_conversations_are_bounded_and_counted() -> None:
    machine = Machine.never("p", "tool:b", after="tool:a", per="order", effect="deny")
    async with Node("test", policies=[machine]) as node:
        clerk = await node.spawn(Clerk)
        for order in range(300):
            await clerk.call(("order", "tool:a", order))
        conforming = node.govern().conforming
        assert conforming is not None
        assert conforming.forgotten == 300 - 256
        assert await clerk.call(("order", "tool:b", 299)) == "denied by p"
        assert await clerk.call(("order", "tool:b", 0)) == "tool:b"


TOOLS = ("tool:a", "tool:b", "tool:c")
PATTERNS = ("tool:a", "tool:b", "tool:*", "end tool:b", "fail *")
STATES = ("s", "t", "u")


def machines() -> st.SearchStrategy[Machine]:
    edges = st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from((*STATES, VIOLATION)), max_size=4)
    made = st.fixed_dictionaries(dict.fromkeys(STATES, edges))
    return made.filter(lambda one: any(VIOLATION in to.values() for to in one.values())).map(
        lambda one: Machine("p", one, "s")
    )


def by_hand(machine: Machine, events: Sequence[tuple[Any, str]]) -> list[int]:
    """At which events the machine is violated, read from its definition each time."""
    state, found = machine.start, []
    for number, (kind, name) in enumerate(events):
        for text, to in machine.states[state].items():
            wanted, pattern = read_pattern(text)
            if wanted == kind and fnmatchcase(name, pattern):
                if to == VIOLATION:
                    found.append(number)
                else:
                    state = to
                break
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    machine=machines(),
    events=st.lists(
        st.tuples(st.sampled_from(("begin", "end", "fail")), st.sampled_from(TOOLS)), max_size=30
    ),
)
def test_the_tables_agree_with_the_definition(machine: Machine, events: list[tuple[Any, str]]) -> None:
    compiled = Compiled(machine)
    program, state, found = Program([compiled]), 0, []
    for number, (kind, name) in enumerate(events):
        letters = program.letters[kind].get(name)
        for _, letter in program.learn(kind, name) if letters is None else letters:
            to = compiled.table[state][letter]
            if to < 0:
                found.append(number)
            else:
                state = to
    assert found == by_hand(machine, events)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: Machine("p", {}, "s"), "1 to 200 states"),
        (lambda: Machine("p", {"s": {"a": VIOLATION}}, "t"), "starts in 't'"),
        (lambda: Machine("p", {"s": {"a": "t"}}, "s"), "none of its states"),
        (lambda: Machine("p", {"s": {"a": "s"}}, "s"), "never say anything"),
        (lambda: Machine("p", {"s": {"end ": VIOLATION}}, "s"), "names nothing"),
        (lambda: Machine.at_most("p", 1, "a", effect="contain"), "a level"),
        (lambda: Machine.at_most("p", 1, "a", level="isolated"), "a level"),
        (lambda: Machine.at_most("p", 200, "a"), "counts to 199"),
        (lambda: Machine.at_most("p", 1, "state a=b"), "need `fields`"),
        (lambda: Machine.only("p", "a", after="b", within_s=0), "more than 0 seconds"),
        (lambda: Machine.at_most("p", 1, "a", agents="Clerk"), "lists of texts"),
        (lambda: Machine.at_most("", 1, "a"), "a policy's name"),
    ],
)
def test_a_machine_that_makes_no_sense_is_refused_in_words(made: Callable[[], Machine], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        made()


async def test_the_example_of_the_document_runs() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "conformance.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = compile(example, "conformance.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    await FunctionType(code, {"__name__": __name__})()
