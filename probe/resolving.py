"""From what a person types (``shop``, ``shop@localhost``, ``shop@10.0.0.5``) to what it takes to attach to it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from observe.probe.addresses import DEFAULT_PORT
from observe.probe.cards import NODE_NAME, Card, list_cards, read_card
from observe.probe.errors import NodeUnreachable, NoSuchNode, NotAuthorised, UnsafeDirectory
from observe.probe.remote import RemoteNode, parse_remote, remote_node

MAX_LOOKUPS: Final = 128
"""Look-ups of names under way at one time. A name server that does not answer must not collect threads."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sought:
    """A node elsewhere at an address that a name led to."""

    text: str
    """As `shop@10.0.0.5`."""
    known_as: str
    """The name under whose key it may be known, when its address is not."""

    def __str__(self) -> str:
        return self.text


async def find(node: str | Sought, timeout_s: float) -> Card | RemoteNode:
    """As `resolve`, while the loop goes on: looking up a machine's name may take long."""
    text = str(node)
    if "@" not in text:
        return resolve(text)
    try:
        async with asyncio.timeout(timeout_s):
            return await beside_the_loop(lambda: resolve(node))
    except TimeoutError:
        raise NodeUnreachable(
            f"looking up the machine of {text} took longer than {timeout_s:g} s",
            hint="the name server may not answer; an address needs none",
        ) from None


_room_for_lookups: Final = threading.BoundedSemaphore(MAX_LOOKUPS)


async def beside_the_loop(work: Callable[[], T]) -> T:
    """The result of `work`, done in a thread that nobody waits for: not at the end of the program either."""
    if not _room_for_lookups.acquire(blocking=False):
        raise NodeUnreachable(
            f"{MAX_LOOKUPS} names are being looked up already", hint="the name server may not answer"
        )
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  it is raised where the result is awaited
            failure = error
        finally:
            _room_for_lookups.release()
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits any more

    threading.Thread(target=run, name="observe:lookup", daemon=True).start()
    return await future


def resolve(node: str | Sought) -> Card | RemoteNode:
    """The card of a node on this machine, by `shop`, `shop@localhost` or `shop@<this host's name>`; or what it takes to
    attach to one elsewhere, by `shop@10.0.0.5` or `shop@host:port`.

    Raises:
        NoSuchNode: no node of this name is known to this user here.
        NodeUnreachable: its card is there and its probe is not, or there is no such host.
        NotAuthorised: the directory of cards is not ours alone, so that no card in it can be trusted; or for a node
            elsewhere there is no key of ours. `UnknownNodeKey`: or we do not know which key it has.
    """
    known_as = node.known_as if isinstance(node, Sought) else ""
    try:
        return _resolve(str(node), known_as)
    except UnsafeDirectory as error:
        raise NotAuthorised(str(error)) from None


def _resolve(node: str, known_as: str) -> Card | RemoteNode:
    name, at, host = node.strip().partition("@")
    if not NODE_NAME.fullmatch(name):
        raise NoSuchNode(
            node, hint="a node is named like shop or shop@localhost; `observe nodes` lists those that are up"
        )
    card = read_card(name)
    if at and (known_as or not _is_here(host, card)):
        remote = parse_remote(node)
        if remote is None:
            raise NoSuchNode(node, hint="a node elsewhere is named like shop@10.0.0.5 or shop@host:4371")
        return remote_node(*remote, known_as=known_as)
    if card is None:
        more = ""
        if at:
            more = f"; one at the end of a tunnel is named with its port: {node.strip()}:{DEFAULT_PORT}"
        elif Path(name).exists():
            more = f"; the recording of that name is ./{name}"
        raise NoSuchNode(node, hint=_who_is_up() + more)
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
