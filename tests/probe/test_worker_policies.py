"""The node's policies in its worker processes: the same rules and machines, also for those that start later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.reading import read
from observe.probe import Probe, connect
from observe.probe.client import NodeClient
from observe.probe.wire_table import Query
from observe.runtime import ChildSpec, Node
from observe.runtime.caps import Cap
from observe.runtime.conformance import Machine
from observe.runtime.policies import Rule
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Guarded

ROOT = Path(__file__).parents[2]

RULES: list[Rule | Machine] = [
    Rule("no pay", "deny", "tool:pay", agents=("Guarded",), reason="not by a machine"),
    Rule("looks", "allow", "tool:look"),
    Rule("asks", "approve", "tool:ask"),
    Rule("traps", "contain", "tool:trap", level="isolated"),
    Rule("letters", "deny", "vault", kind="send"),
    Machine.at_most("once", 1, "begin tool:once", effect="deny"),
]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[tuple[Node, NodeClient, Path]]:
    audit = tmp_path / "audit"
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        patch.syspath_prepend(str(ROOT))
        async with (
            Node("ruled", workers=1, policies=RULES, intensity=100) as node,
            Probe(node, placement="thread", tick_s=0.05, audit=audit),
            connect("ruled", timeout_s=20.0) as client,
        ):
            for name, where in (("shared", "worker"), ("own", "process")):
                await node.supervisor.start_child(ChildSpec(Guarded, name=name, isolation=where))  # type: ignore[arg-type]  # both are
            await eventually(
                lambda: client.agents(Query(filter="class=Guarded")), lambda page: page.matched == 2
            )
            yield node, client, audit


async def test_rules_and_machines_hold_there_and_count_here(bench: tuple[Node, NodeClient, Path]) -> None:
    node, client, audit = bench
    for name in ("shared", "own"):

        async def tried(*what: str, name: str = name) -> Any:
            return await node.ref(name).call(("try", what), timeout=30)

        assert "not by a machine" in await tried("tool", "tool:pay")
        assert await tried("tool", "tool:look") == ["tool:look"]
        assert "a message to vault" in await tried("cast", "vault")
        assert await tried("tool", "tool:once") == ["tool:look", "tool:once"]
        assert "once" in await tried("tool", "tool:once")
        assert "it is isolated" in await tried("tool", "tool:trap")

    async def counts() -> Any:
        held = await client.policies()
        rules = {one.policy: (one.fitted, one.denied) for one in held.rules}
        return rules, [one.violations for one in held.machines]

    rules, _ = await eventually(counts, lambda found: found[1] == [2])
    assert (rules["no pay"], rules["looks"], rules["letters"]) == ((2, 2), (2, 0), (2, 2))
    governing = node.govern()
    for name in ("shared", "own"):
        await eventually(
            lambda name=name: asyncio.sleep(0, governing.containment.level_of(node.control.find(name))),  # type: ignore[misc]  # a default of a lambda
            lambda found: found == "isolated",
        )

    async def denied() -> set[Any]:
        found = [one for one in read(audit)[0] if one.what == "governed_activity" and one.phase == "denied"]
        return {one.target["on"] for one in found}

    await eventually(denied, {"tool:pay", "tool:once", "tool:trap"}.__le__)


async def test_other_rules_hold_there_too_and_what_they_deny_is_cancelled(
    bench: tuple[Node, NodeClient, Path],
) -> None:
    node, _, _ = bench
    waiting = asyncio.ensure_future(node.ref("shared").call(("try", ("long", "tool:look")), timeout=60))
    await eventually(lambda: bench[1].inspect("shared"), lambda found: bool(found.activities))
    assert node.policies is not None
    node.policies.replace([Rule("none", "deny", "tool:*", reason="enough")])
    assert "enough" in await waiting
    assert "enough" in await node.ref("own").call(("try", ("tool", "tool:look")))
    await node.supervisor.start_child(ChildSpec(Guarded, name="late", isolation="process"))
    assert "enough" in await node.ref("late").call(("try", ("tool", "tool:look")))
    node.policies.replace([])
    await eventually(
        lambda: node.ref("late").call(("try", ("tool", "tool:look"))), lambda found: found == ["tool:look"]
    )


async def test_what_agents_of_several_processes_may_spend_together_is_counted_together(
    bench: tuple[Node, NodeClient, Path],
) -> None:
    node, client, _ = bench
    assert node.policies is not None
    node.policies.replace(
        [
            Cap("together", per="node", tool_calls=4),
            Cap("each", tool_calls=3),
            Cap("step", per="step", tool_calls=1),
        ]
    )

    async def tried(name: str) -> str:
        found = await node.ref(name).call(("try", ("tool", "tool:look")), timeout=30)
        return found if isinstance(found, str) else "done"

    own = await node.spawn(Guarded, name="here")
    await eventually(lambda: client.agents(Query(filter="name=here")), lambda page: page.matched == 1)
    assert own.pid

    async def spent() -> int:
        held = await client.policies()
        return held.caps[0].worst[0].tool_calls if held.caps[0].worst else 0

    # Each message is a step, and one call in each is what a step may do.
    for number, name in enumerate(("shared", "own", "here", "shared"), 1):
        assert await tried(name) == "done"
        await eventually(spent, number.__eq__)
    # One that has not heard of it yet may go on; nobody waits for another process before an activity.
    for name in ("shared", "own", "here"):
        said = await eventually(lambda name=name: tried(name), lambda found: found != "done")  # type: ignore[misc]  # a default of a lambda
        assert re.search(r"node: tool_calls \d of 4 used up", said)
    node.policies.replace([Cap("together", per="node", tool_calls=50)])
    assert await eventually(lambda: tried("own"), lambda found: found == "done")
    assert await spent() > 4, "what was spent stays, whatever the limit"
    node.policies.replace([Cap("together", per="node", tool_calls=4)])
    # A process that begins later knows what others have spent.
    await node.supervisor.start_child(ChildSpec(Guarded, name="late", isolation="process"))
    assert re.search(r"node: tool_calls \d of 4 used up", await tried("late"))
    held = await client.policies()
    assert held.caps[0].denied >= 1


async def test_what_an_agent_there_may_spend_in_a_step_is_renewed_with_the_next(
    bench: tuple[Node, NodeClient, Path],
) -> None:
    node, _, _ = bench
    assert node.policies is not None
    node.policies.replace([Cap("step", per="step", tool_calls=1), Cap("each", tool_calls=3)])
    shared = node.ref("shared")

    async def tools() -> str:
        found = await shared.call(
            ("both", ("try", ("tool", "tool:look")), ("try", ("tool", "tool:see"))), timeout=30
        )
        return str(found[1])

    said = await eventually(tools, lambda found: "used up" in found)
    assert "step: tool_calls 1 of 1 used up" in said
    assert "step: tool_calls 1 of 1 used up" in await tools()
    said = await eventually(tools, lambda found: "agent: tool_calls" in found)
    assert "agent: tool_calls 3 of 3 used up" in said


async def test_a_person_is_asked_about_what_an_agent_there_wants(
    bench: tuple[Node, NodeClient, Path],
) -> None:
    node, client, _ = bench
    assert node.policies is not None
    only_then = Machine.only("only then", "begin tool:once", after="approved tool:ask", effect="deny")
    node.policies.replace([Rule("asks", "approve", "tool:ask"), only_then])
    for number, name in enumerate(("shared", "own"), 1):
        assert "expected approved tool:ask" in await eventually(
            lambda name=name: node.ref(name).call(("try", ("tool", "tool:once")), timeout=30),  # type: ignore[misc]  # a default of a lambda
            lambda said: isinstance(said, str),
        )
        asking = asyncio.ensure_future(node.ref(name).call(("try", ("tool", "tool:ask")), timeout=30))
        listed = await eventually(client.approvals, lambda found: found.total == 1)
        [one] = listed.approvals
        assert (one.name, one.activity, one.policy) == (name, "tool:ask", "asks")
        await eventually(
            lambda: client.agents(Query(filter="activity=approval:tool:ask")), lambda page: page.matched == 1
        )
        acted = await client.approve(name, reason="known")
        assert "was granted" in acted.what
        done = await asking
        assert done[-1] == "tool:ask"
        assert await node.ref(name).call(("try", ("tool", "tool:once")), timeout=30) == [*done, "tool:once"]

        asking = asyncio.ensure_future(node.ref(name).call(("try", ("tool", "tool:ask")), timeout=30))
        await eventually(client.approvals, lambda found: found.total == 1)
        await client.refuse(name, reason="not twice")
        assert "has refused it: not twice" in await asking
        assert (await client.approvals()).total == 0

        async def counted() -> tuple[int, int]:
            [rule] = [one for one in (await client.policies()).rules if one.policy == "asks"]
            return rule.fitted, rule.denied

        await eventually(counted, (2 * number, number).__eq__)
    decided = (await client.approvals()).decided
    assert [one.outcome for one in decided] == ["refused", "granted"] * 2


async def test_what_waits_for_a_person_goes_with_its_agent(bench: tuple[Node, NodeClient, Path]) -> None:
    node, client, _ = bench
    for name in ("shared", "own"):
        node.ref(name).cast(("tool", "tool:ask"))
        await eventually(client.approvals, lambda found: found.total == 1)
        await client.kill(name, reason="it asks for too much")
        listed = await eventually(client.approvals, lambda found: found.total == 0)
        assert listed.decided[0].outcome == "given up"
        await eventually(
            lambda name=name: client.agents(Query(filter=f"name={name}")),  # type: ignore[misc]  # a default of a lambda
            lambda page: page.matched == 1,
        )


async def test_nobody_answers_in_time(bench: tuple[Node, NodeClient, Path]) -> None:
    node, client, _ = bench
    assert node.policies is not None
    node.policies.replace(
        [
            Rule("soon", "approve", "tool:ask", timeout_s=0.05),
            Rule("goes on", "approve", "tool:late", timeout_s=0.05, on_timeout="allow"),
        ]
    )
    for name in ("shared", "own"):

        async def tried(tool: str, name: str = name) -> Any:
            return await node.ref(name).call(("try", ("tool", tool)), timeout=30)

        assert "nobody has answered within 0.05 s" in await eventually(
            lambda tried=tried: tried("tool:ask"),  # type: ignore[misc]  # a default of a lambda
            lambda said: isinstance(said, str),
        )
        assert "tool:late" in await tried("tool:late")
    rules = {one.policy: (one.fitted, one.denied) for one in (await client.policies()).rules}
    assert rules["soon"][0] == rules["soon"][1] == 2
    assert rules["goes on"] == (2, 0)
