"""A name with several addresses: all are tried, the first that can be attached to wins, and it is said which that was.

A headless service of Kubernetes has an address for each pod, and one that has just gone is still among them for a while. The
next address is tried when one has failed, or has said nothing for `HEAD_START_S`: so a machine that swallows everything
costs that and not the time-out, as in RFC 8305 (happy eyeballs).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from observe.probe.errors import AttachError, NodeUnreachable
from observe.probe.exchange import Exchange
from observe.probe.remote import RemoteNode

HEAD_START_S: Final = 0.25
"""RFC 8305 recommends so much between two attempts. Of very many addresses each gets less, so that all have been tried in time."""

SHOWN: Final = 6
"""Addresses of which it is told what was wrong with them."""


class HasExchange(Protocol):
    """What an attempt gives when it has succeeded."""

    @property
    def exchange(self) -> Exchange: ...


A = TypeVar("A", bound=HasExchange)


async def first_of(
    node: RemoteNode, attempt: Callable[[RemoteNode], Awaitable[A]], timeout_s: float
) -> tuple[A, str]:
    """What `attempt` gives at the first address at which it succeeds, and a line for people that says which that is.

    Raises:
        AttachError: it fails at all of them. The class is that of the failure that says most: of a node that answers.
    """
    waiting = deque(node.addresses)
    head_start_s = min(HEAD_START_S, timeout_s / len(waiting))
    trying: dict[asyncio.Task[A], str] = {}
    failures: dict[str, AttachError] = {}

    async def try_one(address: str) -> A:
        attached = await attempt(node.via(address))
        attached.exchange.on_lost = lambda error: failures.update({address: error})
        return attached

    try:
        while len(failures) < len(node.addresses):
            if waiting:
                address = waiting.popleft()
                trying[asyncio.create_task(try_one(address))] = address
            under_way = [task for task, address in trying.items() if address not in failures]
            done, _ = await asyncio.wait(
                under_way, timeout=head_start_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if isinstance(error, AttachError):
                    failures[trying[task]] = error
                elif trying[task] not in failures:  # nor lost again meanwhile
                    attached = task.result()
                    return attached, _which(node, trying.pop(task), failures)
        raise _none_of(node, failures)
    finally:
        for task in trying:
            task.cancel()
        for result in await asyncio.gather(*trying, return_exceptions=True):
            if not isinstance(result, BaseException):
                result.exchange.close(NodeUnreachable("another address was quicker"))


def _which(node: RemoteNode, address: str, failures: dict[str, AttachError]) -> str:
    text = f"attached at {address}, one of {len(node.addresses)} addresses of {node.host}"
    others = _told(failures)
    return f"{text}; not at {others}" if others else text


def _none_of(node: RemoteNode, failures: dict[str, AttachError]) -> AttachError:
    telling = next((one for one in failures.values() if not isinstance(one, NodeUnreachable)), None)
    error = telling if telling is not None else next(iter(failures.values()))
    text = (
        f"{node.full_name} has {len(failures)} addresses and could be attached to at none: {_told(failures)}"
    )
    error.args, error.message = (text,), text
    return error


def _told(failures: dict[str, AttachError]) -> str:
    told = [f"{address} ({error.message})" for address, error in list(failures.items())[:SHOWN]]
    more = len(failures) - len(told)
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")
