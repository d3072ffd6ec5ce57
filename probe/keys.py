"""Who may attach, and as what: CURVE keys, roles, and the answers of the ZAP handler. Logic only; sockets are elsewhere.

libzmq asks the handler about each connection over ZAP (https://rfc.zeromq.org/spec/27/) once the client has proved that
it holds its secret key. Only keys of the list are let in, only by CURVE, and only in our domain. The key then comes with
every message as its `User-Id`, so identity is never taken from what a message says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import zmq
from zmq.utils import z85

from observe.probe.errors import Refusal
from observe.probe.wire import VERBS
from observe.probe.wire_base import Role

ZAP_DOMAIN: Final = b"observe"
ZAP_VERSION: Final = b"1.0"

RANK: Final[dict[str, int]] = {"viewer": 0, "operator": 1, "admin": 2}
"""Each role may do what those below it may."""


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A client whose key is accepted."""

    name: str
    """For people and the audit log."""
    key: str
    """Public, Z85."""
    role: Role

    @property
    def fingerprint(self) -> str:
        """What the audit log calls the key: the first 16 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(z85.decode(self.key)).hexdigest()[:16]

    def may(self, verb: str) -> bool:
        """Whether the role is enough for `verb`."""
        return RANK[self.role] >= RANK[VERBS[verb][0]]


class KeyRing:
    """The keys that a node accepts."""

    def __init__(self, holders: Iterable[KeyHolder]) -> None:
        self._holders = {holder.key: holder for holder in holders}
        self.refused = 0
        """Connections turned away."""

    def replace(self, holders: Iterable[KeyHolder]) -> None:
        """Accept these from now on and no others. Those that stay as they are remain the same objects."""
        before = self._holders
        self._holders = {}
        for holder in holders:
            old = before.get(holder.key)
            # setdefault: the first counts, so a line of a file cannot change what the node's own card may do
            self._holders.setdefault(holder.key, old if old == holder else holder)

    def accepts(self, holder: KeyHolder) -> bool:
        """Whether this very key still has this role."""
        return self._holders.get(holder.key) is holder

    def holder(self, user_id: str) -> KeyHolder:
        """Whose key this is.

        Raises:
            Refusal: `forbidden`. It does not happen to a connection that the ZAP handler let in.
        """
        found = self._holders.get(user_id)
        if found is None:
            raise Refusal("forbidden", "this node does not know your key")
        return found

    def zap_reply(self, request: list[bytes]) -> list[bytes]:
        """The answer of the ZAP handler to libzmq. Whatever is not exactly right is turned away."""
        if len(request) < 6 or request[0] != ZAP_VERSION:
            self.refused += 1
            number = request[1] if len(request) > 1 else b""
            return [ZAP_VERSION, number, b"500", b"not a request of ZAP 1.0", b"", b""]
        _, number, domain, _address, _identity, mechanism, *credentials = request
        if domain != ZAP_DOMAIN:
            return self._turn_away(number, b"unknown domain")
        if mechanism != b"CURVE" or len(credentials) != 1 or len(credentials[0]) != 32:
            return self._turn_away(number, b"only CURVE is accepted")
        holder = self._holders.get(z85.encode(credentials[0]).decode("ascii"))
        if holder is None:
            return self._turn_away(number, b"unknown key")
        return [ZAP_VERSION, number, b"200", b"OK", holder.key.encode("ascii"), b""]

    def _turn_away(self, number: bytes, why: bytes) -> list[bytes]:
        self.refused += 1
        return [ZAP_VERSION, number, b"400", why, b"", b""]


def zap_client(request: list[bytes]) -> tuple[str, str]:
    """Whose key a ZAP request is about (a fingerprint, or words), and from where it came; for people."""
    address = request[3].decode("ascii", "replace") if len(request) > 3 else "an unknown address"
    if len(request) != 7 or len(request[6]) != 32:
        return "without a key", address
    digest = hashlib.sha256(request[6]).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("="), address


def new_key_pair() -> tuple[str, str]:
    """A CURVE key pair, public and secret, in Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")
