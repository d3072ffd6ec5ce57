"""The desk's side of watches: they begin, change, get credit and end; and what a push of one holds."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from observe.probe import wire_table, wire_watches
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.filters import parse
from observe.probe.picture import Picture
from observe.probe.queries import check_column
from observe.probe.streams import Subscription
from observe.probe.verbs_reading import page

logger = logging.getLogger("observe.probe")


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {
        "watch": partial(_watch, hands),
        "rewatch": partial(_rewatch, hands),
        "credit": partial(_credit, hands),
        "unwatch": partial(_unwatch, hands),
    }


def contents(picture: Picture, subscription: Subscription) -> dict[str, Any]:
    """What is due for one subscription."""
    if subscription.is_stream:
        return {"events": subscription.take_events()}
    if subscription.what == "tape":
        return {"records": subscription.waiting.pop(0)}
    if subscription.what == "vitals":
        return picture.current_vitals().to_wire()
    assert subscription.query is not None
    try:
        return page(picture, subscription.query)
    except Refusal:  # it was checked when the watch began
        logger.exception("the query of a watch cannot be answered any more")
        return {}


def _watch(hands: Hands, client: Client, args: wire_watches.WatchArgs, reply: Reply, now: float) -> None:
    if args.query is not None:
        _check(args.query)
    reply({"sub": hands.streams.open(client.id, args, now).sub})


def _rewatch(hands: Hands, client: Client, args: wire_watches.RewatchArgs, reply: Reply, now: float) -> None:
    _check(args.query)
    hands.streams.requery(client.id, args.sub, args.query, now)
    reply({"sub": args.sub})


def _credit(hands: Hands, client: Client, args: wire_watches.CreditArgs, reply: Reply, _now: float) -> None:
    hands.streams.add_credit(client.id, args.sub, args.n)
    reply({})


def _unwatch(hands: Hands, client: Client, args: wire_watches.UnwatchArgs, reply: Reply, _now: float) -> None:
    hands.streams.close(client.id, args.sub)
    reply({})


def _check(query: wire_table.Query) -> None:
    """Refuse a query that cannot be answered before a watch of it begins."""
    for column in (query.sort, *(query.columns or ())):
        check_column(column)
    parse(query.filter)
