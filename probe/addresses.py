"""Addresses to listen on, and the default port. Text only, so that a service without a probe loads no sockets."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Final

DEFAULT_PORT: Final = 4370
PORT_VARIABLE: Final = "OBSERVE_PORT"
"""Environment variable with another default port; services and consoles must agree."""

_LISTEN: Final = re.compile(r"tcp://(\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(\*|[0-9]{1,5}))?")


def default_port() -> int:
    """The port of a node when nobody says another.

    Raises:
        ValueError: the environment variable holds no port.
    """
    text = os.environ.get(PORT_VARIABLE, "")
    if not text:
        return DEFAULT_PORT
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{PORT_VARIABLE} must be a port, 1 to 65535, not {text!r}")
    return int(text)


def parse_listen(listen: str) -> tuple[str, int | None]:
    """Host and port of an address to listen on; no port given means the default one, `*` (here None) any free one.

    Raises:
        ValueError: it is no such address.
    """
    found = _LISTEN.fullmatch(listen)
    if found is None or (found[2] not in (None, "*") and not 0 < int(found[2]) < 65536):
        raise ValueError(f"listen must be like tcp://127.0.0.1:* or tcp://0.0.0.0:4370, not {listen!r}")
    if found[2] is None:
        return found[1], default_port()
    return found[1], None if found[2] == "*" else int(found[2])


def is_private(listen: str) -> bool:
    """Whether only this machine can reach the address, and nobody could guess it: loopback, any free port."""
    host, port = parse_listen(listen)
    return port is None and is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
