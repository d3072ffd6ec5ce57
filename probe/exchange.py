"""Requests and replies over one connection: gives out numbers, brings replies to whoever asked, hands pushes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from observe.probe import codec, wire, wire_base, wire_watches
from observe.probe.connection import Connection, Keys
from observe.probe.errors import (
    AttachError,
    BadFrame,
    NodeUnreachable,
    NotAuthorised,
    ProtocolError,
    RemoteError,
    TooDeep,
)
from observe.probe.remote import Reachable

Result = dict[str, Any]


@dataclass(slots=True)
class Asked:
    """A request on its way."""

    future: asyncio.Future[Result]
    on_result: Callable[[Result], None] | None
    """Runs before anything that came after the reply is read."""


class Carries(Protocol):
    """What brings frames to a desk and back: a `Connection`, or something nearer."""

    def open(self) -> None: ...
    def send(self, frame: bytes) -> None: ...
    def close(self) -> None: ...


class Exchange:
    """One use of one connection. Belongs to the running loop."""

    def __init__(
        self,
        card: Reachable,
        *,
        on_push: Callable[[wire_watches.Push], None],
        on_lost: Callable[[AttachError], None],
    ) -> None:
        """
        Raises:
            ProtocolError: the card's address is none.
        """
        self.on_lost = on_lost
        """Called once when the connection is lost or makes no sense, after all who wait have been told."""
        self.receipt = ""
        """The newest signed checkpoint of the node's audit log that came with an answer to a command."""
        self._title = card.full_name
        self._on_push = on_push
        self._asked: dict[int, Asked] = {}
        self._last_id = 0
        self._connection = self._connect_to(card)
        self._connection.open()

    def _connect_to(self, card: Reachable) -> Carries:
        return Connection(
            card.endpoint,
            Keys(card.server_public_key, card.client_public_key, card.client_secret_key),
            on_frame=self._on_frame,
            on_lost=self._lose,
        )

    def send(
        self, verb: str, args: wire_base.Asked, on_result: Callable[[Result], None] | None = None
    ) -> asyncio.Future[Result]:
        """Ask; the future gets the result, or raises `RemoteError` or whatever ended the connection. It need not be
        awaited.

        Raises:
            NodeUnreachable: the connection is closed, or the other side has stopped reading.
            TooLarge, TooDeep: the node would not read it.
        """
        self._last_id += 1
        number = self._last_id
        request = {"v": wire.PROTOCOL_VERSION, "id": number, "verb": verb, "args": args.to_wire()}
        if codec.is_deeper(request, codec.REQUEST_DEPTH):
            raise TooDeep(codec.REQUEST_DEPTH)
        frame = codec.encode(request, limit_bytes=codec.REQUEST_LIMIT_BYTES)
        self._connection.send(frame)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asked[number] = Asked(future, on_result)
        future.add_done_callback(lambda _: self._settled(number, future))
        return future

    def close(self, error: AttachError) -> None:
        """End it; all who wait get `error`. Doing so twice has no effect."""
        self._connection.close()
        for asked in list(self._asked.values()):
            if not asked.future.done():
                asked.future.set_exception(error)

    def _settled(self, number: int, future: asyncio.Future[Result]) -> None:
        self._asked.pop(number, None)
        if not future.cancelled():
            future.exception()  # a request that nobody awaits (credit) may fail without a warning

    def _lose(self, error: AttachError) -> None:
        self.close(error)
        self.on_lost(error)

    def _on_frame(self, frame: bytes) -> None:
        try:
            message = codec.decode(frame)
            if "sub" in message:
                self._on_push(wire_watches.Push.from_wire(message))
            else:
                self._on_reply(wire.Reply.from_wire(message))
        except (BadFrame, ValidationError) as error:
            self._lose(nonsense(self._title, error))

    def _on_reply(self, reply: wire.Reply) -> None:
        if reply.id == 0 and reply.error is not None and reply.error.code == "revoked":
            self._lose(NotAuthorised(reply.error.message, hint=reply.error.hint))
            return
        asked = self._asked.get(reply.id)
        if asked is None or asked.future.done():
            return  # whoever asked has given up
        self.receipt = reply.receipt or self.receipt
        if not reply.ok:
            body = reply.error or wire.ErrorBody(code="internal", message="the node said no and not why")
            asked.future.set_exception(RemoteError(body.code, body.message, body.hint))
            return
        if asked.on_result is not None:
            asked.on_result(reply.result or {})
        asked.future.set_result(reply.result or {})


def nonsense(title: str, error: Exception) -> ProtocolError:
    """The error for a message that cannot be read."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        text = f"{'.'.join(str(part)[:64] for part in first['loc'])}: {first['msg']}"
    else:
        text = str(error)
    return ProtocolError(
        f"{title} sent something that is not in the protocol ({text[:500]})",
        hint="install the same version of observe on both sides",
    )


def lost(error: AttachError) -> NodeUnreachable:
    """What is raised to whoever asks a node that was lost by `error`."""
    return NodeUnreachable(str(error), hint=error.hint)
