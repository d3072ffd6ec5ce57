"""Nodes on other machines: what a person types for them, and what it takes to attach to one.

A node elsewhere is only attached to when its key is known beforehand: CURVE proves that whoever answers has that key,
and nothing is sent to anybody else. There is no trust on first use by accident: `observe keys trust` is the first use.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from observe.probe.addresses import default_port
from observe.probe.cards import NODE_NAME
from observe.probe.errors import NodeUnreachable, NotAuthorised, UnknownNodeKey, UnsafeDirectory
from observe.probe.keyfiles import (
    CLIENT_KEY,
    BadKeyFile,
    config_directory,
    known_key,
    read_key_pair,
    read_known,
)

_REMOTE: Final = re.compile(r"([^@\s]+)@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class Reachable(Protocol):
    """What a connection needs to know of a node; a card knows it, and so does a `RemoteNode`."""

    @property
    def full_name(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def server_public_key(self) -> str: ...
    @property
    def client_public_key(self) -> str: ...
    @property
    def client_secret_key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A node elsewhere, the key that it must have, and our own."""

    name: str
    """Without the host."""
    host: str
    port: int
    asks: bool
    """Nobody said a port: whoever has the default one is asked where the node listens."""
    server_public_key: str
    client_public_key: str
    client_secret_key: str = field(repr=False)
    addresses: tuple[str, ...] = ()
    """All that the host's name stands for."""
    address: str = ""
    """The one of them that is meant; empty when it does not matter."""

    @property
    def full_name(self) -> str:
        """As it was typed."""
        return f"{self.name}@{self.host}" + ("" if self.asks else f":{self.port}")

    @property
    def endpoint(self) -> str:
        """Where to connect."""
        host = f"[{self.address}]" if ":" in self.address else self.address or self.host
        return f"tcp://{host}:{self.port}"

    def at(self, port: int) -> RemoteNode:
        """The same node at another port of its host."""
        return replace(self, port=port, asks=False)

    def via(self, address: str) -> RemoteNode:
        """The same node at this one of its addresses."""
        return replace(self, address=address)


def parse_remote(text: str) -> tuple[str, str, int | None] | None:
    """Name, host and port (None: not said) of `shop@10.0.0.5`, `shop@host:4371`, `shop@[::1]`; None if it is none."""
    found = _REMOTE.fullmatch(text.strip())
    if found is None or not NODE_NAME.fullmatch(found[1]):
        return None
    port = int(found[3]) if found[3] else None
    return None if port is not None and not 0 < port < 65536 else (found[1], found[2].lower(), port)


def remote_node(name: str, host: str, port: int | None, *, known_as: str = "") -> RemoteNode:
    """What is needed to attach to a node elsewhere. `known_as` is another name of the host, for its key alone.

    Raises:
        UnknownNodeKey: we do not know which key it must have.
        NotAuthorised: we have no key of our own, or a key file cannot be trusted.
        NodeUnreachable: there is no host of that name.
    """
    directory = config_directory()
    try:
        known = read_known(directory)
        server = known_key(known, name, host, port)
        if server is None and known_as:
            server = known_key(known, name, known_as, port)
        ours = read_key_pair(directory / CLIENT_KEY)
        used = default_port() if port is None else port
    except (BadKeyFile, UnsafeDirectory, ValueError) as error:
        raise NotAuthorised(str(error), hint="`observe keys list` checks the files of keys") from None
    title = f"{name}@{host}" + ("" if port is None else f":{port}")
    if server is None:
        raise UnknownNodeKey(title)
    if ours is None:
        raise NotAuthorised(
            "we have no key of our own to show to a node elsewhere",
            hint="`observe keys make`, then have what it prints authorised on the node's machine",
        )
    try:
        told = socket.getaddrinfo(host.strip("[]"), used, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NodeUnreachable(
            f"{title}: there is no machine of the name {host} ({error})",
            hint="check the spelling, or use its address",
        ) from None
    addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in told))
    return RemoteNode(name, host, used, port is None, server, ours.public, ours.secret, addresses)
