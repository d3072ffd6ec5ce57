"""The desk's side of sending a dead letter again: name the target, let the gate decide and record, ask the service."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.retelling import retold
from observe.probe.wire_actions import Acted
from observe.probe.wire_letters import ResendArgs


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for the verb."""
    return {"resend": partial(_resend, hands)}


def _resend(hands: Hands, client: Client, args: ResendArgs, reply: Reply, now: float) -> None:
    target: dict[str, Any] = {"letter": args.letter}
    fields: dict[str, Any] = {"letter": args.letter}
    missing: Refusal | None = None
    if args.to is not None:
        try:
            agent = hands.picture.agent(hands.picture.row(args.to))
        except Refusal as refusal:
            missing = refusal
            target["to"] = {"agent": args.to}
        else:
            target["to"] = {"agent": args.to} | {key: agent[key] for key in ("pid", "name", "class")}
            fields["to"] = agent["pid"]

    def carry_out(done: Reply) -> None:
        answered = retold(hands, "resend", Acted, done)
        if missing is not None and not hands.picture.ended:
            done(missing)
        else:
            hands.asks.ask("resend", fields, answered, now, late=answered)

    hands.commands.submit("resend", args, client.holder, target, time.time(), carry_out, reply)
