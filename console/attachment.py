"""The console's connection to its node: asks again and again for what is on the screen, and posts what it is told.

Rows are asked for, one request at a time, rather than subscribed to: so each answer is known to belong to the order,
filter and place that were asked for, and a slow node or network slows the asking down by itself.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Final, TypeVar

from textual.message import Message

from observe.console.columns import NAMES, PID, TEXT_COLUMNS, Row, row_of
from observe.console.messages import (
    Attached,
    Failed,
    FindingsArrived,
    Happened,
    LinkChanged,
    PageArrived,
    VitalsArrived,
)
from observe.console.state import MOST_ENDED, AgentsView, Identity
from observe.probe.client import ClientState, NodeClient, WatchPush
from observe.probe.errors import AttachError
from observe.probe.filters import quote
from observe.probe.wire import Vitals
from observe.probe.wire_table import Query
from observe.probe.wire_watches import Events

ROWS_INTERVAL_S: Final = 0.5
"""Between two pictures of the table: faster than a person compares numbers, slow enough to read them."""

FINDINGS_INTERVAL_S: Final = 2.0
HISTORY_S: Final = 300.0

SLOW: Final = 8
"""An answer that took t seconds is followed by a pause of at least this many t: asking never takes more than a ninth
of the probe's time, however large the node."""

SCANNED_PAGES: Final = 20
"""Pages of 1,000 pids that are looked through for an agent whose place cannot be computed."""

T = TypeVar("T")


