"""`observe watch`."""

from __future__ import annotations

import asyncio

import click

from observe.console.options import json_option, node_argument, timeout_option
from observe.probe.event_kinds import EVENT_KINDS


@click.command("watch")
@node_argument
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(EVENT_KINDS),
    multiple=True,
    help="Only events of this kind; may stand several times.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="End after N events instead of on Ctrl-C.",
)
@json_option
@timeout_option
def command(node: str, kinds: tuple[str, ...], count: int | None, as_json: bool, timeout_s: float) -> None:
    """Follow what happens on a node, a line for each event.

    With --json each line is a document. When the node has more to tell than this reader takes, events are left out and their number is said.

    \b
    observe watch shop --kind crash --kind restart
    observe watch shop --json | jq -c 'select(.kind == "crash") | [.name, .reason]'
    """
    asyncio.run(_watch(node, frozenset(kinds), count, as_json, timeout_s))


async def _watch(
    node: str, kinds: frozenset[str], count: int | None, as_json: bool, timeout_s: float
) -> None:
    from observe.console import render, terminal
    from observe.console.link import link
    from observe.console.output import document, print_json

    left = count
    async with link(node, timeout_s) as client:
        watch = await client.watch_events()
        async for push in watch:
            if push.dropped:
                click.echo(f"({push.dropped} events were left out here)", err=True)
            for event in document(push.data)["events"]:
                if kinds and event["kind"] not in kinds:
                    continue
                if as_json:
                    print_json(event, lines=True)
                else:
                    terminal.show(render.event(event))
                if left is not None:
                    left -= 1
                    if left == 0:
                        return
