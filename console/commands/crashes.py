"""`observe crashes`."""

from __future__ import annotations

import asyncio

import click

from observe.console.options import json_option, node_argument, timeout_option


@click.command("crashes")
@node_argument
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    metavar="N",
    help="Crashes to show.",
)
@click.option("--traceback", "tracebacks", is_flag=True, help="Show each crash with its traceback.")
@json_option
@timeout_option
def command(node: str, limit: int, tracebacks: bool, as_json: bool, timeout_s: float) -> None:
    """List the latest crashes, newest first.

    \b
    observe crashes shop
    observe crashes shop --limit 1 --traceback
    observe crashes shop --json | jq '.crashes | group_by(.fingerprint) | map({(.[0].reason): length})'
    """
    asyncio.run(_crashes(node, limit, tracebacks, as_json, timeout_s))


async def _crashes(node: str, limit: int, tracebacks: bool, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        crashes = document(await client.crashes(limit=limit))
    if as_json:
        print_json(crashes)
        return
    from observe.console import render_crashes, terminal

    if crashes["crashes"]:
        terminal.show(render_crashes.crashes(crashes["crashes"], tracebacks))
    click.echo(f"{len(crashes['crashes'])} of {crashes['total']} crashes", err=True)