class Poller:
    """Asks again and again: at once when woken, else after its interval, and never twice at a time."""

    def __init__(self, ask: Callable[[], Awaitable[object]], interval_s: float) -> None:
        self._ask = ask
        self._interval_s = interval_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Ask now, or as soon as the answer under way has come."""
        self._woken.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._woken.clear()
            began = monotonic()
            await self._ask()
            pause_s = max(self._interval_s, SLOW * (monotonic() - began))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()


class Attachment:
    """See the module's docstring. Belongs to the app's loop."""

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[NodeClient]],
        view: AgentsView,
        post: Callable[[Message], object],
    ) -> None:
        """`post` takes the messages of `observe.console.messages`."""
        self._connect = connect
        self._view = view
        self._post = post
        self._catching_up: asyncio.Future[None] | None = None
        self._last_vitals: Vitals | None = None
        self._over: deque[int] = deque(maxlen=10 * MOST_ENDED)
        self.left_out = 0
        """Events and pictures that the node has left out for us, since it was attached to."""
        self.node: NodeClient | None = None
        """The client, once attached."""
        self.rows = Poller(self._ask_rows, ROWS_INTERVAL_S)
        self.findings = Poller(self._ask_findings, FINDINGS_INTERVAL_S)
        self.table_shown = True
        """Whether anybody sees the table; if not, its rows are not asked for."""

    async def run(self) -> None:
        """Attach, and go on until cancelled.

        Raises:
            AttachError: the first attempt to attach failed. Later losses are reported and mended.
        """
        async with self._connect() as node:
            self.node = node
            node.on_state = self._on_state
            self._post(Attached(node))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.rows.run())
                tasks.create_task(self._follow_vitals(node))
                tasks.create_task(self._follow_events(node))
                tasks.create_task(self.findings.run())

    def _on_state(self, state: ClientState) -> None:
        self._post(LinkChanged(state.state, state.text, state.info))
        if state.state == "up":
            self.rows.wake()
            self.findings.wake()
            self._catching_up = asyncio.ensure_future(self.catch_up())

    async def ask(self, request: Callable[[NodeClient], Awaitable[T]]) -> T | None:
        """Ask the node; what goes wrong is reported in the status bar and answered with None.

        While the connection is lost nothing is reported: the header says so already.
        """
        node = self.node
        if node is None:
            return None
        try:
            return await request(node)
        except AttachError as error:
            if node.state == "up":
                self._post(Failed(str(error), error.hint))
            return None

    # -- the table

    async def _ask_rows(self) -> None:
        view = self._view
        if not self.table_shown or (view.paused_at is not None and not view.needs_rows()):
            return
        ask = view.ask()
        query = Query(
            sort=ask.sort, descending=ask.descending, filter=ask.filter, offset=ask.offset, limit=ask.limit
        )
        page = await self.ask(lambda node: node.agents(query))
        if page is not None:
            pinned = [await self.row_of(agent) for agent in list(view.pinned.values())]
            ended = [row for row in view.lately_ended(monotonic()) if await self._is_over(row)]
            self._post(PageArrived(ask, page, [row for row in pinned if row is not None], ended))

    async def _is_over(self, row: Row) -> bool:
        """Whether nobody has taken the place of an agent that has ended; of each it is asked once."""
        pid = row[PID]
        if pid not in self._over:
            if await self.row_of(Identity.of(row)) is not None:
                self._view.came_back(pid)
                return False
            self._over.append(pid)
        return True

    async def place_of(self, agent: Identity) -> int | None:
        """At which index of the view an agent (or its successor) is; None if it is not there or too far to be found.

        The node sorts by a column and then by pid, so for numbers the rows before it can be counted.
        """
        row = await self.row_of(agent)
        if row is None:
            return None
        view = self._view
        start = 0
        if view.sort not in TEXT_COLUMNS:
            value = row[NAMES.index(view.sort)]
            sign = ">" if view.descending else "<"
            before = await self._count(f"{view.sort}{sign}{value!r}")
            level = await self._count(f"{view.sort}={value!r} pid<{row[PID]}")
            if before is None or level is None:
                return None
            # The row may have moved since; a screenful to either side is looked through.
            start = max(0, before + level - 100)
        for number in range(SCANNED_PAGES):
            offset = start + number * 1000
            pids = await self._pids(offset)
            if row[PID] in pids:
                return offset + pids.index(row[PID])
            if len(pids) < 1000:
                return None
        return None

    async def row_of(self, agent: Identity) -> Row | None:
        """The row of an agent, or of its successor, wherever in the table it is; None if neither exists."""
        terms = [f"pid={agent.pid}"]
        if agent.child and not agent.child.split()[1:]:
            terms.append(f"supervisor={agent.supervisor} child={quote(agent.child)}")
        if agent.name and not agent.name.split()[1:]:
            terms.append(f"name={quote(agent.name)}")
        for term in terms:
            query = Query(sort="pid", descending=True, filter=term, limit=1)
            page = await self.ask(lambda node, query=query: node.agents(query))  # type: ignore[misc]  # bound now
            if page is not None and page.rows:
                return row_of(page.columns, page.rows[0])
        return None

    async def _count(self, term: str) -> int | None:
        query = Query(filter=f"{self._view.filter} {term}".strip(), limit=0)
        page = await self.ask(lambda node: node.agents(query))
        return None if page is None else page.matched

    async def _pids(self, offset: int) -> list[int]:
        view = self._view
        query = Query(
            sort=view.sort,
            descending=view.descending,
            filter=view.filter,
            offset=offset,
            limit=1000,
            columns=["pid"],
        )
        page = await self.ask(lambda node: node.agents(query))
        return [] if page is None else [row[0] for row in page.rows]

    # -- the header

    async def _follow_vitals(self, node: NodeClient) -> None:
        while True:
            with contextlib.suppress(AttachError):
                self._took_vitals(await node.vitals(HISTORY_S))
                watch = await node.watch_vitals()
                async for push in watch:
                    self.left_out += push.dropped
                    self._took_vitals(push.data)
            await asyncio.sleep(1.0)

    async def catch_up(self) -> None:
        """What happened to the vital signs while nobody looked, as when the connection was lost."""
        vitals = await self.ask(lambda node: node.vitals(HISTORY_S))
        if vitals is not None:
            self._took_vitals(vitals)

    def _took_vitals(self, vitals: Vitals) -> None:
        before, self._last_vitals = self._last_vitals, vitals
        if before is not None and before.crashes_min != vitals.crashes_min:
            self.findings.wake()
        self._post(VitalsArrived(vitals))

    async def _follow_events(self, node: NodeClient) -> None:
        while True:
            with contextlib.suppress(AttachError):
                watch = await node.watch_events()
                push: WatchPush[Events]
                async for push in watch:
                    self.left_out += push.dropped
                    self._post(Happened(push.data.events))
            await asyncio.sleep(1.0)

    async def _ask_findings(self) -> None:
        findings = await self.ask(lambda node: node.findings())
        crashes = await self.ask(lambda node: node.crashes(200))
        self._post(FindingsArrived(findings, crashes))
