"""The desk's side of actions on agents: name the target, let the gate decide and record, ask the service."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from observe.probe import wire_actions, wire_agent
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.retelling import retold
from observe.probe.wire_actions import Acted, ContainArgs, DecideArgs, MailboxArgs
from observe.probe.wire_base import Command

_ENVELOPE = frozenset(Command.model_fields) - {"reason"}


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each action."""
    made: dict[str, Handler] = {verb: partial(_act, hands, verb) for verb in wire_actions.VERBS}
    made["kill"] = partial(_kill, hands)
    return made


def _kill(hands: Hands, client: Client, args: wire_agent.KillArgs, reply: Reply, now: float) -> None:
    picture = hands.picture
    target, missing = _target(hands, args.agent)

    def carry_out(done: Reply) -> None:
        answered = retold(hands, "kill", wire_agent.Outcome, done)
        if missing is not None and not picture.ended:
            done(missing)
            return
        fields = {"pid": target.get("pid", 0), "reason": args.reason}
        hands.asks.ask("kill", fields, answered, now, late=answered)

    hands.commands.submit("kill", args, client.holder, target, time.time(), carry_out, reply)


def _act(hands: Hands, verb: str, client: Client, args: Command, reply: Reply, now: float) -> None:
    picture = hands.picture
    fields = {name: part for name, part in args.to_wire().items() if name not in _ENVELOPE}
    asked = fields.pop("agent", None)
    target: dict[str, Any] = {}
    missing: Refusal | None = None
    if asked is not None:
        target, missing = _target(hands, asked)
        fields["pid"] = target.get("pid", 0)
    if isinstance(args, MailboxArgs) and args.to is not None:
        to, to_missing = _target(hands, args.to)
        target["to"] = to
        missing = missing or to_missing
        fields["to"] = to.get("pid", 0)

    if isinstance(args, DecideArgs):  # who it is comes from the transport's key
        holder = client.holder
        fields |= {"who": holder.fingerprint, "by": holder.name, "role": holder.role, "reason": args.reason}
    if isinstance(args, ContainArgs):
        # Who it is comes from the transport's key. A place that is kept empty has no live agent: the service knows it.
        fields |= {
            "agent": asked,
            "who": client.holder.fingerprint,
            "by": f"{client.holder.role} {client.holder.name}",
        }
        fields["reason"] = args.reason
        missing = None

    def carry_out(done: Reply) -> None:
        answered = retold(hands, verb, Acted, done)
        if missing is not None and not picture.ended:
            done(missing)
        else:
            hands.asks.ask(verb, fields, answered, now, late=answered)

    hands.commands.submit(verb, args, client.holder, target, time.time(), carry_out, reply)


def _target(hands: Hands, asked: int | str) -> tuple[dict[str, Any], Refusal | None]:
    """Whom a command is about, for the record, and why there is nobody when there is."""
    try:
        line = hands.picture.agent(hands.picture.row(asked))
    except Refusal as refusal:
        return {"agent": asked}, refusal
    return {"agent": asked} | {key: line[key] for key in ("pid", "name", "class", "child")}, None
