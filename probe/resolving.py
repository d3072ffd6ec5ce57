"""From what a person types (``shop``, ``shop@localhost``, ``shop@10.0.0.5``) to what it takes to attach to it."""

from __future__ import annotations

import socket

from observe.probe.cards import NODE_NAME, Card, list_cards, read_card
from observe.probe.errors import NodeUnreachable, NoSuchNode, NotAuthorised, UnsafeDirectory
from observe.probe.remote import RemoteNode, parse_remote, remote_node


def resolve(node: str) -> Card | RemoteNode:
    """The card of a node on this machine, by `shop`, `shop@localhost` or `shop@<this host's name>`; or what it takes to
    attach to one elsewhere, by `shop@10.0.0.5` or `shop@host:port`.

    Raises:
        NoSuchNode: no node of this name is known to this user here.
        NodeUnreachable: its card is there and its probe is not, or there is no such host.
        NotAuthorised: the directory of cards is not ours alone, so that no card in it can be trusted; or for a node
            elsewhere there is no key of ours. `UnknownNodeKey`: or we do not know which key it has.
    """
    try:
        return _resolve(node)
    except UnsafeDirectory as error:
        raise NotAuthorised(str(error)) from None


def _resolve(node: str) -> Card | RemoteNode:
    name, at, host = node.strip().partition("@")
    if not NODE_NAME.fullmatch(name):
        raise NoSuchNode(
            node, hint="a node is named like shop or shop@localhost; `observe nodes` lists those that are up"
        )
    card = read_card(name)
    if at and not _is_here(host, card):
        remote = parse_remote(node)
        if remote is None:
            raise NoSuchNode(node, hint="a node elsewhere is named like shop@10.0.0.5 or shop@host:4371")
        return remote_node(*remote)
    if card is None:
        raise NoSuchNode(node, hint=_who_is_up())
    if card.state == "stale":
        raise NodeUnreachable(
            f"{node} has ended, and so has its probe (process {card.probe_pid})", hint=_who_is_up()
        )
    return card


def parse_elsewhere(node: str) -> tuple[str, str, int | None] | None:
    """Name, host and port (None: not said) of what a person typed for a node elsewhere; None when it means one here.

    Raises:
        UnsafeDirectory: the directory of cards is not ours alone.
    """
    name, at, host = node.strip().partition("@")
    return parse_remote(node) if at and not _is_here(host, read_card(name)) else None


def _is_here(host: str, card: Card | None) -> bool:
    own = socket.gethostname().lower()
    names = {"localhost", "127.0.0.1", "::1", own, own.partition(".")[0]}
    if card is not None:
        names.add(card.host.lower())
    return host.lower() in names


def _who_is_up() -> str:
    names = [card.full_name for card in list_cards()]
    if not names:
        return "no node of this user is up on this machine; `observe demo` starts one to look at"
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"up here: {shown}"
