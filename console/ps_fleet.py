"""`observe ps` and `observe findings` of several nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from observe.console.exits import REFUSED
from observe.console.fleet_options import Nodes
from observe.console.format import one_line

if TYPE_CHECKING:
    from observe.probe.fleet import FleetPage
    from observe.probe.wire_table import Query


async def show_fleet(
    asked: Nodes, query: Query, pause_s: float | None, as_json: bool, timeout_s: float, width: int | None
) -> None:
    """The first agents of all nodes together; again and again with a pause between two pictures."""
    from observe.console import render_agents, terminal
    from observe.console.output import print_json
    from observe.probe.fleet import Fleet

    async with Fleet(await asked.find(timeout_s), timeout_s=timeout_s) as fleet:
        with terminal.Screen(enabled=pause_s is not None and not as_json) as screen:
            while True:
                page = await fleet.agents(query)
                if as_json:
                    print_json(_content(fleet.nodes, page), lines=pause_s is not None)
                elif pause_s is not None:
                    rows = page.rows[: screen.height - 3] if screen.height else page.rows
                    screen.update(
                        render_agents.agents(page.columns, rows, width=screen.width, keep=_kept(query))
                    )
                else:
                    terminal.show(
                        render_agents.agents(page.columns, page.rows, width=width, keep=_kept(query))
                    )
                    answered = len(fleet.nodes) - len(page.missing)
                    click.echo(f"{len(page.rows):,} of {page.matched:,} agents on {answered} nodes", err=True)
                if pause_s is None:
                    tell_missing(page.missing)
                    return
                await asyncio.sleep(pause_s)


def _kept(query: Query) -> tuple[str, ...]:
    return ("node", "name", "status", query.sort)


def _content(nodes: list[str], page: FleetPage) -> dict[str, Any]:
    return {
        "nodes": nodes,
        "missing": page.missing,
        "total": page.total,
        "matched": page.matched,
        "agents": [dict(zip(page.columns, row, strict=True)) for row in page.rows],
    }


def tell_missing(missing: Mapping[str, str]) -> None:
    """Say which nodes are not in it; the command ends with 1 then, as what was shown is not all."""
    for node, why in missing.items():
        click.echo(f"without {node}: {one_line(why)}", err=True)
    if missing:
        raise click.exceptions.Exit(REFUSED)


async def show_findings(asked: Nodes, as_json: bool, timeout_s: float) -> None:
    """The findings of all nodes, the worst first."""
    from observe.console.output import document, print_json
    from observe.probe.fleet import Fleet

    async with Fleet(await asked.find(timeout_s), timeout_s=timeout_s) as fleet:
        told = await fleet.findings()
        nodes = fleet.nodes
    if as_json:
        findings = [{"node": node} | document(finding) for node, finding in told.found]
        print_json({"nodes": nodes, "missing": told.missing, "findings": findings})
    else:
        for node, finding in told.found:
            click.echo(f"{one_line(node):<22} {finding.check:<19} {one_line(finding.text)}")
        if not told.found:
            click.echo("no findings", err=True)
    tell_missing(told.missing)
