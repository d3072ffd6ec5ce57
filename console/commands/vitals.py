"""`observe vitals`."""

from __future__ import annotations

import asyncio

import click

from observe.console.options import json_option, node_argument, timeout_option, watch_options


@click.command("vitals")
@node_argument
@click.option(
    "--history",
    "history_s",
    type=click.FloatRange(0.0, 600.0),
    default=0.0,
    metavar="S",
    help="Also the values of the last S seconds, one a second.",
)
@watch_options
@json_option
@timeout_option
def command(
    node: str, history_s: float, watch: bool, interval_s: float, as_json: bool, timeout_s: float
) -> None:
    """Show how a node is: messages, scheduler, memory, crashes.

    Says who holds the scheduler, when somebody does.

    \b
    observe vitals shop
    observe vitals shop --json | jq .use
    observe vitals shop --watch --json
    """
    if watch:
        asyncio.run(_watch(node, interval_s, as_json, timeout_s))
    else:
        asyncio.run(_vitals(node, history_s, as_json, timeout_s))


async def _vitals(node: str, history_s: float, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        vitals = document(await client.vitals(history_s=history_s))
        name = client.info.name
    if as_json:
        print_json(vitals)
        return
    from observe.console import render, terminal

    terminal.show(render.vitals(name, vitals))


async def _watch(node: str, interval_s: float, as_json: bool, timeout_s: float) -> None:
    from observe.console import render, terminal
    from observe.console.link import link, note_state
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        watch = await client.watch_vitals(interval_s=interval_s)
        with terminal.Screen(enabled=not as_json) as screen:
            async for push in watch:
                vitals = document(push.data)
                if as_json:
                    print_json(vitals, lines=True)
                else:
                    screen.update(render.vitals(client.info.name, vitals))
                if note_state(client.info.name, vitals["state"]):
                    return
