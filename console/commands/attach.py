"""`observe attach`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

import click

from observe.console.fleet_options import Nodes, fleet_options
from observe.console.options import nodes_argument
from observe.console.screens import ATTACH_SCREENS, FIRST_SCREEN, PageName, in_browser


@click.command("attach")
@nodes_argument
@fleet_options
@click.option(
    "--read-only",
    "--readonly",
    "readonly",
    is_flag=True,
    help="Look, but offer nothing that changes the node.",
)
@click.option(
    "--screen",
    type=click.Choice(ATTACH_SCREENS),
    default=None,
    help=f"The screen to begin with: on one node {FIRST_SCREEN}, on several nodes.",
)
@click.option("--ascii", "plain", is_flag=True, help="Draw nothing beyond ASCII, as OBSERVE_ASCII=1 does.")
@click.option(
    "--keys", "list_keys", is_flag=True, help="Print all actions and their keys, as keys.toml takes them."
)
def command(
    nodes: tuple[str, ...],
    file: Path | None,
    names: tuple[str, ...],
    readonly: bool,
    screen: str | None,
    plain: bool,
    list_keys: bool,
) -> None:
    """Open the console on a live node, or on several.

    Of several nodes it shows a line each, the findings of all, and one table of their agents; Enter opens one, and n leads back.

    \b
    observe attach shop
    observe attach shop --screen crashes
    observe attach shop@localhost --read-only
    observe attach shop@10.0.0.5 shop@10.0.0.6
    observe attach --fleet fleet.txt
    observe attach --keys > keys.toml
    """
    if list_keys:
        from observe.console import keymap
        from observe.console.keys import ACTIONS

        click.echo(f"# {keymap.default_path()}", err=True)
        click.echo("\n".join(keymap.listed(ACTIONS)))
        return
    if plain:
        os.environ["OBSERVE_ASCII"] = "1"
    chosen = Nodes(file, names, nodes, use_default=False)
    if chosen.is_empty:
        raise click.UsageError(
            "Name a node, several, or a file of nodes (--fleet).", click.get_current_context()
        )
    several = chosen.are_several or screen == "nodes"
    if several and screen not in (None, "nodes", "agents"):
        raise click.BadParameter(
            f"{screen} is of one node; of several there are nodes and agents", param_hint="--screen"
        )
    if not in_browser() and not (sys.stdin.isatty() and sys.stdout.isatty()):
        node = nodes[0] if nodes else "NODE"
        raise click.UsageError(
            f"The console needs a terminal. For scripts there is `observe ps {node} --json`.",
            click.get_current_context(),
        )
    if several:
        found = asyncio.run(chosen.find(3.0))
        from observe.console.fleet_app import run_fleet

        raise click.exceptions.Exit(
            run_fleet(found, readonly=readonly, screen="fleet_agents" if screen == "agents" else "nodes")
        )
    from observe.console.link import known

    known(nodes[0])  # an unknown name is told here, in one line, before the screen changes
    from observe.console.app import run_console

    raise click.exceptions.Exit(
        run_console(nodes[0], readonly=readonly, screen=cast(PageName, screen or FIRST_SCREEN))
    )
