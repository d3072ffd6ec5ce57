"""Where a probe listens, and the default port that the nodes of one host share.

Every probe that is told to listen on the default port tries to have it. One does; the others take a port of their own
and try again, second by second, so that when the holder ends another takes over. Whoever has it serves its own node
there, and tells consoles on which port the other nodes of this user listen. There is no daemon.
"""

from __future__ import annotations

import logging
from typing import Final

import zmq

from observe.probe.addresses import default_port, parse_listen

logger = logging.getLogger("observe.probe")

RETRY_S: Final = 0.5
"""How often the default port is tried by those who have not got it: a failed `bind` takes some microseconds."""


class Listener:
    """Binds a probe's socket, and goes on trying to get the default port."""

    def __init__(self, router: zmq.Socket[bytes], listen: str, port_before: int | None) -> None:
        """`port_before`: the one that an earlier probe of this node had, taken again if it is free."""
        self._router = router
        self._host, self._port = parse_listen(listen)
        self._before = port_before
        self._shares = self._port is not None and self._port == default_port()
        self.has_default_port = False
        self._retry_at = 0.0
        self.endpoint = ""
        """Where clients find this node itself."""

    def bind(self) -> None:
        """Bind.

        Raises:
            zmq.ZMQError: it cannot be.
        """
        if self._port is not None:
            try:
                self._bind(self._port)
            except zmq.ZMQError as error:
                if not self._shares or error.errno != zmq.EADDRINUSE:
                    raise
            else:
                self.has_default_port = self._shares
                return
        if self._before is not None:
            try:
                self._bind(self._before)
            except zmq.ZMQError:
                logger.warning("port %s is taken; listening on another one", self._before)
            else:
                return
        self._bind("*")

    def _bind(self, port: int | str) -> None:
        self._router.bind(f"tcp://{self._host}:{port}")
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def retry(self, now: float) -> None:
        """Take the default port over if it has become free."""
        if not self._shares or self.has_default_port or now < self._retry_at:
            return
        self._retry_at = now + RETRY_S
        try:
            self._router.bind(f"tcp://{self._host}:{self._port}")
        except zmq.ZMQError:
            return
        self.has_default_port = True
