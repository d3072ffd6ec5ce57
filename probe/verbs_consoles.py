"""The desk's side of the verb `consoles`."""

from __future__ import annotations

from functools import partial

from observe.probe import wire
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.wire_consoles import ConsoleLine, Consoles


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for the verb."""
    return {"consoles": partial(_consoles, hands)}


def _consoles(hands: Hands, _client: Client, _args: wire.NoArgs, reply: Reply, now: float) -> None:
    lines = [_line(hands, one, now) for one in hands.attached.values()]
    lines.sort(key=lambda line: -line.attached_s)
    counts = hands.statistics()
    turned_away = counts.get("unknown_key", 0) + counts.get("failed_handshake", 0)
    dropped = sum(line.dropped for line in lines)
    told = Consoles(consoles=lines, dropped=dropped, bad_frames=counts["bad_frames"], turned_away=turned_away)
    reply(told.to_wire())


def _line(hands: Hands, client: Client, now: float) -> ConsoleLine:
    watches = [one for one in hands.streams if one.client == client.id]
    return ConsoleLine(
        name=client.holder.name,
        role=client.holder.role,
        key=client.holder.fingerprint,
        program=client.program,
        attached_s=max(now - client.since, 0.0),
        silent_s=max(now - client.seen_at, 0.0),
        watches=sorted(one.what for one in watches),
        credit=sum(one.credit for one in watches),
        waiting=sum(len(one.events) for one in watches),
        dropped=sum(one.missed + one.dropped for one in watches),
    )
