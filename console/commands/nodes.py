"""`observe nodes`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from observe.console.fleet_options import Nodes, fleet_options
from observe.console.options import json_option, timeout_option

FIELDS = ("host", "pid", "probe_pid", "incarnation", "endpoint", "started_at", "version", "state")
"""What a card tells anybody; its keys stay in it."""


@click.command("nodes")
@fleet_options
@json_option
@timeout_option
def command(file: Path | None, names: tuple[str, ...], as_json: bool, timeout_s: float) -> None:
    """List the nodes on this machine that you may attach to, and those of a file or a DNS name.

    The nodes of the file `nodes` beside your keys are listed when there is one; --file names another. Nodes elsewhere are reached all at
    once; one that does not answer in time is listed as unreachable, with the reason.

    A `dead` node was killed; its probe shows the last picture for a while.

    \b
    observe nodes
    observe nodes --dns shop@shop.default.svc
    observe nodes --file fleet.txt --json | jq -r '.nodes[] | select(.state == "up") | .name'
    """
    from observe.probe.cards import list_cards

    nodes: list[dict[str, Any]] = [
        {"name": card.full_name, **{field: getattr(card, field) for field in FIELDS}} for card in list_cards()
    ]
    here = {node["incarnation"] for node in nodes}
    chosen = Nodes(file, names)
    if not chosen.is_empty:
        nodes += [
            node for node in asyncio.run(_elsewhere(chosen, timeout_s)) if node["incarnation"] not in here
        ]
    if as_json:
        from observe.console.output import print_json

        print_json({"nodes": nodes})
        return
    from observe.console import render, terminal

    if nodes:
        terminal.show(render.nodes(nodes))
    else:
        click.echo("No node of yours runs on this machine; `observe demo` starts one to look at.", err=True)
    for node in nodes:
        if node["state"] == "unreachable":
            click.echo(f"{node['name']}: {node['trouble']}", err=True)


async def _elsewhere(chosen: Nodes, timeout_s: float) -> list[dict[str, Any]]:
    from observe.probe.survey import survey

    found = []
    for seen in await survey(await chosen.find(timeout_s), timeout_s):
        node: dict[str, Any] = {"name": seen.node}
        if seen.info is None:
            node |= dict.fromkeys(FIELDS) | {
                "state": "unreachable",
                "trouble": seen.trouble,
                "hint": seen.hint,
            }
        else:
            node |= {field: getattr(seen.info, field) for field in FIELDS if field != "endpoint"}
            node["endpoint"] = seen.endpoint
        found.append(node)
    return found
