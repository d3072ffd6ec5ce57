"""Every action on an agent, in every role, at every level of containment: who may do it, and what comes of it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from observe.probe import Probe, keyfiles
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair
from observe.probe.keys import RANK
from observe.probe.wire_actions import VERBS, AgentCommand
from observe.probe.wire_base import Role
from observe.probe.wire_table import Query
from observe.runtime import Agent, Budget, ChildSpec, Ladder, MemoryStore, Node, Park
from observe.runtime.approvals import Approval
from observe.runtime.fences import LEVELS, Level
from tests.probe.live import eventually, private_runtime

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "containment.md"

MORE: Final[dict[str, dict[str, Any]]] = {
    "send": {"message": "tool:look"},
    "mailbox": {"do": "drop", "everything": True},
    "edit": {"field": "count", "value": 7},
    "contain": {"level": "monitored"},
}
"""What actions need beside the agent."""

NUMBERS: Final = count(1)

BUSY: Final = {"cancel_activity": "tool:look", "approve": "ask", "refuse": "ask"}
"""What the agent is in when they are tried; when the others are, it waits for messages."""


class Clerk(Agent):
    restricted_tools = ("tool:look",)

    def init(self) -> None:
        self.count = 0

    async def handle(self, message: Any) -> None:
        asked = Approval("may I?") if message == "ask" else None
        async with self.activity("tool:look", approval=asked):
            await asyncio.sleep(60)


def table() -> dict[str, dict[str, str]]:
    """By action and level what the document says."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(LEVELS, row[2:], strict=True)) for row in rows if len(row) == 2 + len(LEVELS)}


def role_of(action: str) -> str:
    return "operator" if action == "kill" else VERBS[action][0]


def actions() -> list[str]:
    return ["kill", *(verb for verb, (_, model) in VERBS.items() if issubclass(model, AgentCommand))]


@pytest.fixture
async def bench(
    tmp_path: Path,
) -> AsyncIterator[tuple[Node, dict[str, NodeClient]]]:
    """A node that others reach by name and port, and a client in each role."""
    keys = tmp_path / "keys"
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch), socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        patch.setenv("OBSERVE_CONFIG_DIR", str(keys))
        names: dict[str, Role] = {
            "viewer": "viewer",
            "viewer-2": "viewer",
            "operator": "operator",
            "admin": "admin",
        }
        for name, role in names.items():  # two viewers: what is denied to one key is counted
            keyfiles.authorise(keys, make_key_pair(keys / name).public, role, name)
        keyfiles.trust(keys, "127.0.0.1", make_key_pair(keys / NODE_KEY).public)
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(Node("desk", intensity=1000, store=MemoryStore()))
            probe = Probe(
                node, placement="thread", listen=f"tcp://127.0.0.1:{port}", audit=keys / "audit", tick_s=0.05
            )
            await stack.enter_async_context(probe)
            clients = {}
            for name, role in names.items():
                shutil.copy(keys / name, keys / CLIENT_KEY)
                client = await stack.enter_async_context(connect(f"desk@127.0.0.1:{port}", timeout_s=20.0))
                assert client.role == role
                clients[name] = client
            yield node, clients


async def said(client: NodeClient, action: str, agent: int) -> str:
    """`done`, `begun`, or the code of the refusal."""
    try:
        if action == "kill":
            return "done" if (await client.kill(agent)).done else "begun"
        acted = await client.act(action, agent=agent, **MORE.get(action, {}))
    except RemoteError as error:
        return error.code
    return "done" if acted.done else "begun"


async def at(node: Node, level: Level, message: str | None) -> Agent:
    """An agent at this level, which was in an activity when it was brought there, or waited for messages."""
    spec = ChildSpec(
        Clerk,
        name=f"clerk-{next(NUMBERS)}",
        checkpoint="each_message",
        ladder=Ladder(Park()),
        budget=Budget(tokens=100),
    )
    ref = await node.supervisor.start_child(spec)
    agent = node.control.find(ref.pid)
    if message is not None:
        ref.cast(message)
        await eventually(lambda: asyncio.sleep(0.002, agent._o_activities), bool)
    node.govern().containment.contain(agent, level)
    if level == "killed":
        await ref.wait_exit()
    return agent


async def test_every_action_at_each_level_in_each_role(bench: tuple[Node, dict[str, NodeClient]]) -> None:
    """The role decides first, whatever the level; then the level, as the document has it."""
    node, clients = bench
    assert set(table()) == set(actions()), "each action has its row in docs/containment.md"
    made = {
        (action, level, role): await at(node, level, BUSY.get(action))
        for action in actions()
        for level in LEVELS
        for role in RANK
    }
    live = sum(level != "killed" for _, level, _ in made)
    await eventually(
        lambda: clients["viewer"].agents(Query(filter="class=Clerk", limit=1)),
        lambda page: page.matched == live,
    )
    found = {}
    for number, ((action, level, role), agent) in enumerate(made.items()):
        who = "viewer-2" if role == "viewer" and number % 2 else role
        found[action, level, role] = await said(clients[who], action, agent.ref.pid)
    assert found == {
        (action, level, role): table()[action][level] if RANK[role] >= RANK[role_of(action)] else "forbidden"
        for action, level, role in made
    }
