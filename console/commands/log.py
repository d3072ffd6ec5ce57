"""`observe log`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from observe.console.options import AgentName, json_option, node_argument, timeout_option

PAUSE_S = 0.5
"""Between two looks with --follow."""


@click.command("log")
@node_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C; with --json one record a line.")
@click.option(
    "--level",
    type=click.Choice(("debug", "info", "warning", "error", "critical"), case_sensitive=False),
    default="debug",
    show_default=True,
    help="The least serious to show.",
)
@click.option("--logger", default="", metavar="NAME", help="Only this logger, and those below it.")
@click.option("--agent", type=AgentName(), help="Only what this agent wrote: pid, name or class.")
@click.option(
    "--grep", "text", default="", metavar="TEXT", help="Only records with this text, whatever the case."
)
@click.option(
    "--limit", type=click.IntRange(1, 500), default=100, show_default=True, metavar="N", help="The newest N."
)
@json_option
@timeout_option
def command(
    node: str, follow: bool, level: Any, logger: str, agent: int | str | None, text: str, limit: int, as_json: bool, timeout_s: float,
) -> None:  # fmt: skip
    """The newest log records of a service, and which agent wrote them.

    The service keeps the newest 2,000 that its loggers let through, Probe(node, log_keep=N) other numbers;
    `observe log-level` lets more through.

    \b
    observe log shop --level warning
    observe log shop --agent session-7 --follow
    observe log shop --grep timeout --logger shop.tools
    observe log shop --level error --json | jq -r '.records[] | [.agent, .error] | @tsv'
    """
    bounds = {"level": level.lower(), "logger": logger, "agent": agent, "text": text, "limit": limit}
    asyncio.run(_log(node, bounds, follow, as_json, timeout_s))


async def _log(node: str, bounds: dict[str, Any], follow: bool, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        page = await client.log(**bounds)
        if as_json and not follow:
            print_json({"node": client.info.name, **document(page)})
            return
        while True:
            for record in page.records:
                if as_json:
                    print_json(document(record), lines=True)
                else:
                    _print(record)
            if page.missed:
                click.echo(f"{page.missed:,} records came too fast and are not shown", err=True)
            if not follow:
                break
            if not page.more:
                await asyncio.sleep(PAUSE_S)
            page = await client.log(**bounds, after=page.next)
        if not page.keep:
            click.echo("The service keeps no log: Probe(node, log_keep=2000) does.", err=True)
        click.echo(
            f"{len(page.records):,} of {page.kept:,} records that {client.info.name} keeps, of {page.total:,}",
            err=True,
        )


def _print(record: Any) -> None:
    from rich.text import Text

    from observe.console import terminal
    from observe.console.log_lines import plain_lines

    styles = {"bad": "red", "warn": "yellow", "dim": "dim"}
    for text, tone in plain_lines(record):
        terminal.show(Text(text, styles.get(tone, "")))
