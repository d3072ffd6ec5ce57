"""Who may in: the keys of the node's card, of its configuration and of the file of authorised keys, and libzmq's question at
each connection."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import zmq

from observe.probe.config import Config
from observe.probe.introduction import local_user
from observe.probe.keyfiles import AuthorisedKeys
from observe.probe.keys import KeyHolder, KeyRing, zap_client
from observe.probe.sockets import bind_zap
from observe.probe.turned_away import TurnedAway

logger = logging.getLogger("observe.probe")

LOOK_S: Final = 0.2
"""How often the authorised keys are looked at, so that a revoked one loses its session within a second."""


class Admission:
    """Answers libzmq, and reads the authorised keys again. Belongs to the server's thread."""

    def __init__(
        self, config: Config, context: zmq.Context[zmq.Socket[bytes]], turned_away: TurnedAway
    ) -> None:
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        """Where libzmq asks (ZAP)."""
        self.look_at = 0.0
        """Monotonic seconds at which `look` is due."""
        self._always = [KeyHolder(local_user(), config.client_public, "admin")]
        self._always += [KeyHolder(one.name, one.public_key, one.role) for one in config.clients]
        self.keys = KeyRing(self._always)
        self._authorised = AuthorisedKeys(Path(config.keys), logger.error) if config.keys else None
        self._turned_away = turned_away

    def open(self) -> None:
        """Let libzmq ask here. Before the socket of the clients is bound. Raises zmq.ZMQError."""
        bind_zap(self.socket)

    def look(self, now: float) -> bool:
        """Accept whom the file names, and nobody else any more. Returns whether that has changed."""
        self.look_at = now + LOOK_S
        holders = self._authorised.changed() if self._authorised is not None else None
        if holders is None:
            return False
        self.keys.replace([*self._always, *holders])
        return True

    def answer(self, now: float, limit: int) -> None:
        """Take what libzmq asks."""
        for _ in range(limit):
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            reply = self.keys.zap_reply(request)
            if reply[2] != b"200":
                who, address = zap_client(request)
                self._turned_away.refused_key(who, address, reply[3].decode(), now)
            self.socket.send_multipart(reply)
