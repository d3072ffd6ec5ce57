"""The desk's side of what waits for a person: the service knows it."""

from __future__ import annotations

from functools import partial

from pydantic import ValidationError

from observe.probe.asks import Answer
from observe.probe.counter import Client, Handler, Hands, Reply, unreadable
from observe.probe.errors import Refusal
from observe.probe.holding import explain
from observe.probe.wire_approvals import ApprovalsArgs, WaitingApprovals


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for the verb."""
    return {"approvals": partial(_approvals, hands)}


def _approvals(hands: Hands, _client: Client, _args: ApprovalsArgs, reply: Reply, now: float) -> None:
    def told(result: Answer) -> None:
        if isinstance(result, Refusal):
            reply(explain(result, hands.picture))
            return
        try:
            reply(WaitingApprovals.from_wire(result).to_wire())
        except ValidationError as error:
            reply(unreadable("approvals", error))

    hands.asks.ask("approvals", {}, told, now)
