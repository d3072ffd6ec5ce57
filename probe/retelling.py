"""What the service answers, told on to whoever asked the probe."""

from __future__ import annotations

from pydantic import ValidationError

from observe.probe.asks import Answer
from observe.probe.counter import Hands, Reply, unreadable
from observe.probe.errors import Refusal
from observe.probe.holding import explain
from observe.probe.wire_base import Told


def retold(hands: Hands, op: str, model: type[Told], reply: Reply) -> Reply:
    """Takes the service's answer to `op`, and replies with it as a `model`; with why there is none, when it was refused or the
    scheduler is held; with an error, when it cannot be read."""

    def told(result: Answer) -> None:
        if isinstance(result, Refusal):
            reply(explain(result, hands.picture, op))
            return
        try:
            reply(model.from_wire(result).to_wire())
        except ValidationError as error:
            reply(unreadable(op, error))

    return told
