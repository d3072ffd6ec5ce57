"""From a card to a connection that has said hello: the steps of an attach, for the client.

```
connect, key exchange --> hello --> is it the node that we want?  --yes--> attached
                                        |no: it holds the default port
                                        +--> where is it? --> the same with that port
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from observe.probe import wire, wire_watches
from observe.probe.any_address import first_of
from observe.probe.errors import AttachError, NoCommonVersion, NodeUnreachable, RemoteError
from observe.probe.exchange import Exchange, nonsense
from observe.probe.introduction import introduction
from observe.probe.remote import Reachable, RemoteNode


@dataclass(frozen=True, slots=True)
class Attached:
    """A connection that may be used."""

    exchange: Exchange
    """Its `on_lost` is for the caller to set, before the loop has its next turn."""
    welcome: wire.Welcome
    endpoint: str
    way: str = ""
    """Which address it is, for people, where a name has several."""


async def attach(card: Reachable, timeout_s: float, on_push: Callable[[wire_watches.Push], None]) -> Attached:
    """Attach to the node of this card; one elsewhere may have to be asked for at the default port.

    Raises:
        AttachError: it cannot be; the class says why.
    """
    if not isinstance(card, RemoteNode) or len(card.addresses) < 2:
        return await _attach_to(card, timeout_s, on_push)
    attached, way = await first_of(card, lambda one: _attach_to(one, timeout_s, on_push), timeout_s)
    return replace(attached, way=way)


async def _attach_to(
    card: Reachable, timeout_s: float, on_push: Callable[[wire_watches.Push], None]
) -> Attached:
    """Attach to whoever listens there, if it is the node that is meant. If not, it may be asked where that one listens."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_lost(error: AttachError) -> None:
        if not failed.done():
            failed.set_exception(error)

    exchange = Exchange(card, on_push=on_push, on_lost=on_lost)
    try:
        welcome = await _hello(card, exchange, failed, timeout_s)
        if not isinstance(card, RemoteNode) or welcome.node.name.partition("@")[0] == card.name:
            return Attached(exchange, welcome, card.endpoint)
        if not card.asks:  # a port that was said belongs to another node by now, or ever since
            raise _another(card, welcome)
        elsewhere = await _where(exchange, card.name, timeout_s)
        exchange.close(NodeUnreachable("another node listens there"))
    except BaseException:
        exchange.close(NodeUnreachable("attaching was given up"))
        raise
    finally:
        if not failed.cancel():
            failed.exception()
    return await _attach_to(card.at(elsewhere), timeout_s, on_push)


def _another(card: RemoteNode, welcome: wire.Welcome) -> RemoteError:
    """What is done to a node must not be done to the one that has its port."""
    hint = f"for that one write {welcome.node.name.partition('@')[0]}@{card.host}:{card.port}; without a port, whoever has the default one says where {card.name} is"
    return RemoteError(
        "no_such_node", f"at {card.endpoint} there is {welcome.node.name}, and not {card.name}", hint
    )


async def _where(exchange: Exchange, name: str, timeout_s: float) -> int:
    answer = exchange.send("where", wire.WhereArgs(node=name))
    try:
        async with asyncio.timeout(timeout_s):
            return wire.Where.from_wire(await answer).port
    except TimeoutError:
        raise NodeUnreachable(f"whoever has the default port did not say where {name} is") from None
    except ValidationError as error:
        raise nonsense(name, error) from None


async def _hello(
    card: Reachable, exchange: Exchange, failed: asyncio.Future[None], timeout_s: float
) -> wire.Welcome:
    answer = exchange.send("hello", introduction())
    either: list[asyncio.Future[Any]] = [answer, failed]
    done, _ = await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not done:
            raise NodeUnreachable(
                f"{card.full_name} did not answer at {card.endpoint} within {timeout_s:g} s",
                hint="its probe may be stopped or its machine overloaded; try again, or with a longer time-out",
            )
        if failed in done:
            failed.result()
        return wire.Welcome.from_wire(answer.result())
    except RemoteError as error:
        if error.code == "unsupported_version":
            raise NoCommonVersion(
                str(error), hint=error.hint or "install the same version of observe on both sides"
            ) from None
        raise
    except ValidationError as error:
        raise nonsense(card.full_name, error) from None
    finally:
        answer.cancel()
