"""What a cap of the node's policies comes to, as people see it: a finding, an event, records, and what `policies` tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from observe.audit.reading import read
from observe.probe import Probe, connect
from observe.probe.client import NodeClient
from observe.probe.wire_watches import Event
from observe.runtime import Agent, Denied, Node
from tests.probe.live import eventually, private_runtime

POLICIES = """\
version: 1
caps:
  - {policy: daily, per: tenant, cost: 10, every_s: 31536000, reason: so much was agreed}
"""


class Chatter(Agent):
    tenant = "acme"

    async def handle(self, cost: float) -> str:
        try:
            async with self.activity("model:chat") as chat:
                chat.usage(cost=cost)
        except Denied as error:
            return error.policy
        return "said"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[tuple[Node, NodeClient, Path]]:
    file = tmp_path / "shop.yaml"
    file.write_text(POLICIES)
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        async with (
            Node("capped", policies=file) as node,
            Probe(node, placement="thread", tick_s=0.05, audit=tmp_path / "audit"),
            connect("capped", timeout_s=20.0) as client,
        ):
            yield node, client, tmp_path


async def test_a_cap_that_is_nearly_used_up_is_a_finding_until_more_is_allowed(
    bench: tuple[Node, NodeClient, Path],
) -> None:
    node, client, folder = bench
    chatter = await node.spawn(Chatter, name="chatter")
    pushes = await client.watch_events(0.05)
    assert await chatter.call(8.0) == "said"
    told: list[Event] = []
    async for push in pushes:
        told += [event for event in push.data.events if " spends by " in event.text]
        if told:
            break
    (event,) = told
    assert event.text == "chatter (pid 2) spends by daily: tenant acme: cost 8 of 10; so much was agreed"

    async def standing() -> list[str]:
        return [one.text for one in (await client.findings()).findings if one.check == "budget_nearly_spent"]

    (text,) = await eventually(standing, bool)
    assert "daily: tenant acme: cost 8 of 10" in text
    assert await chatter.call(3.0) == "said"
    assert await chatter.call(1.0) == "daily"

    (cap,) = (await client.policies()).caps
    assert (cap.per, cap.limits, cap.effect, cap.denied) == ("tenant", {"cost": 10.0}, "deny", 1)
    (worst,) = cap.worst
    assert (worst.key, worst.cost, worst.share) == ("acme", 11.0, 1.1)

    (folder / "shop.yaml").write_text(POLICIES.replace("cost: 10", "cost: 100"))
    await client.reload_policies()
    assert await chatter.call(1.0) == "said"
    await eventually(standing, lambda found: not found)

    async def recorded() -> list[tuple[str, str]]:
        await asyncio.sleep(0)
        found = [
            one for one in read(folder / "audit")[0] if one.what in ("governed_cap", "governed_activity")
        ]
        return [(one.phase, str((one.outcome or {}).get("policy"))) for one in found]

    await eventually(recorded, [("completed", "daily"), ("completed", "daily"), ("denied", "daily")].__eq__)
