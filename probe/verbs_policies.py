"""The desk's side of the node's policies: the service knows them, and reads them again; the gate decides and records."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.retelling import retold
from observe.probe.wire_actions import Acted
from observe.probe.wire_policies import HeldPolicies, PoliciesArgs, ReloadPoliciesArgs

READ_S: Final = 5.0
"""How long a file may take to be read: it may lie on another machine."""


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {"policies": partial(_policies, hands), "reload_policies": partial(_reload, hands)}


def _policies(hands: Hands, _client: Client, _args: PoliciesArgs, reply: Reply, now: float) -> None:
    hands.asks.ask("policies", {}, retold(hands, "policies", HeldPolicies, reply), now)


def _reload(hands: Hands, client: Client, args: ReloadPoliciesArgs, reply: Reply, now: float) -> None:
    def carry_out(done: Reply) -> None:
        answered = retold(hands, "reload_policies", Acted, done)
        hands.asks.ask("reload_policies", {}, answered, now, timeout_s=READ_S, late=answered)

    hands.commands.submit("reload_policies", args, client.holder, {}, time.time(), carry_out, reply)
