"""What every verb that acts on a node has in common: the question before it, and how its outcome is told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from observe.console import deeds
from observe.console.exits import REFUSED, complain
from observe.console.format import duration, one_line
from observe.console.options import json_option, timeout_option

if TYPE_CHECKING:
    from observe.console.deeds import Outcome
    from observe.probe.client import NodeClient

Function = TypeVar("Function", bound=Callable[..., Any])
Do = Callable[["NodeClient", "int | str"], Awaitable["Outcome"]]
"""Asks the node to act on an agent, given by pid or name."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How a person is asked before an action."""

    what: Callable[[str], str]
    """The question, given the agent's description."""
    undone: str
    """The participle behind "not": `killed`."""
    rehearse: Do | None = None
    """Tells what would be done; shown before the question."""


@dataclass(frozen=True, slots=True)
class Manner:
    """The options that verbs of this kind share."""

    yes: bool
    as_json: bool
    timeout_s: float


def yes_option(function: Function) -> Function:
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def reason_option(function: Function) -> Function:
    return click.option(
        "--reason", default="", metavar="TEXT", help="Why; kept in the node's record of the action."
    )(function)


def act_on_agent(node: str, agent: int | str, deed: Do, manner: Manner, asking: Asking | None = None) -> None:
    """Ask, unless nobody is there to answer, then have it done and tell the outcome.

    Ends the command with REFUSED when the answer is no, or the node did not do it.
    """
    incarnation = None
    undone = asking.undone if asking is not None else "done"
    if asking is not None and not manner.yes and sys.stdin.isatty():
        row, name, incarnation = asyncio.run(_look(node, agent, asking.rehearse, manner.timeout_s))
        # Asked outside of any event loop, where Ctrl-C ends the question at once.
        if not click.confirm(f"{asking.what(_described(row))} on {name}?", err=True):
            click.echo(f"Not {undone}.", err=True)
            raise click.exceptions.Exit(REFUSED)
        # The one that was shown, not whoever has its name by the time of the answer.
        agent = row["pid"]
    if not asyncio.run(_act(node, agent, incarnation, deed, undone, manner)):
        raise click.exceptions.Exit(REFUSED)


def act_on_node(node: str, deed: Callable[[NodeClient], Awaitable[Outcome]], manner: Manner) -> None:
    """Have it done and tell the outcome. Ends the command with REFUSED when the node did not do it."""
    if not asyncio.run(_act(node, None, None, lambda client, _: deed(client), "done", manner)):
        raise click.exceptions.Exit(REFUSED)


def json_value(text: str, what: str) -> Any:
    """A JSON value that a person has typed.

    Raises:
        UsageError: it is none, or does not fit the wire.
    """
    try:
        return deeds.json_value(text)
    except ValueError as error:
        raise click.UsageError(
            f"{what} cannot be read: {error}; quote text twice for the shell: '\"like this\"', or give --text"
        ) from None


async def _look(
    node: str, agent: int | str, rehearse: Do | None, timeout_s: float
) -> tuple[dict[str, Any], str, str]:
    from observe.console.link import link
    from observe.console.output import document

    async with link(node, timeout_s, agent) as client:
        row: dict[str, Any] = document(await client.inspect(agent, max_items=1))["agent"]
        if rehearse is not None:
            click.echo(one_line(document(await rehearse(client, row["pid"]))["what"]), err=True)
        return row, client.info.name, client.info.incarnation


async def _act(
    node: str, agent: int | str | None, incarnation: str | None, deed: Do, undone: str, manner: Manner
) -> bool:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, manner.timeout_s, agent) as client:
        if incarnation not in (None, client.info.incarnation):
            complain(
                f"{client.info.name} has restarted since the question, pid {agent} may be another agent; not {undone}",
                "look again and repeat the command",
            )
            return False
        outcome = document(await deed(client, agent if agent is not None else 0))
    if manner.as_json:
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


def manner_options(function: Function) -> Function:
    """`--reason`, `--json` and `--timeout`, in this order."""
    return reason_option(json_option(timeout_option(function)))
