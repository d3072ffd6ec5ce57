"""The desk's side of verbs that are about the probe itself: whether it is there, who else is, and making way."""

from __future__ import annotations

import time
from functools import partial

from observe.probe import wire
from observe.probe.addresses import is_loopback, parse_listen
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.whereabouts import where


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {"ping": _ping, "where": partial(_where, hands), "yield": partial(_yield, hands)}


def _ping(_client: Client, _args: wire.NoArgs, reply: Reply, _now: float) -> None:
    reply({"now": time.time()})


def _where(hands: Hands, _client: Client, args: wire.WhereArgs, reply: Reply, _now: float) -> None:
    config = hands.picture.config
    host, _ = parse_listen(config.listen)
    reply(where(args.node, config.server_public, is_loopback(host)))


def _yield(hands: Hands, _client: Client, _args: wire.NoArgs, reply: Reply, _now: float) -> None:
    picture = hands.picture
    if picture.ended is None:
        raise Refusal(
            "refused",
            f"{picture.config.node} is running (process {picture.config.pid}), so its probe stays",
            "stop it first, or choose another name",
        )
    hands.make_way()
    reply({})
