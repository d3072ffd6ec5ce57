"""The card by which clients find this probe: written when it listens and when its node has died, removed at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from observe.probe.cards import Card, card_path, write_card
from observe.probe.config import Config
from observe.probe.wire import PROTOCOL_VERSIONS, NodeInfo


class OwnCard:
    """Belongs to the server's thread."""

    def __init__(self, config: Config, directory: Path) -> None:
        self._config = config
        self._directory = directory
        self._is_written = False

    def write(self, endpoint: str, info: NodeInfo, state: Literal["up", "dead"]) -> None:
        """Tell where clients find it, or what has become of the node. Raises OSError."""
        config = self._config
        card = Card(
            name=config.node,
            host=config.host,
            pid=config.pid,
            probe_pid=info.probe_pid,
            incarnation=config.incarnation,
            endpoint=endpoint,
            server_public_key=config.server_public,
            client_public_key=config.client_public,
            client_secret_key=config.client_secret,
            started_at=info.started_at,
            version=info.version,
            protocol_versions=list(PROTOCOL_VERSIONS),
            state=state,
        )
        write_card(card, self._directory)
        self._is_written = True

    def remove(self) -> None:
        """Doing so twice has no effect."""
        if self._is_written:
            card_path(self._directory).unlink(missing_ok=True)
            self._is_written = False
