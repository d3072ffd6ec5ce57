"""`observe findings`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from observe.console.options import json_option, node_argument, timeout_option


@click.command("findings")
@node_argument
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, and print what changes.")
@json_option
@timeout_option
def command(node: str, watch: bool, as_json: bool, timeout_s: float) -> None:
    """What the node has diagnosed of itself: what is wrong, with whom, and what to do.

    \b
    observe findings shop
    observe findings shop --watch
    observe findings shop --json | jq -r '.findings[].check'
    """
    asyncio.run(_findings(node, watch, as_json, timeout_s))


async def _findings(node: str, watch: bool, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        before: list[tuple[str, float]] | None = None
        while True:
            found = document(await client.findings())
            now = [(one["check"], one["since"]) for one in found["findings"]]
            if now != before:
                before = now
                if as_json:
                    print_json(found, lines=watch)
                else:
                    _show(found, node)
            if not watch:
                return
            await asyncio.sleep(1.0)


def _show(found: dict[str, Any], node: str) -> None:
    from observe.console.format import one_line

    for finding in found["findings"]:
        click.echo(f"{finding['check']:<19} {one_line(finding['text'])}")
        if finding["cause"]:
            click.echo(f"{'':19} because: {one_line(finding['cause'])}")
        click.echo(f"{'':19} {one_line(finding['advice'])}")
        if finding["filter"]:
            click.echo(f"{'':19} show them: observe ps {node} --filter '{finding['filter']}'")
    if not found["findings"]:
        click.echo("no findings", err=True)
