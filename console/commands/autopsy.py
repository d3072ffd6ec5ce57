"""`observe autopsy`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from observe.console.options import NodeName, json_option, timeout_option

if TYPE_CHECKING:
    from observe.probe.deaths import Deaths


@click.command("autopsy")
@click.argument("target", metavar="NODE", type=NodeName())
@click.option(
    "--limit",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    metavar="N",
    help="Deaths to report, the newest first.",
)
@json_option
@timeout_option
def command(target: str, limit: int, as_json: bool, timeout_s: float) -> None:
    """Report why a node died: how it ended, who was running, what was open.

    Works while the probe of a dead node still serves its last picture, after that, and also when the node is back.
    The exit status is 1 when no death of the node is known.

    \b
    observe autopsy shop
    observe autopsy shop --json | jq -r '.deaths[0].cause'
    """
    deaths = asyncio.run(_deaths(target, limit, timeout_s))
    if as_json:
        from observe.console.output import document, print_json

        print_json(document(deaths))
    elif deaths.deaths:
        from observe.console import render
        from observe.console.autopsy_lines import death
        from observe.console.output import document

        for one in deaths.deaths:
            render.show(death(document(one)))
    if not deaths.deaths:
        click.echo(f"No death of {target} is on record.", err=True)
        raise click.exceptions.Exit(1)


async def _deaths(node: str, limit: int, timeout_s: float) -> Deaths:
    """Ask the probe; when there is none any more, read what it has left."""
    from observe.probe.client import connect
    from observe.probe.deaths import reports_of
    from observe.probe.errors import NodeUnreachable, NoSuchNode

    try:
        async with connect(node, timeout_s=timeout_s) as client:
            return await client.deaths(limit=limit)
    except (NoSuchNode, NodeUnreachable):
        left = reports_of(node.partition("@")[0], limit)
        if not left.deaths:
            raise
        return left
