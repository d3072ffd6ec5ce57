"""`observe groups`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from observe.console.options import json_option, node_argument, timeout_option

BY = ("class", "supervisor", "status", "activity", "process")
SORTS = ("agents", "mailbox", "rate", "load", "restarts", "crashes", "handled", "reductions")
PIPE_WIDTH = 200


@click.command("groups")
@node_argument
@click.option(
    "--by", type=click.Choice(BY), default="class", show_default=True, help="What they have in common."
)
@click.option("--sort", type=click.Choice(SORTS), default="agents", show_default=True, help="Largest first.")
@click.option(
    "--filter", "text", default="", metavar="TEXT", help="Only agents that match, as in `observe ps`."
)
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, metavar="N")
@json_option
@timeout_option
def command(node: str, by: Any, sort: Any, text: str, limit: int, as_json: bool, timeout_s: float) -> None:
    """Agents in groups with totals: which class, supervisor, status, activity or process has how much of what.

    \b
    observe groups shop
    observe groups shop --by supervisor --sort mailbox
    observe groups shop --by activity --filter 'status=waiting' --json | jq '.lines[0]'
    """
    asyncio.run(_groups(node, by, sort, text, limit, as_json, timeout_s))


async def _groups(
    node: str, by: Any, sort: Any, text: str, limit: int, as_json: bool, timeout_s: float
) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        found = await client.groups(by, text, sort=sort, limit=limit)
        name = client.info.name
    if as_json:
        print_json({"node": name, **document(found)})
        return
    from observe.console import terminal
    from observe.console.group_lines import group_lines, heading_pieces

    width = terminal.console().width if sys.stdout.isatty() else PIPE_WIDTH
    click.echo("".join(part for part, _ in heading_pieces(by, sort, width))[2:].rstrip()[:width])
    for line in group_lines(found.lines, by, sort, width):
        click.echo(line.text.rstrip()[:width])
    click.echo(
        f"{len(found.lines):,} of {found.groups:,} groups, {found.matched:,} of {found.total:,} agents on {name}",
        err=True,
    )
