"""The desk's side of what waits for a person: the service knows it."""

from __future__ import annotations

from functools import partial

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.retelling import retold
from observe.probe.wire_approvals import ApprovalsArgs, WaitingApprovals


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for the verb."""
    return {"approvals": partial(_approvals, hands)}


def _approvals(hands: Hands, _client: Client, _args: ApprovalsArgs, reply: Reply, now: float) -> None:
    told = retold(hands, "approvals", WaitingApprovals, reply)
    hands.asks.ask("approvals", {}, told, now)
