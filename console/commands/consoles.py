"""`observe consoles`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from observe.console.options import json_option, node_argument, timeout_option


@click.command("consoles")
@node_argument
@json_option
@timeout_option
def command(node: str, as_json: bool, timeout_s: float) -> None:
    """List who is attached to the node: consoles, commands and scripts, what they watch, what they missed.

    This command is one of them. A console that has stopped has no credit, and what is left out for it is counted.

    \b
    observe consoles shop
    observe consoles shop --json | jq '.consoles[] | select(.dropped > 0) | .name'
    """
    asyncio.run(_consoles(node, as_json, timeout_s))


async def _consoles(node: str, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        found = document(await client.consoles())
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from observe.console.format import one_line  # names and programs come from strangers

    row = "{:<16} {:<9} {:<20} {:>9} {:>9} {:>7} {:>8}  {}"
    click.echo(row.format("NAME", "ROLE", "PROGRAM", "ATTACHED", "SILENT", "CREDIT", "DROPPED", "WATCHES"))
    for one in found["consoles"]:
        click.echo(
            row.format(
                one_line(one["name"])[:16],
                one["role"],
                one_line(one["program"])[:20],
                f"{one['attached_s']:,.0f} s",
                f"{one['silent_s']:,.1f} s",
                one["credit"],
                one["dropped"],
                " ".join(one["watches"]) or "-",
            )
        )
    click.echo(
        f"{found['turned_away']} turned away, {found['bad_frames']} frames that could not be read", err=True
    )
