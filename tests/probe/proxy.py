"""A network between client and node that can be made to fail: slow, silent, cut, or refusing. TCP on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

from observe.probe.cards import Card


class Network:
    """Passes bytes on between whoever connects to it and one endpoint. A context manager, on the running loop."""

    def __init__(self, card: Card) -> None:
        host, _, port = card.endpoint.removeprefix("tcp://").rpartition(":")
        self._to = host, int(port)
        self._card = card
        self.delay_s = 0.0
        """Each piece is under way for so long, in each direction."""
        self.connections = 0
        """How many were made so far."""
        self._passes = asyncio.Event()
        self._passes.set()
        self._refuses = False
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def card(self) -> Card:
        """The node's card, with the way through this network."""
        port = self._server.sockets[0].getsockname()[1]
        return self._card.model_copy(update={"endpoint": f"tcp://127.0.0.1:{port}"})

    def stall(self) -> None:
        """From now on nothing arrives, on either side, and nobody is told: a cable is pulled."""
        self._passes.clear()

    def heal(self) -> None:
        """All is well again; what was under way arrives."""
        self._passes.set()
        self._refuses = False

    def cut(self) -> None:
        """Reset all connections."""
        for writer in list(self._open):
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def refuse(self) -> None:
        """Close each new connection at once."""
        self._refuses = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        try:
            if self._refuses:
                return
            far_reader, far_writer = await asyncio.open_connection(*self._to)
            self._open.add(far_writer)
            try:
                ways = [self._pass(reader, far_writer), self._pass(far_reader, writer)]
                both = [asyncio.ensure_future(way) for way in ways]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in both:
                        way.cancel()
                    await asyncio.gather(*both, return_exceptions=True)
            finally:
                self._open.discard(far_writer)
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._passes.wait()
                writer.write(piece)
                await writer.drain()
