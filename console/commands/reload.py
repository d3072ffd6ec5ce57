"""`observe reload`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from observe.console.exits import REFUSED, complain
from observe.console.options import json_option, node_argument, timeout_option


@click.command("reload")
@node_argument
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@click.option("--dry-run", is_flag=True, help="Only load and compare, and tell what would change.")
@click.option("--rollback", is_flag=True, help="Undo the newest reload.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0.01, 5.0), default=3.0, show_default=True, metavar="S",
    help="How long steps under way may take to end.",
)  # fmt: skip
@click.option("--reason", default="", help="Why; it goes to the audit log.")
@json_option
@timeout_option
def command(
    node: str,
    modules: tuple[str, ...],
    dry_run: bool,
    rollback: bool,
    wait_s: float,
    reason: str,
    as_json: bool,
    timeout_s: float,
) -> None:
    """Put the code of MODULE on the node's disk in the place of what is loaded, all or nothing.

    Its agents finish their steps on the old code, are migrated, and go on with their mailboxes.

    \b
    observe reload shop shop.orders --dry-run
    observe reload shop shop.orders shop.prices --reason "rounding"
    observe reload shop --rollback
    """
    if not modules and not rollback:
        raise click.UsageError("Name a module, as in `import shop.orders`, or give --rollback.")
    if rollback and dry_run:
        raise click.UsageError("--rollback and --dry-run do not go together.")
    asyncio.run(_reload(node, modules, dry_run, rollback, wait_s, reason, as_json, timeout_s))


async def _reload(
    node: str, modules: tuple[str, ...], dry_run: bool, rollback: bool, wait_s: float, reason: str, as_json: bool, timeout_s: float
) -> None:  # fmt: skip
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        done = document(
            await client.reload(modules, dry_run=dry_run, rollback=rollback, timeout_s=wait_s, reason=reason)
        )
    if as_json:
        print_json(done)
    else:
        _show(done)
    if done["refusals"]:
        raise click.exceptions.Exit(REFUSED)


def _show(done: dict[str, Any]) -> None:
    from observe.console.format import duration, one_line

    for text in done["diff"]:
        click.echo(text)
    for name in ("added", "changed", "removed", "kept"):
        for text in done[name]:
            click.echo(f"{name:<8} {one_line(text)}")
    for name, count in done["classes"].items():
        click.echo(f"{'agents':<8} {count:,} of {one_line(name)}")
    for text in done["refusals"]:
        complain(text)
    if not done["refusals"]:
        paused = "" if done["dry_run"] else f"; they paused for {duration(done['paused_s'])}"
        click.echo(one_line(done["what"]) + paused)
