"""`observe stack`."""

from __future__ import annotations

import asyncio

import click

from observe.console.options import agent_argument, json_option, node_argument, timeout_option


@click.command("stack")
@node_argument
@agent_argument
@json_option
@timeout_option
def command(node: str, agent: int | str, as_json: bool, timeout_s: float) -> None:
    """Show where one agent is: its awaits, or the code that it runs.

    Outermost call first, as in a traceback. Works while the agent holds its scheduler.

    \b
    observe stack shop session-7
    observe stack shop 42 --json | jq -r '.frames[] | "\\(.file):\\(.line)"'
    """
    asyncio.run(_stack(node, agent, as_json, timeout_s))


async def _stack(node: str, agent: int | str, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s, agent) as client:
        stack = document(await client.stack(agent))
    if as_json:
        print_json(stack)
        return
    from observe.console import render, terminal

    terminal.show(render.stack(stack))
