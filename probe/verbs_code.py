"""The desk's side of the verbs `trace_function` and `profile`: as trace sessions, recorded, carried by a stream.

Calls of a function come as they happen. A profile is fetched when it is over, from a thread of the service that does not need
the scheduler.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from observe.probe.asks import Answer
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.holding import explain
from observe.probe.wire_code import ProfileArgs, TraceFunctionArgs

LATE_S = 10.0
"""How long after its time a profile may come."""

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

        def begun(session: int) -> None:
            _fetch(hands, session, 0, args.for_s + LATE_S)

        _begin(hands, client, "profile", fields, PROFILE_INTERVAL_S, now, done, begun)

    hands.commands.submit("profile", args, client.holder, target, time.time(), carry_out, reply)


def _begin(
    hands: Hands,
    client: Client,
    op: str,
    fields: dict[str, Any],
    interval_s: float,
    now: float,
    done: Reply,
    begun: Callable[[int], None] | None = None,
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
            if begun is not None:
                begun(session)

    hands.asks.ask(op, fields | {"session": session}, answered, now)


def _fetch(hands: Hands, session: int, first: int, timeout_s: float) -> None:
    """Ask for what was seen, a piece at a time; the service answers when it is over."""

    def answered(result: Answer) -> None:
        if isinstance(result, Refusal):
            text = f"it cannot be had: {result.message}"
            hands.streams.publish_trace(session, [{"n": 0, "at": time.time(), "kind": "end", "pid": 0, "class": "", "text": text}], 0)  # fmt: skip
            return
        events = list(result.get("events") or [])
        hands.streams.publish_trace(session, events, 0)
        if result.get("left"):
            _fetch(hands, session, first + len(events), LATE_S)

    hands.asks.ask(
        "profiled", {"session": session, "from": first}, answered, time.monotonic(), timeout_s=timeout_s
    )
