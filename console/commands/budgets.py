"""`observe budgets`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from observe.console.options import json_option, node_argument, timeout_option

PIPE_WIDTH = 200


@click.command("budgets")
@node_argument
@click.option(
    "--by", type=click.Choice(("owner", "class", "policy")), default="owner", show_default=True,
    help="A line for each agent and each supervisor with a budget for its tree, for each class, or for who spends of a policy's cap.",
)  # fmt: skip
@click.option(
    "--sort", type=click.Choice(("share", "left", "cost", "tokens")), default="share", show_default=True, help="The worst first."
)  # fmt: skip
@click.option("--filter", "text", default="", metavar="TEXT", help="Only names and classes with TEXT.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, metavar="N")
@click.option(
    "--over", "over_s", type=click.FloatRange(0.0, 60.0), default=2.0, show_default=True, metavar="S",
    help="Measure rates over so many seconds; 0: take what there is.",
)  # fmt: skip
@json_option
@timeout_option
def command(
    node: str, by: Any, sort: str, text: str, limit: int, over_s: float, as_json: bool, timeout_s: float
) -> None:
    """What agents may spend, have spent, and spend a minute; how long a limit lasts at this rate.

    `name/*` is the budget of a supervisor for all below it.

    \b
    observe budgets shop
    observe budgets shop --sort left --over 10
    observe budgets shop --by class --sort cost
    observe budgets shop --by policy --filter acme
    observe budgets shop --json | jq -r '.lines[] | select(.share > 0.8) | .name'
    """
    bounds = {"by": by, "sort": "left_s" if sort == "left" else sort, "text": text, "limit": limit}
    asyncio.run(_budgets(node, bounds, over_s, as_json, timeout_s))


async def _budgets(node: str, bounds: dict[str, Any], over_s: float, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        page = await client.budgets(**bounds)
        if page.over_s < over_s:
            await asyncio.sleep(over_s)
            page = await client.budgets(**bounds)
        name = client.info.name
    if as_json:
        print_json({"node": name, **document(page)})
        return
    from observe.console import terminal
    from observe.console.budget_lines import heading_pieces, spent_lines
    from observe.console.format import money, short_count
    from observe.console.lines import Folds

    width = terminal.console().width if sys.stdout.isatty() else PIPE_WIDTH
    if page.lines:
        click.echo(
            "".join(part for part, _ in heading_pieces(bounds["sort"], width, bounds["by"]))[2:].rstrip()[
                :width
            ]
        )
    for one in page.lines:
        for line in spent_lines(one, Folds(), width):
            click.echo(line.text.rstrip()[:width])
    rates = "rates are not known yet"
    if page.tokens_min is not None:
        rates = f"{short_count(page.tokens_min)} tokens and {money(page.cost_min)} a minute, over {page.over_s:.1f} s"
    click.echo(
        f"{len(page.lines):,} of {page.matched:,} on {name}; {rates}; {page.nearly:,} nearly spent", err=True
    )
    if page.elsewhere:
        click.echo(f"{page.elsewhere:,} agents in worker processes are not among them.", err=True)
