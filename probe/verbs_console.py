"""The desk's side of the verbs `groups` and `control`."""

from __future__ import annotations

import time
from functools import partial

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.groups import grouped
from observe.probe.wire_actions import Acted
from observe.probe.wire_console import ControlArgs, GroupsArgs


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {"groups": partial(_groups, hands), "control": partial(_control, hands)}


def _groups(hands: Hands, _client: Client, args: GroupsArgs, reply: Reply, _now: float) -> None:
    table = hands.picture.table
    at = hands.picture.wall(table.newest_us) if table.newest_us else time.time()
    reply(grouped(table, args, hands.picture.now_us(), at).to_wire())


def _control(hands: Hands, client: Client, args: ControlArgs, reply: Reply, _now: float) -> None:
    """Recorded as any command, before and after; there is nothing to do."""
    what = f"control taken for {args.for_s:g} s" if args.taken else "control given back"

    def carry_out(done: Reply) -> None:
        done(Acted(done=True, what=what).to_wire())

    hands.commands.submit("control", args, client.holder, {}, time.time(), carry_out, reply)
