"""The verb `where`: on which port another node of this user on this machine listens."""

from __future__ import annotations

from typing import Any

from observe.probe.addresses import is_loopback
from observe.probe.cards import list_cards
from observe.probe.errors import Refusal, UnsafeDirectory


def where(name: str, server_public_key: str, is_local: bool) -> dict[str, Any]:
    """The result of `where`. Only nodes with our own key are told of: a client could not trust another.

    Args:
        is_local: we ourselves listen on loopback, so who asks can reach nodes that do.

    Raises:
        Refusal: `no_such_node`; the hint names those that there are.
    """
    try:
        cards = [card for card in list_cards() if card.server_public_key == server_public_key]
    except (UnsafeDirectory, OSError):
        cards = []
    reachable = {}
    for card in cards:
        host, _, port = card.endpoint.removeprefix("tcp://").rpartition(":")
        if port.isdigit() and (is_local or not is_loopback(host)):
            reachable[card.name] = int(port)
    if name not in reachable:
        names = ", ".join(sorted(reachable)[:8])
        raise Refusal(
            "no_such_node",
            f"no node named {name} of this user listens to other machines there",
            f"there are: {names}" if names else "",
        )
    return {"node": name, "port": reachable[name]}
