"""The desk's side of the verbs `trace_function` and `profile`: as trace sessions, recorded, carried by a stream."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any

from observe.probe.asks import Answer
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.holding import explain
from observe.probe.wire_code import ProfileArgs, TraceFunctionArgs

PROFILE_INTERVAL_S = 0.05
"""A profile comes when it is ready, in a few pushes."""


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {"trace_function": partial(_function, hands), "profile": partial(_profile, hands)}


def _function(hands: Hands, client: Client, args: TraceFunctionArgs, reply: Reply, now: float) -> None:
    fields = {name: getattr(args, name) for name in ("function", "max", "for_s", "rate")}
    carry_out = partial(_begin, hands, client, "trace_function", fields, args.interval_s, now)
    hands.commands.submit("trace_function", args, client.holder, fields, time.time(), carry_out, reply)


def _profile(hands: Hands, client: Client, args: ProfileArgs, reply: Reply, now: float) -> None:
    target: dict[str, Any] = {"for_s": args.for_s, "rate": args.rate}
    if args.agent is not None:
        target["agent"] = args.agent

    def carry_out(done: Reply) -> None:
        try:
            pid = 0
            if args.agent is not None:
                pid = int(hands.picture.table.ints("pid")[hands.picture.row(args.agent)])
        except Refusal as refusal:
            done(refusal)
            return
        fields = {"pid": pid, "for_s": args.for_s, "rate": args.rate}
        _begin(hands, client, "profile", fields, PROFILE_INTERVAL_S, now, done)

    hands.commands.submit("profile", args, client.holder, target, time.time(), carry_out, reply)


def _begin(
    hands: Hands, client: Client, op: str, fields: dict[str, Any], interval_s: float, now: float, done: Reply
) -> None:
    try:
        opened = hands.streams.open_trace(client.id, interval_s, now)
    except Refusal as refusal:
        done(refusal)
        return
    opened.session = session = secrets.randbits(52) + 1

    def answered(result: Answer) -> None:
        if isinstance(result, Refusal):
            hands.streams.discard(opened.sub)
            done(explain(result, hands.picture))
        else:
            done({"sub": opened.sub, "place": str(result.get("place", ""))})

    hands.asks.ask(op, fields | {"session": session}, answered, now)
