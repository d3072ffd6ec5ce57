"""`observe workers`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from observe.console.options import json_option, node_argument, timeout_option


@click.command("workers")
@node_argument
@json_option
@timeout_option
def command(node: str, as_json: bool, timeout_s: float) -> None:
    """List the node's worker processes: memory, processor, agents, limits.

    Those that belong to one agent are among them. Who is in which: `observe ps NODE --filter process=2`.

    \b
    observe workers shop
    observe workers shop --json | jq '.workers[] | {number, os_pid, memory}'
    """
    asyncio.run(_workers(node, as_json, timeout_s))


async def _workers(node: str, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        found = document(await client.workers())
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from observe.console.worker_lines import table

    if not found["workers"]:
        click.echo("all agents run in the node's own process", err=True)
        return
    for line in table(found["workers"]):
        click.echo(line)
