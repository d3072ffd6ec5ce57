"""`observe findings`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from observe.console.fleet_options import Nodes, fleet_options
from observe.console.options import json_option, nodes_argument, timeout_option


@click.command("findings")
@nodes_argument
@fleet_options
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, and print what changes.")
@json_option
@timeout_option
def command(
    nodes: tuple[str, ...],
    file: Path | None,
    names: tuple[str, ...],
    watch: bool,
    as_json: bool,
    timeout_s: float,
) -> None:
    """What the node has diagnosed of itself: what is wrong, with whom, and what to do.

    Of several nodes those of all are listed, the worst first, each with its node.

    \b
    observe findings shop
    observe findings shop@10.0.0.5 shop@10.0.0.6
    observe findings shop --watch
    observe findings shop --json | jq -r '.findings[].check'
    """
    asked = Nodes(file, names, nodes, use_default=False)
    if asked.is_empty:
        raise click.UsageError(
            "Name a node, several, or a file of nodes (--fleet).", click.get_current_context()
        )
    if not asked.are_several:
        asyncio.run(_findings(nodes[0], watch, as_json, timeout_s))
        return
    if watch:
        raise click.BadParameter("several nodes are looked at once", param_hint="--watch")
    from observe.console.ps_fleet import show_findings

    asyncio.run(show_findings(asked, as_json, timeout_s))


async def _findings(node: str, watch: bool, as_json: bool, timeout_s: float) -> None:
    from observe.console.finding_text import finding_text
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
                    for finding in found["findings"]:
                        click.echo("\n".join(finding_text(finding, node)))
                    if not found["findings"]:
                        click.echo("no findings", err=True)
            if not watch:
                return
            await asyncio.sleep(1.0)
