"""`observe inspect`."""

from __future__ import annotations

import asyncio

import click

from observe.console.options import agent_argument, json_option, node_argument, timeout_option


@click.command("inspect")
@node_argument
@agent_argument
@click.option(
    "--max-items",
    type=click.IntRange(0, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="Parts of a container and messages of the mailbox to show at most.",
)
@click.option("--locals", "with_locals", is_flag=True, help="The local variables of its last crash as well.")
@json_option
@timeout_option
def command(
    node: str, agent: int | str, max_items: int, with_locals: bool, as_json: bool, timeout_s: float
) -> None:
    """Open one agent: state, conversation, mailbox, stack, children, last crash, past activities,
    budgets, ladder and checkpoint, links, monitors and groups.

    \b
    observe inspect shop session-7
    observe inspect shop session-7 --locals
    observe inspect shop 42 --json | jq .state
    observe inspect shop session-7 --json | jq '.conversations[].said[-1]'
    observe inspect shop session-7 --json | jq ".budget, .ladder, .checkpoint"
    """
    asyncio.run(_inspect(node, agent, max_items, with_locals, as_json, timeout_s))


async def _inspect(
    node: str, agent: int | str, max_items: int, with_locals: bool, as_json: bool, timeout_s: float
) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s, agent) as client:
        detail = document(await client.inspect(agent, max_items=max_items, locals=with_locals))
    if as_json:
        print_json(detail)
        return
    from observe.console import render_detail, terminal

    terminal.show(render_detail.detail(detail))
