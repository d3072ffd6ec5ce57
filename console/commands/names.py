"""`observe names`."""

from __future__ import annotations

import asyncio
import sys

import click

from observe.console.options import json_option, node_argument, timeout_option

PIPE_WIDTH = 200


@click.command("names")
@node_argument
@click.argument("text", default="")
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=100,
    show_default=True,
    metavar="N",
    help="Groups, and names, at most.",
)
@json_option
@timeout_option
def command(node: str, text: str, limit: int, as_json: bool, timeout_s: float) -> None:
    """Process groups with their members, and registered names with the agents that have them.

    \b
    observe names shop
    observe names shop session
    observe names shop --json | jq -r '.groups[] | [.name, .memberships] | @tsv'
    """
    asyncio.run(_names(node, text, limit, as_json, timeout_s))


async def _names(node: str, text: str, limit: int, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        page = await client.names(text=text, limit=limit)
        name = client.info.name
    if as_json:
        print_json({"node": name, **document(page)})
        return
    from observe.console import terminal
    from observe.console.lines import Folds
    from observe.console.name_lines import name_lines

    width = terminal.console().width if sys.stdout.isatty() else PIPE_WIDTH
    folds = Folds({f"group/{group.name}": True for group in page.groups})
    for line in name_lines(page, folds, width):
        click.echo(("  " * line.depth + line.text).rstrip()[:width])
    click.echo(f"{page.groups_total:,} process groups and {page.names_total:,} names on {name}", err=True)
