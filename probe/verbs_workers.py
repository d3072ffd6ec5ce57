"""The desk's side of the verb `workers`."""

from __future__ import annotations

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.wire import NoArgs


def handlers(hands: Hands) -> dict[str, Handler]:
    """Answered from the picture: also while nothing of the node answers."""

    def workers(_client: Client, _args: NoArgs, reply: Reply, _now: float) -> None:
        reply(hands.picture.processes.statement())

    return {"workers": workers}
