"""`observe kill`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from observe.console.exits import REFUSED, complain
from observe.console.format import duration, one_line
from observe.console.options import agent_argument, json_option, node_argument, timeout_option


@click.command("kill")
@node_argument
@agent_argument
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the node's record of the action.")
@json_option
@timeout_option
def command(node: str, agent: int | str, yes: bool, reason: str, as_json: bool, timeout_s: float) -> None:
    """End one agent at once; its supervisor may bring it back.

    Asks first when a person is at the keyboard; a script is not asked.

    \b
    observe kill shop session-7
    observe kill shop 42 --yes --reason "hangs since 03:10"
    """
    incarnation = None
    if not yes and sys.stdin.isatty():
        row, name, incarnation = asyncio.run(_look(node, agent, timeout_s))
        # Asked outside of any event loop, where Ctrl-C ends the question at once.
        if not click.confirm(f"Kill {_described(row)} on {name}?", err=True):
            click.echo("Not killed.", err=True)
            raise click.exceptions.Exit(REFUSED)
        # The one that was shown, not whoever has its name by the time of the answer.
        agent = row["pid"]
    if not asyncio.run(_kill(node, agent, incarnation, reason, as_json, timeout_s)):
        raise click.exceptions.Exit(REFUSED)


async def _look(node: str, agent: int | str, timeout_s: float) -> tuple[dict[str, Any], str, str]:
    from observe.console.link import link
    from observe.console.output import document

    async with link(node, timeout_s, agent) as client:
        detail = document(await client.inspect(agent, max_items=1))
        return detail["agent"], client.info.name, client.info.incarnation


async def _kill(
    node: str, agent: int | str, incarnation: str | None, reason: str, as_json: bool, timeout_s: float
) -> bool:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s, agent) as client:
        if incarnation not in (None, client.info.incarnation):
            complain(
                f"{client.info.name} has restarted since the question, pid {agent} may be another agent; not killed",
                "look again and repeat the command",
            )
            return False
        outcome = document(await client.kill(agent, reason=reason))
    if as_json:
        print_json(outcome)
    elif outcome["done"]:
        click.echo(one_line(outcome["what"]))
    if not outcome["done"]:
        complain(outcome["what"])
    return bool(outcome["done"])


def _described(row: dict[str, Any]) -> str:
    name = row["name"] or row["class"]
    doing = f", in {row['activity']} for {duration(row['activity_s'])}" if row["activity"] else ""
    return one_line(f"{name} (pid {row['pid']}, {row['status']}{doing})")
