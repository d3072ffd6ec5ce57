"""`observe nodes`."""

from __future__ import annotations

import click

from observe.console.options import json_option

FIELDS = ("host", "pid", "probe_pid", "incarnation", "endpoint", "started_at", "version", "state")
"""What a card tells anybody; its keys stay in it."""


@click.command("nodes")
@json_option
def command(as_json: bool) -> None:
    """List the nodes on this machine that you may attach to.

    A `dead` node was killed; its probe shows the last picture for a while.

    \b
    observe nodes
    observe nodes --json | jq -r '.nodes[] | select(.state == "up") | .name'
    """
    from observe.probe.cards import list_cards

    nodes = [
        {"name": card.full_name, **{field: getattr(card, field) for field in FIELDS}} for card in list_cards()
    ]
    if as_json:
        from observe.console.output import print_json

        print_json({"nodes": nodes})
        return
    from observe.console import render

    if nodes:
        render.show(render.nodes(nodes))
    else:
        click.echo("No node of yours runs on this machine; `observe demo` starts one to look at.", err=True)
