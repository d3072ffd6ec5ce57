"""The desk's side of the node's policies: the service knows them, and reads them again; the gate decides and records."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from pydantic import ValidationError

from observe.probe.asks import Answer
from observe.probe.counter import Client, Handler, Hands, Reply, unreadable
from observe.probe.errors import Refusal
from observe.probe.holding import explain
from observe.probe.wire_actions import Acted
from observe.probe.wire_base import Told
from observe.probe.wire_policies import HeldPolicies, PoliciesArgs, ReloadPoliciesArgs

READ_S: Final = 5.0
"""How long a file may take to be read: it may lie on another machine."""


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {"policies": partial(_policies, hands), "reload_policies": partial(_reload, hands)}


def _policies(hands: Hands, _client: Client, _args: PoliciesArgs, reply: Reply, now: float) -> None:
    hands.asks.ask("policies", {}, _told(hands, "policies", HeldPolicies, reply), now)


def _reload(hands: Hands, client: Client, args: ReloadPoliciesArgs, reply: Reply, now: float) -> None:
    def carry_out(done: Reply) -> None:
        answered = _told(hands, "reload_policies", Acted, done)
        hands.asks.ask("reload_policies", {}, answered, now, timeout_s=READ_S, late=answered)

    hands.commands.submit("reload_policies", args, client.holder, {}, time.time(), carry_out, reply)


def _told(hands: Hands, op: str, model: type[Told], reply: Reply) -> Reply:
    def told(result: Answer) -> None:
        if isinstance(result, Refusal):
            reply(explain(result, hands.picture))
            return
        try:
            reply(model.from_wire(result).to_wire())
        except ValidationError as error:
            reply(unreadable(op, error))

    return told
