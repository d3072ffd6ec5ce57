"""The client: everything that a console can see or do, for a script.

    async with connect("shop") as node:
        page = await node.agents(Query(sort="mailbox", limit=20))
        for row in page.rows:
            print(row)

One client is one connection. With `reconnect=True` it finds the node again by itself, also a restarted one, and the
watches go on; otherwise whoever waits is told with `NodeUnreachable`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from pydantic import ValidationError

from observe.probe import wire, wire_base, wire_watches
from observe.probe.attaching import attach
from observe.probe.cards import Card
from observe.probe.client_actions import ActionsClient
from observe.probe.client_agents import AgentsClient
from observe.probe.client_audit import AuditClient
from observe.probe.client_code import CodeClient
from observe.probe.client_console import ConsoleClient
from observe.probe.client_looks import LooksClient
from observe.probe.client_policies import PoliciesClient
from observe.probe.client_reload import ReloadClient
from observe.probe.client_tasks import TasksClient
from observe.probe.client_vitals import VitalsClient
from observe.probe.client_watches import WatchesClient
from observe.probe.errors import AttachError, NodeUnreachable, RemoteError
from observe.probe.exchange import Exchange, Result, lost, nonsense
from observe.probe.remote import Reachable
from observe.probe.resolving import Sought, find, resolve
from observe.probe.watching import Watch, WatchPush

if TYPE_CHECKING:
    from observe.probe.witness import Witness

__all__ = ["ClientState", "NodeClient", "Watch", "WatchPush", "connect", "resolve"]

REQUEST_TIMEOUT_S: Final = 10.0
"""How long a request may take. The probe itself gives up on its node sooner, and says so."""

COMMAND_LIFE_S: Final = 10.0
"""After so long a command that has not arrived must not be carried out any more."""

BACKOFF_S: Final = (0.1, 5.0)
"""First and longest pause between two attempts to reconnect; each is shortened at random by up to a half."""

T = TypeVar("T", bound=wire_base.Told)


@dataclass(frozen=True, slots=True)
class ClientState:
    """How the client stands with its node. What the node itself is (`up`, `held`, `dead`) its vital signs tell."""

    state: Literal["up", "lost", "connecting"]
    text: str
    """One line for people."""
    info: wire.NodeInfo | None
    """The node as it last said hello. Another incarnation than before: the node has restarted."""


def connect(
    node: str | Sought | Card,
    *,
    timeout_s: float = 3.0,
    reconnect: bool = False,
    on_state: Callable[[ClientState], None] | None = None,
) -> NodeClient:
    """A client for the node, to be entered with `async with`, which raises what `NodeClient.open` does.

    Args:
        node: `shop`, `shop@localhost`, or `shop@10.0.0.5` and `shop@host:port` for one elsewhere; or the card of a node;
            or a recording, as `./recordings/` or `./shop~….obsrec@14:03:07`: the node as it was then.
        timeout_s: how long attaching may take.
        reconnect: find the node again when it is lost.
        on_state: see `NodeClient.on_state`.
    """
    client = _client_of_recording(node) or NodeClient(node, timeout_s=timeout_s, reconnect=reconnect)
    client.on_state = on_state
    return client


def _client_of_recording(node: str | Sought | Card) -> NodeClient | None:
    if not isinstance(node, str) or ("/" not in node and ".obsrec" not in node):
        return None
    # Loaded here: it needs the desk, which no client of a node does.
    from observe.probe.replay import PathClient, recording_named

    named = recording_named(node)
    return None if named is None else PathClient(*named)


class NodeClient(
    AgentsClient,
    VitalsClient,
    WatchesClient,
    ActionsClient,
    AuditClient,
    PoliciesClient,
    ReloadClient,
    TasksClient,
    ConsoleClient,
    CodeClient,
    LooksClient,
):
    """An attached node. Made by `connect`. Its methods belong to the loop on which it was opened.

    All methods raise `NodeUnreachable` when the node is lost or does not answer in time, `RemoteError` when it says no,
    and `ProtocolError` when it does not make sense. Those that change something raise `AuditMismatch` when the node's
    audit log is not the one that was seen before.
    """

    info: wire.NodeInfo
    """The node as it last said hello."""
    role: str
    """What we may do: `viewer`, `operator` or `admin`."""
    endpoint: str
    """Where it listens."""
    way = ""
    """At which address we are attached, for people, where the name of its machine has several; else empty."""
    is_past = False
    """Whether it is a recording rather than a node."""
    on_state: Callable[[ClientState], None] | None
    """Called on the loop whenever the connection is lost, retried or found again."""

    def __init__(self, node: str | Sought | Card, *, timeout_s: float = 3.0, reconnect: bool = False) -> None:
        self._target = node
        self._timeout_s = timeout_s
        self._reconnect = reconnect
        self.on_state = None
        self.state: Literal["up", "lost", "connecting", "closed"] = "closed"
        self._exchange: Exchange | None = None
        self._watches: set[Watch[Any]] = set()
        self._by_sub: dict[int, Watch[Any]] = {}
        self._clock_ahead_s = 0.0
        self._kept_witness: Witness | None = None
        self._returning: asyncio.Task[None] | None = None
        self._lost_by: AttachError = NodeUnreachable("the client is not open")

    # -- opening and closing -------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Attach.

        Raises:
            NoSuchNode: no node of this name is known to this user here.
            NodeUnreachable: nobody answers.
            NotAuthorised: the node does not know our key.
            ProtocolError: something else listens there. `NoCommonVersion`: or no version of the protocol is common.
        """
        await self._attach()
        return self

    async def close(self) -> None:
        """Detach. Whoever still waits gets `NodeUnreachable`. Closing twice has no effect."""
        self._reconnect = False
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait([self._returning])
            self._returning = None
        self.state = "closed"
        self._drop(NodeUnreachable("the client was closed"))
        self._finish_watches(None)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- watches ----------------------------------------------------------------------------------------------------

    async def _watch(self, watch: Watch[T]) -> Watch[T]:
        await self._ask(
            "watch", watch.args, wire_watches.Subscription, lambda result: self._adopt(watch, result)
        )
        return watch

    def _adopt(self, watch: Watch[Any], result: Result) -> None:
        sub = wire_watches.Subscription.from_wire(result).sub
        if watch.is_finished:  # closed while it was set up anew
            self._send("unwatch", wire_watches.UnwatchArgs(sub=sub))
            return
        self._watches.add(watch)
        self._by_sub[sub] = watch
        watch._begin(sub)

    def _forget(self, watch: Watch[Any], sub: int | None) -> None:
        self._watches.discard(watch)
        if sub is not None:
            self._by_sub.pop(sub, None)

    def _finish_watches(self, error: AttachError | None) -> None:
        watches, self._watches = self._watches, set()
        for watch in watches:
            watch._finish(error)

    # -- requests ---------------------------------------------------------------------------------------------------

    def _command_fields(self) -> dict[str, Any]:
        return {
            "incarnation": self.info.incarnation,
            "expires_at": time.time() + self._clock_ahead_s + COMMAND_LIFE_S,
            "command_id": secrets.token_hex(16),
        }

    async def _ask(
        self,
        verb: str,
        args: wire_base.Asked,
        result: type[T],
        on_result: Callable[[Result], None] | None = None,
    ) -> T:
        if not isinstance(args, wire_base.Command):
            return await self._ask_plainly(verb, args, result, on_result)
        floor = await self._witness.before()
        exchange = self._exchange
        try:
            return await self._ask_plainly(verb, args, result, on_result)
        finally:
            if exchange is not None and exchange is self._exchange:
                await self._witness.after(exchange.receipt, floor)

    async def _ask_plainly(
        self,
        verb: str,
        args: wire_base.Asked,
        result: type[T],
        on_result: Callable[[Result], None] | None = None,
    ) -> T:
        future = self._send(verb, args, on_result)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answer = await future
        except TimeoutError:
            raise NodeUnreachable(
                f"{self._title()} did not answer `{verb}` within {REQUEST_TIMEOUT_S:g} s",
                hint="its machine may be overloaded or its probe stopped; try again",
            ) from None
        try:
            return result.from_wire(answer)
        except ValidationError as error:
            raise nonsense(self._title(), error) from None

    @property
    def _witness(self) -> Witness:
        """Of the node's audit log. Most who look at a node never command it: they need not load what proves a log."""
        if self._kept_witness is None:
            from observe.probe.witness import Witness

            self._kept_witness = Witness(self._ask_plainly)
            self._kept_witness.attached(self.info.name)
        return self._kept_witness

    def _send(
        self, verb: str, args: wire_base.Asked, on_result: Callable[[Result], None] | None = None
    ) -> asyncio.Future[Result]:
        if self._exchange is None:
            raise lost(self._lost_by)
        return self._exchange.send(verb, args, on_result)

    def _on_push(self, push: wire_watches.Push) -> None:
        watch = self._by_sub.get(push.sub)
        if watch is not None:  # else it was closed while this was on its way
            watch._take(push)

    # -- attaching, losing, attaching again -------------------------------------------------------------------------

    async def _attach(self) -> None:
        card: Reachable
        if isinstance(self._target, Card):
            card = self._target
        else:
            card = await find(self._target, self._timeout_s)
        try:
            attached = await attach(card, self._timeout_s, self._on_push)
        except AttachError as error:
            self._lost_by = error
            raise
        self._exchange, info = attached.exchange, attached.welcome
        self._exchange.on_lost = self._on_lost
        self.info, self.role, self.endpoint, self.way = info.node, info.role, attached.endpoint, attached.way
        self._clock_ahead_s = info.node.now - time.time()
        self.state = "up"
        if self._kept_witness is not None:
            self._kept_witness.attached(self.info.name)

    def _on_lost(self, error: AttachError) -> None:
        self.state = "lost"
        self._drop(error)
        if not self._reconnect:
            self._finish_watches(error)
        elif self._returning is None:
            self._returning = asyncio.get_running_loop().create_task(self._return())
        self._tell("lost", str(error))

    def _drop(self, error: AttachError) -> None:
        self._lost_by = error
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close(error)
        self._by_sub.clear()
        for watch in list(self._watches):
            if watch.is_renewed:
                watch._suspend()
            else:
                self._watches.discard(watch)
                watch._finish(error)

    async def _return(self) -> None:
        pause_s, longest_s = BACKOFF_S
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(longest_s, pause_s * 2)
            self.state = "connecting"
            self._tell("connecting", f"looking for {self._title()}")
            try:
                await self._attach()
                await self._renew_watches()
            except (AttachError, OSError) as error:
                self._drop(error if isinstance(error, AttachError) else NodeUnreachable(str(error)))
            if self._exchange is not None:
                break
            self.state = "lost"
            self._tell("lost", str(self._lost_by))
        self._returning = None
        self._tell("up", f"attached to {self.info.name} again" + (f"; {self.way}" if self.way else ""))

    async def _renew_watches(self) -> None:
        for watch in list(self._watches):
            try:
                await self._watch(watch)
            except RemoteError as error:  # this node will not have it, such as a column that it does not know
                self._watches.discard(watch)
                watch._finish(error)

    @property
    def is_reconnecting(self) -> bool:
        """Whether a lost node is looked for until it is found or the client closed."""
        return self._reconnect

    def _tell(self, state: Literal["up", "lost", "connecting"], text: str) -> None:
        if self.on_state is None:
            return
        try:
            self.on_state(ClientState(state, text, getattr(self, "info", None)))
        except Exception as error:  # noqa: BLE001  # a listener's fault must not keep us from finding the node
            context = {"message": "a listener to a node's state failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _title(self) -> str:
        if isinstance(self._target, Card):
            return self._target.full_name
        return str(self._target)
