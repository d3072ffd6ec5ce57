"""`observe tree`."""

from __future__ import annotations

import asyncio

import click

from observe.console.options import AgentName, json_option, node_argument, timeout_option


@click.command("tree")
@node_argument
@click.option("--root", type=AgentName(), metavar="AGENT", help="Begin at this agent instead of the root.")
@click.option(
    "--depth", type=click.IntRange(0, 24), default=8, show_default=True, metavar="N", help="Levels to show."
)
@click.option(
    "--max-children",
    type=click.IntRange(0, 1000),
    default=50,
    show_default=True,
    metavar="N",
    help="Children of one supervisor to show; the others are counted.",
)
@json_option
@timeout_option
def command(
    node: str, root: int | str | None, depth: int, max_children: int, as_json: bool, timeout_s: float
) -> None:
    """Show the supervision tree.

    \b
    observe tree shop
    observe tree shop --root sessions --depth 2 --max-children 5
    """
    asyncio.run(_tree(node, root, depth, max_children, as_json, timeout_s))


async def _tree(
    node: str, root: int | str | None, depth: int, max_children: int, as_json: bool, timeout_s: float
) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s, root) as client:
        branch = document(await client.tree(root, depth=depth, max_children=max_children))
    if as_json:
        print_json(branch)
        return
    from observe.console import render, terminal

    terminal.show(render.tree(branch))
