"""`observe autopsy`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from observe.console.options import NodeName, json_option, timeout_option

if TYPE_CHECKING:
    from observe.probe.deaths import Deaths


@click.command("autopsy")
@click.argument("target", metavar="NODE|FILE", type=NodeName())
@click.option(
    "--limit",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    metavar="N",
    help="Deaths to report, the newest first.",
)
@click.option(
    "--last",
    "last_s",
    type=click.FloatRange(1.0, 86_400.0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Of a recording: how much of its end to look at.",
)
@json_option
@timeout_option
def command(target: str, limit: int, last_s: float, as_json: bool, timeout_s: float) -> None:
    """Report why a node died: how it ended, who was running, what was open.

    Of a recording (a file or directory, written with a slash): what was wrong in its last minute. A damaged recording is
    read up to the damage, and the report says where that is.

    Works while the probe of a dead node still serves its last picture, after that, and also when the node is back.
    The exit status is 1 when no death of the node is known.

    \b
    observe autopsy shop
    observe autopsy ./recordings/
    observe autopsy shop --json | jq -r '.deaths[0].cause'
    """
    if os.sep in target or target.endswith(".obsrec"):
        _past(Path(target), last_s, as_json)
        return
    deaths = asyncio.run(_deaths(target, limit, timeout_s))
    if as_json:
        from observe.console.output import document, print_json

        print_json(document(deaths))
    elif deaths.deaths:
        from observe.console import terminal
        from observe.console.autopsy_lines import death
        from observe.console.output import document

        for one in deaths.deaths:
            terminal.show(death(document(one)))
    if not deaths.deaths:
        click.echo(f"No death of {target} is on record.", err=True)
        raise click.exceptions.Exit(1)


def _past(path: Path, last_s: float, as_json: bool) -> None:
    from observe.console import terminal
    from observe.console.autopsy_lines import autopsy
    from observe.console.output import document, print_json
    from observe.probe.past import Past

    found = document(Past(path).autopsy(last_s))
    if as_json:
        print_json(found)
    else:
        terminal.show(autopsy(found))


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
