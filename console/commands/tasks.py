"""`observe tasks`."""

from __future__ import annotations

import asyncio
import sys

import click

from observe.console.acting import Manner, act_on_node, reason_option, yes_option
from observe.console.exits import REFUSED
from observe.console.options import json_option, node_argument, timeout_option


@click.command("tasks")
@node_argument
@click.argument("task", type=click.IntRange(0), required=False)
@click.option("--cancel", "cancelled", type=click.IntRange(0), metavar="ID", help="Ask this task to cancel.")
@click.option(
    "--filter",
    "--where",
    "text",
    default="",
    metavar="TEXT",
    help="Only tasks of which name, coroutine, state, wait, place or creator contains TEXT, or whose number it is; "
    "COL>10s, COL=X,Y and COL~X compare one column, and - before a term negates it.",
)
@click.option("--sort", default="id", show_default=True, metavar="COL", help="Column to sort by.")
@click.option("--desc/--asc", "descending", default=False, help="Sort downwards or upwards.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N", help="Tasks at most."
)
@click.option("--offset", type=click.IntRange(0), default=0, metavar="N", help="Skip the first N.")
@yes_option
@reason_option
@json_option
@timeout_option
def command(
    node: str,
    task: int | None,
    cancelled: int | None,
    text: str,
    sort: str,
    descending: bool,
    limit: int,
    offset: int,
    yes: bool,
    reason: str,
    as_json: bool,
    timeout_s: float,
) -> None:
    """List the asyncio tasks of a service, whether it has agents or not; open or cancel one.

    Works while a task holds the event loop. Who created a task, and when, is known of a node that was
    made with tasks=True.

    \b
    observe tasks plain
    observe tasks plain 17                      # its stack of awaits
    observe tasks plain --filter 'state=waiting age_s>10m' --sort age_s --desc
    observe tasks plain --cancel 17 --reason "hangs"
    observe tasks plain --json | jq -r '.tasks[] | select(.ring != []) | .name'

    \b
    Columns: id name coroutine module state waiting_on place age_s created_at
             creator creator_name agent cancelling
    """
    if cancelled is not None:
        if task is not None:
            raise click.UsageError("Give the number of one task: to look at, or behind --cancel.")
        _cancel(node, cancelled, reason, Manner(yes, as_json, timeout_s))
    elif task is not None:
        asyncio.run(_one(node, task, as_json, timeout_s))
    else:
        asyncio.run(
            _list(node, {"sort": sort, "descending": descending, "offset": offset, "limit": limit}, text, as_json, timeout_s)
        )  # fmt: skip


async def _list(
    node: str, window: dict[str, str | bool | int], text: str, as_json: bool, timeout_s: float
) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        page = document(await client.tasks(text, **window))  # type: ignore[arg-type]  # its own options
        name = client.info.name
    if as_json:
        print_json(page)
        return
    from observe.console import render_tasks, terminal

    if page["tasks"]:
        terminal.show(render_tasks.tasks(page["tasks"]))
    of_all = f" that match, of {page['total']:,}" if text else ""
    click.echo(f"{len(page['tasks']):,} of {page['matched']:,}{of_all} tasks on {name}", err=True)
    if page["left_out"]:
        click.echo(f"{page['left_out']:,} of the youngest were not looked at.", err=True)
    if page["rings"]:
        click.echo(f"{page['rings']:,} tasks wait for each other in a ring, and will for ever.", err=True)
    if not page["recorded"]:
        click.echo("Who created them is not recorded: Node(tasks=True) does.", err=True)


async def _one(node: str, task: int, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        detail = document(await client.task(task))
    if as_json:
        print_json(detail)
        return
    from observe.console import render_tasks, terminal

    terminal.show(render_tasks.task(detail))


def _cancel(node: str, task: int, reason: str, manner: Manner) -> None:
    if not manner.yes and sys.stdin.isatty():
        label, name = asyncio.run(_label(node, task, manner.timeout_s))
        # Asked outside of any event loop, where Ctrl-C ends the question at once.
        if not click.confirm(f"Cancel the task {label} on {name}?", err=True):
            click.echo("Not cancelled.", err=True)
            raise click.exceptions.Exit(REFUSED)
    act_on_node(node, lambda client: client.cancel_task(task, reason), manner)


async def _label(node: str, task: int, timeout_s: float) -> tuple[str, str]:
    from observe.console.format import one_line
    from observe.console.link import link

    async with link(node, timeout_s) as client:
        one = (await client.task(task)).task
        return one_line(f"{one.name} ({one.coroutine}, number {one.id}, {one.state})"), client.info.name
