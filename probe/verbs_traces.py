"""The desk's side of trace sessions: the gate lets one begin and records it, the service makes it, a stream carries it."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any

from observe.probe import wire_traces
from observe.probe.asks import Answer
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.holding import explain
from observe.probe.streams import Subscription
from observe.probe.wire_traces import TraceArgs

SELECTED_BY_FINDING = "finding:"


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    hands.streams.on_trace_closed = partial(_stop, hands)
    return {verb: partial(_trace, hands) for verb in wire_traces.VERBS}


def _trace(hands: Hands, client: Client, args: TraceArgs, reply: Reply, now: float) -> None:
    target = {
        "selector": args.selector,
        "events": args.events or "usual",
        "max": args.max,
        "for_s": args.for_s,
    }
    if args.where:
        target["where"] = args.where

    def carry_out(done: Reply) -> None:
        try:
            selector = _resolved(hands, args.selector)
            opened = hands.streams.open_trace(client.id, args.interval_s, now)
        except Refusal as refusal:
            done(refusal)
            return
        opened.session = session = secrets.randbits(52) + 1

        def answered(result: Answer) -> None:
            if isinstance(result, Refusal):
                hands.streams.discard(opened.sub)
                done(explain(result, hands.picture))
            else:
                done({"sub": opened.sub, "agents": int(result.get("agents", 0))})

        fields: dict[str, Any] = {
            name: getattr(args, name) for name in ("events", "where", "max", "for_s", "rate")
        }
        hands.asks.ask("trace", fields | {"session": session, "selector": selector}, answered, now)

    hands.commands.submit("trace", args, client.holder, target, time.time(), carry_out, reply)


def _resolved(hands: Hands, selector: str) -> str:
    """A finding means the agent that it is about, which the service does not know."""
    if not selector.startswith(SELECTED_BY_FINDING):
        return selector
    kind = selector.removeprefix(SELECTED_BY_FINDING)
    for found in hands.standing.statement()["findings"]:
        if found["check"] == kind and found["pid"]:
            return f"pid:{found['pid']}"
    raise Refusal(
        "bad_request",
        f"args.selector: no finding {kind!r} about an agent stands now",
        "`observe findings` lists them",
    )


def _stop(hands: Hands, closed: Subscription) -> None:
    """Whoever watched is gone, and so must the session be. If this is lost, its time ends it."""
    hands.asks.ask("untrace", {"session": closed.session}, lambda _: None, time.monotonic())
