"""`observe code`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from observe.console.options import json_option, node_argument, timeout_option

if TYPE_CHECKING:
    from observe.probe.wire_reload import LoadedCode


@click.command("code")
@node_argument
@click.argument("module", required=False, default="")
@click.option("--changed", is_flag=True, help="Only modules that are others on the disk.")
@json_option
@timeout_option
def command(node: str, module: str, changed: bool, as_json: bool, timeout_s: float) -> None:
    """List the project's modules as they are loaded, and what has changed on the node's disk since.

    With MODULE: the difference from what is loaded to what is on the disk. `observe reload` puts it in place.

    \b
    observe code shop
    observe code shop shop.orders
    observe code shop --changed --json | jq -r '.modules[].name' | xargs observe reload shop --dry-run
    """
    asyncio.run(_code(node, module, changed, as_json, timeout_s))


async def _code(node: str, module: str, changed: bool, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        found = await client.code(module)
    if changed:
        found = found.model_copy(update={"modules": [one for one in found.modules if one.state != "same"]})
    if as_json:
        print_json(document(found))
    elif module:
        for text in found.diff:
            click.echo(text)
        if not found.diff:
            click.echo(f"{module} is on the disk as it is loaded", err=True)
    else:
        _show(found)


def _show(found: LoadedCode) -> None:
    from rich.text import Text

    from observe.console import render_parts, terminal
    from observe.console.code_lines import classes_text, state_text
    from observe.console.format import one_line, plural

    table = render_parts.plain_table()
    for heading in ("module", "version", "lines", "on the disk", "agents"):
        table.add_column(heading, justify="right" if heading in ("version", "lines") else "left")
    for one in found.modules:
        table.add_row(
            Text(one_line(one.name)),
            str(one.version),
            f"{one.lines:,}",
            Text(state_text(one)),
            Text(classes_text(one)),
        )
    terminal.show(table)
    click.echo(f"{plural(found.total, 'module')}, {found.changed:,} changed on the disk", err=True)
    if found.undoable:
        click.echo(
            f"the newest reload was of {', '.join(found.undoes)}; `observe reload NODE --rollback` undoes it",
            err=True,
        )
