"""A watch: what a node pushes to a client until told to stop, at the speed at which the client reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from observe.probe import wire_base, wire_table, wire_watches
from observe.probe.errors import AttachError, ProtocolError

if TYPE_CHECKING:
    from observe.probe.client import NodeClient

T = TypeVar("T", bound=wire_base.Told)


@dataclass(frozen=True, slots=True)
class WatchPush(Generic[T]):
    """One thing that the node pushed."""

    seq: int
    """Counts the pushes since the watch was set up, from 1. Starts again after a reconnection."""
    dropped: int
    """Events, or pictures of a table, that were left out since the push before, because we read too slowly."""
    data: T


class Watch(Generic[T]):
    """An asynchronous iterator over pushes. Ends after `close`; raises what ended it otherwise.

    For each push that is taken out, the node is allowed one more: a reader that pauses costs the node nothing and finds
    the newest picture when it goes on.
    """

    is_renewed = True
    """Whether it goes on after a reconnection."""

    def __init__(self, client: NodeClient, args: wire_watches.WatchArgs, read: Callable[[object], T]) -> None:
        self.args = args
        """What is watched."""
        self.dropped = 0
        """All that was left out so far."""
        self.is_finished = False
        self._client = client
        self._read = read
        self._sub: int | None = None
        self._pushes: deque[wire_watches.Push] = deque()
        self._arrived = asyncio.Event()
        self._ended_by: AttachError | None = None
        self._changes = 0

    def __aiter__(self) -> AsyncIterator[WatchPush[T]]:
        return self

    async def __anext__(self) -> WatchPush[T]:
        while not self._pushes:
            if self.is_finished:
                if self._ended_by is not None:
                    raise self._ended_by
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        push = self._pushes.popleft()
        self._allow(1)
        try:
            return WatchPush(push.seq, push.dropped, self._read(push.data))
        except ValidationError as error:
            raise ProtocolError(f"the node pushed something that is not in the protocol: {error}") from None

    def requery(self, query: wire_table.Query) -> asyncio.Future[None]:
        """Watch another window of the agents table from here on. What was pushed for the old one is dropped.

        The request is sent at once. The future that is returned may be awaited and need not be: it raises `RemoteError`
        when the node refuses the query, and the watch then goes on with the old one.
        """
        before = self.args
        self.args = self.args.model_copy(update={"query": query})
        self._changes += 1
        change = self._changes
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._sub is None or self.is_finished:
            done.set_result(None)  # lost for the moment: the reconnection will ask for the new window
            return done

        def settled(answer: asyncio.Future[dict[str, Any]]) -> None:
            error = None if answer.cancelled() else answer.exception()
            if error is not None and change == self._changes and self._sub is not None:
                self.args = before
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # need not be awaited

        def at_once(_: dict[str, Any]) -> None:
            if change == self._changes:
                self._discard()

        answer = self._client._send("rewatch", wire_watches.RewatchArgs(sub=self._sub, query=query), at_once)
        answer.add_done_callback(settled)
        return done

    async def close(self) -> None:
        """Stop the pushes and end the iteration. Closing twice has no effect."""
        sub, self._sub = self._sub, None
        self._pushes.clear()
        self._finish()
        self._client._forget(self, sub)
        if sub is not None:
            try:
                await self._client._send("unwatch", wire_watches.UnwatchArgs(sub=sub))
            except AttachError:
                pass  # the node is gone, and the watch with it

    # What follows is the client's.

    def _begin(self, sub: int) -> None:
        """The node has set the watch up under this number."""
        self._sub = sub
        self._pushes.clear()

    def _suspend(self) -> None:
        """The connection is lost; what has arrived may still be read."""
        self._sub = None

    def _take(self, push: wire_watches.Push) -> None:
        self.dropped += push.dropped
        self._pushes.append(push)
        self._arrived.set()

    def _finish(self, error: AttachError | None = None) -> None:
        if not self.is_finished:
            self.is_finished = True
            self._ended_by = error
            self._arrived.set()

    def _discard(self) -> None:
        waiting = len(self._pushes)
        self._pushes.clear()
        if waiting:
            self._allow(waiting)

    def _allow(self, count: int) -> None:
        if self._sub is None or self.is_finished:
            return
        try:
            answer = self._client._send("credit", wire_watches.CreditArgs(sub=self._sub, n=count))
        except AttachError:
            return  # lost: the watch will begin anew with full credit
        answer.add_done_callback(self._on_credit)

    def _on_credit(self, answer: asyncio.Future[dict[str, Any]]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, AttachError) and self._sub is not None and not self._client.is_reconnecting:
            self._finish(error)
