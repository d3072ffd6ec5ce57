"""The desk's side of verbs that read: from the picture where that is enough, else from the service."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from observe.probe import wire, wire_agent, wire_table
from observe.probe.asks import Answer
from observe.probe.counter import Client, Handler, Hands, Reply, unreadable
from observe.probe.errors import Refusal
from observe.probe.holding import describe_holder, explain
from observe.probe.picture import Picture
from observe.probe.queries import answer
from observe.probe.trees import strategies_of

TREE_TIMEOUT_S: Final = 0.5
"""A tree does not wait longer for the strategies of supervisors; those known from before are used instead."""


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {
        "vitals": partial(_vitals, hands),
        "agents": partial(_agents, hands),
        "crashes": partial(_crashes, hands),
        "deaths": partial(_deaths, hands),
        "findings": partial(_findings, hands),
        "inspect": partial(_inspect, hands),
        "stack": partial(_stack, hands),
        "tree": partial(_tree, hands),
    }


def page(picture: Picture, query: wire_table.Query) -> dict[str, Any]:
    """The page that a query asks for. Raises `Refusal`."""
    table, now_us = picture.table, picture.now_us()
    at = picture.wall(table.newest_us) if table.newest_us else time.time()
    return answer(table, query, now_us, at).to_wire()


def _vitals(hands: Hands, _client: Client, args: wire.VitalsArgs, reply: Reply, _now: float) -> None:
    reply(hands.picture.current_vitals(args.history_s).to_wire())


def _agents(hands: Hands, _client: Client, query: wire_table.Query, reply: Reply, _now: float) -> None:
    reply(page(hands.picture, query))


def _crashes(hands: Hands, _client: Client, args: wire_agent.CrashesArgs, reply: Reply, _now: float) -> None:
    reply(hands.picture.crashes(args.limit))


def _deaths(hands: Hands, _client: Client, args: wire.DeathsArgs, reply: Reply, _now: float) -> None:
    reply(hands.deaths(args.limit).to_wire())


def _findings(hands: Hands, _client: Client, _args: wire.NoArgs, reply: Reply, _now: float) -> None:
    reply(hands.standing.statement())


def _inspect(hands: Hands, client: Client, args: wire_agent.InspectArgs, reply: Reply, now: float) -> None:
    picture = hands.picture
    row = picture.row(args.agent)
    line = picture.agent(row)
    pid = line["pid"]
    place = (line["name"], line["child"], line["supervisor"])
    if picture.ended or picture.is_past:
        crash = picture.last_crash_of(*place)
        note = f"the node is {picture.ended}; this is the last that was heard of the agent"
        if picture.is_past:
            note = "from a recording: it has no states, mailboxes and stacks of agents"
        risk = picture.risks.of(line)
        reply(
            wire_agent.Detail.from_wire(
                {"agent": line, "last_crash": crash, "note": note, "risk": risk}
            ).to_wire()
        )
        return

    def done(result: Answer) -> None:
        if isinstance(result, Refusal):
            reply(explain(result, picture))
            return
        newest = picture.table.row_of(pid)
        detail = {"last_crash": picture.last_crash_of(*place)} | {
            key: part for key, part in result.items() if part is not None
        }
        detail["agent"] = line if newest is None else picture.agent(newest)
        risk, traced = picture.risks.of(detail["agent"]), detail.pop("risk_traced", None)
        detail["risk"] = None if risk is None else risk | {"traced": traced}
        try:
            shown = wire_agent.Detail.from_wire(detail).to_wire()
        except ValidationError as error:
            reply(unreadable("inspect", error))
            return
        if args.max_items and shown["state"] is not None:
            target = {"agent": args.agent} | {key: line[key] for key in ("pid", "name", "class", "child")}
            hands.commands.viewed("inspect", client.holder, target, now)
        reply(shown)

    hands.asks.ask("inspect", {"pid": pid, "max_items": args.max_items, "locals": args.locals}, done, now)


def _stack(hands: Hands, _client: Client, args: wire_agent.StackArgs, reply: Reply, now: float) -> None:
    picture = hands.picture
    pid = int(picture.table.ints("pid")[picture.row(args.agent)])

    def done(result: Answer) -> None:
        held = picture.held
        if isinstance(result, Refusal):
            if held is not None and held.pid == pid and held.stack:
                note = f"holds the scheduler; {describe_holder(held)}"
                stack = wire_agent.Stack(pid=pid, status="running", frames=held.stack, note=note)
                reply(stack.to_wire())
            else:
                reply(explain(result, picture))
            return
        try:
            reply(wire_agent.Stack.from_wire(result).to_wire())
        except ValidationError as error:
            reply(unreadable("stack", error))

    hands.asks.ask("stack", {"pid": pid}, done, now)


def _tree(hands: Hands, _client: Client, args: wire_agent.TreeArgs, reply: Reply, now: float) -> None:
    picture = hands.picture

    def draw(result: Answer) -> None:
        if not isinstance(result, Refusal):
            picture.strategies.update(strategies_of(result))
        try:
            row = picture.trees.root() if args.root is None else picture.row(args.root)
            branch = picture.trees.branch(row, args.depth, args.max_children, picture.strategies)
            reply(branch.to_wire())
        except Refusal as refusal:
            reply(refusal)

    row = picture.trees.root() if args.root is None else picture.row(args.root)
    if picture.ended or picture.held or picture.is_past:
        draw({})
        return
    pid = int(picture.table.ints("pid")[row])
    fields = {"pid": pid, "depth": args.depth, "max_children": args.max_children}
    hands.asks.ask("tree", fields, draw, now, timeout_s=TREE_TIMEOUT_S)
