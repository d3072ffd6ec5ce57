"""Several nodes as one: a client for each, tables merged row by row, and whoever is slow or gone waited for by nobody.

async with Fleet(read_nodes_file(Path("nodes.txt"))) as fleet:
    page = await fleet.agents(Query(sort="mailbox", limit=20))
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import zmq

from observe.probe.client import NodeClient, connect
from observe.probe.errors import AttachError, NodeUnreachable, RemoteError
from observe.probe.roster import MAX_NODES, Sought, read_nodes_file
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire_table import COLUMNS, MAX_ROWS, TEXT_COLUMNS, Query

RETRY_S: Final = 2.0
"""Between two attempts to find a node that has not been found yet."""

SILENT_PATIENCE_S: Final = 0.2
"""How long a node is waited for that was silent last time: the others have answered by then."""


WORST_FIRST: Final = (
    "holds_scheduler", "blocks", "holds_worker", "waiting_cycle", "one_cause", "restart_loop", "loop_lag", "mailbox_grows", "stuck",
)  # fmt: skip
"""Checks whose findings stop work, in this order; those of all others follow."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FleetFindings:
    """The findings of all nodes."""

    found: list[tuple[str, StandingFinding]]
    """Each with its node, the worst first."""
    missing: dict[str, str]
    """The nodes that are not in it, and why."""


@dataclass(frozen=True, slots=True)
class FleetPage:
    """A window of the agents of all nodes."""

    columns: list[str]
    """`node`, and those of the query."""
    rows: list[list[Any]]
    matched: int
    """Rows that passed the filter, on the nodes that answered."""
    total: int
    missing: dict[str, str] = field(default_factory=dict)
    """The nodes that are not in it, and why."""


class Fleet:
    """Clients of several nodes. A context manager; entering it waits for no node."""

    def __init__(self, nodes: Sequence[str | Sought], *, timeout_s: float = 3.0) -> None:
        """`timeout_s` is the longest that attaching to a node, or an answer, is waited for."""
        self._sought = {str(node): node for node in nodes}
        self.nodes = list(self._sought)
        """The nodes as they were named; by these names they are addressed."""
        if not 0 < len(self.nodes) <= MAX_NODES:
            raise ValueError(f"a fleet has 1 to {MAX_NODES} nodes, not {len(self.nodes)}")
        self._timeout_s = timeout_s
        self._clients: dict[str, NodeClient] = {}
        self._troubles = dict.fromkeys(self.nodes, "not attached yet")
        self._tried = {node: asyncio.Event() for node in self.nodes}
        self._silent: set[str] = set()
        """Nodes whose last answer did not come in time: until one does, the others do not wait for them again."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._stay_attached(node)) for node in self.nodes]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stay_attached(self, node: str) -> None:
        while True:
            try:
                async with connect(self._sought[node], timeout_s=self._timeout_s, reconnect=True) as client:
                    self._clients[node] = client
                    self._tried[node].set()
                    await asyncio.Event().wait()  # until cancelled; the client finds a lost node again itself
            except (AttachError, OSError, zmq.ZMQError) as error:  # the latter: no descriptors are left
                self._troubles[node] = str(error)
            finally:
                self._clients.pop(node, None)
                self._tried[node].set()
            await asyncio.sleep(RETRY_S)

    def client(self, node: str) -> NodeClient:
        """The client of one node: whatever is done is done to that node alone.

        Raises:
            KeyError: it is not attached at the moment; `troubles` says why.
        """
        return self._clients[node]

    async def tried(self, node: str) -> None:
        """Wait until it has been tried once to attach to this node."""
        await self._tried[node].wait()

    def sought(self, node: str) -> str | Sought:
        """What `connect` takes for this node: for a connection of one's own."""
        return self._sought[node]

    @property
    def troubles(self) -> dict[str, str]:
        """Of each node that is not attached, why."""
        return {node: self._troubles[node] for node in self.nodes if node not in self._clients}

    async def agents(self, query: Query | None = None) -> FleetPage:
        """The first rows of all nodes together, in the order of the query. Each node sends no more than may be shown.

        Raises:
            ValueError: the window ends beyond row 1,000.
            RemoteError: the nodes refuse the query, as for a column that does not exist.
        """
        asked = query or Query()
        stop = asked.offset + asked.limit
        if stop > MAX_ROWS:
            raise ValueError(f"a fleet shows its first {MAX_ROWS} rows; this window ends at {stop}")
        columns = list(COLUMNS if asked.columns is None else asked.columns)
        wanted = [*columns, asked.sort]  # the last one is for merging alone
        each = asked.model_copy(update={"offset": 0, "limit": stop, "columns": wanted})
        pages, failures = await self._ask(lambda client: client.agents(each))
        if not pages:
            for refusal in failures.values():
                if isinstance(refusal, RemoteError):
                    raise refusal
        rows = [[node, *row] for node, page in pages.items() for row in page.rows]
        known = [row for row in rows if row[-1] is not None]
        text = asked.sort in TEXT_COLUMNS
        known.sort(key=lambda row: row[-1].casefold() if text else row[-1], reverse=asked.descending)
        merged = known + [row for row in rows if row[-1] is None]  # the nameless last, as on one node
        return FleetPage(
            columns=["node", *columns],
            rows=[row[:-1] for row in merged[asked.offset : stop]],
            matched=sum(page.matched for page in pages.values()),
            total=sum(page.total for page in pages.values()),
            missing={node: str(error) for node, error in failures.items()},
        )

    async def findings(self) -> FleetFindings:
        """What the nodes have diagnosed of themselves, the worst first."""
        told, failures = await self._ask(lambda client: client.findings())
        found = [(node, finding) for node, one in told.items() for finding in one.findings]
        return FleetFindings(worst_first(found), {node: str(error) for node, error in failures.items()})

    async def _ask(
        self, request: Callable[[NodeClient], Awaitable[T]]
    ) -> tuple[dict[str, T], dict[str, AttachError]]:
        """Ask all nodes at once: the answers by node, and why others did not answer."""
        answers = await asyncio.gather(*(self._ask_one(node, request) for node in self.nodes))
        by_node = dict(zip(self.nodes, answers, strict=True))
        failures = {node: one for node, one in by_node.items() if isinstance(one, AttachError)}
        return {node: one for node, one in by_node.items() if not isinstance(one, AttachError)}, failures

    async def _ask_one(self, node: str, request: Callable[[NodeClient], Awaitable[T]]) -> T | AttachError:
        patience_s = SILENT_PATIENCE_S if node in self._silent else self._timeout_s
        try:
            async with asyncio.timeout(patience_s):
                await self._tried[node].wait()
                client = self._clients.get(node)
                if client is None:
                    return NodeUnreachable(self._troubles[node])
                answer = await request(client)
        except AttachError as error:
            return error
        except TimeoutError:
            self._silent.add(node)
            return NodeUnreachable(f"no answer within {self._timeout_s:g} s")
        self._silent.discard(node)
        return answer


def worst_first(found: Iterable[tuple[str, StandingFinding]]) -> list[tuple[str, StandingFinding]]:
    """Findings with their nodes: what stops work first, then by how many agents are concerned."""
    return sorted(found, key=lambda one: (_rank(one[1].check), -one[1].count, one[1].since, one[0]))


def _rank(check: str) -> int:
    return WORST_FIRST.index(check) if check in WORST_FIRST else len(WORST_FIRST)


__all__ = ["Fleet", "FleetFindings", "FleetPage", "read_nodes_file", "worst_first"]
