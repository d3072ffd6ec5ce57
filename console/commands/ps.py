"""`observe ps`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from observe.console.fleet_options import Nodes, fleet_options
from observe.console.options import (
    complete_column,
    json_option,
    nodes_argument,
    timeout_option,
    watch_options,
)

if TYPE_CHECKING:
    from observe.probe.wire_table import Query

PEOPLE_COLUMNS = (
    "pid",
    "name",
    "class",
    "status",
    "containment",
    "mailbox",
    "rate",
    "load",
    "restarts",
    "crashes",
    "activity",
    "activity_s",
    "age_s",
)
"""What fits a terminal of ordinary width; `containment` only where somebody is contained. `--json` gives every column unless --columns chooses."""


@click.command("ps")
@nodes_argument
@fleet_options
@click.option(
    "--sort",
    default="reductions",
    show_default=True,
    metavar="COL",
    shell_complete=complete_column,
    help="Column to sort by: numbers from the largest, text from A.",
)
@click.option("--asc/--desc", "ascending", default=None, help="Sort upwards or downwards.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    metavar="N",
    help="Agents to show at most.",
)
@click.option("--offset", type=click.IntRange(0), default=0, metavar="N", help="Skip the first N.")
@click.option(
    "--filter",
    "text",
    default="",
    metavar="TEXT",
    help="Only agents whose name, class, status or activity contains TEXT, or whose pid it is. Words must all hold; "
    "COL>10s, COL<=1k, COL=X,Y and COL~X compare one column, and - before a term negates it.",
)
@click.option(
    "--columns",
    "chosen",
    metavar="A,B",
    shell_complete=complete_column,
    help="Show these columns, in this order.",
)
@watch_options
@json_option
@timeout_option
def command(
    nodes: tuple[str, ...],
    file: Path | None,
    names: tuple[str, ...],
    sort: str,
    ascending: bool | None,
    limit: int,
    offset: int,
    text: str,
    chosen: str | None,
    watch: bool,
    interval_s: float,
    as_json: bool,
    timeout_s: float,
) -> None:
    """List agents: what each is doing, and how much.

    Of a dead node the last picture is shown, with a warning, and the exit status is 1.
    Of several nodes the first rows of all together are shown, without those that do not answer in time; the exit status is then 1 as well.

    \b
    observe ps shop
    observe ps shop@10.0.0.5 shop@10.0.0.6 --sort mailbox
    observe ps --fleet fleet.txt --filter 'crashes>0' --json
    observe ps shop --sort mailbox --limit 10
    observe ps shop --sort cost --columns name,tokens,cost
    observe ps shop --filter 'session waiting restarts>0' --watch
    observe ps shop --filter 'class=Session -status=idle activity_s>30s'
    observe ps shop --json | jq -r '.agents[] | select(.activity_s > 30) | .name'

    \b
    Columns: pid name class status status_s mailbox mailbox_max handled rate
             reductions load restarts crashes activity activity_s age_s
             supervisor child process containment restarts_min crashes_min risk
             tokens cost
    """
    from observe.probe.wire_table import TEXT_COLUMNS, Query

    asked = Nodes(file, names, nodes, use_default=False)
    if asked.is_empty:
        raise click.UsageError(
            "Name a node, several, or a file of nodes (--fleet).", click.get_current_context()
        )
    columns = [name.strip() for name in chosen.split(",")] if chosen is not None else None
    if columns is not None and not all(columns):
        raise click.BadParameter(
            "a column has no name; write them as --columns pid,name", param_hint="--columns"
        )
    if columns is None and not as_json:
        columns = list(PEOPLE_COLUMNS)
        if sort not in columns:
            columns.insert(columns.index("mailbox"), sort)
    query = Query(
        sort=sort,
        descending=sort not in TEXT_COLUMNS if ascending is None else not ascending,
        filter=text,
        offset=offset,
        limit=limit,
        columns=columns,
    )
    if asked.are_several:
        from observe.console.ps_fleet import show_fleet

        pause_s = interval_s if watch else None
        asyncio.run(show_fleet(asked, query, pause_s, as_json, timeout_s, _width(chosen is not None)))
    elif watch:
        asyncio.run(_watch(nodes[0], query, interval_s, as_json, timeout_s, chosen=chosen is not None))
    else:
        asyncio.run(_once(nodes[0], query, as_json, timeout_s, chosen=chosen is not None))


async def _once(node: str, query: Query, as_json: bool, timeout_s: float, *, chosen: bool) -> None:
    from observe.console import render_agents, terminal
    from observe.console.format import moment
    from observe.console.link import link
    from observe.console.output import print_json

    async with link(node, timeout_s, columns=(query.sort, *(query.columns or ()))) as client:
        page = await client.agents(query)
        info = client.info
    content = _content(info.name, info.state, page)
    if as_json:
        print_json(content)
    else:
        terminal.show(
            render_agents.agents(page.columns, page.rows, width=_width(chosen), keep=_kept(query, chosen))
        )
        shown = f"{len(page.rows):,} of {page.matched:,}"
        of_all = f" that match, of {page.total:,}" if query.filter else ""
        when = "" if info.state in ("up", "held") else f", at {moment(page.at, time.time())}"
        click.echo(f"{shown}{of_all} agents on {info.name}{when}", err=True)
        if info.state == "held":
            click.echo(f"Its scheduler is held; `observe vitals {info.name}` says by whom.", err=True)


async def _watch(
    node: str, query: Query, interval_s: float, as_json: bool, timeout_s: float, *, chosen: bool
) -> None:
    from observe.console import render_agents, terminal
    from observe.console.link import link, note_state
    from observe.console.output import print_json

    async with link(node, timeout_s, columns=(query.sort, *(query.columns or ()))) as client:
        watch = await client.watch_agents(query, interval_s=interval_s)
        with terminal.Screen(enabled=not as_json) as screen:
            async for push in watch:
                page = push.data
                state = (await client.vitals()).state
                if as_json:
                    print_json(_content(client.info.name, state, page), lines=True)
                else:
                    rows = page.rows[: screen.height - 3] if screen.height else page.rows
                    width = None if chosen else screen.width
                    screen.update(
                        render_agents.agents(page.columns, rows, width=width, keep=_kept(query, chosen))
                    )
                if note_state(client.info.name, state):
                    return


def _kept(query: Query, chosen: bool) -> tuple[str, ...]:
    """Columns that stay however narrow the terminal is."""
    return ("name", "status", query.sort, *((query.columns or ()) if chosen else ()))


def _width(chosen: bool) -> int | None:
    """Cells for a table on this terminal; None where none may be left out: in a pipe, and of columns that somebody
    has asked for."""
    from observe.console import terminal

    return None if chosen or not sys.stdout.isatty() else terminal.console().width


def _content(name: str, state: str, page: Any) -> dict[str, Any]:
    """A page as a script wants it: each agent a map, so that nobody counts columns."""
    return {
        "node": name,
        "state": state,
        "at": page.at,
        "total": page.total,
        "matched": page.matched,
        "offset": page.offset,
        "agents": [dict(zip(page.columns, row, strict=True)) for row in page.rows],
    }
