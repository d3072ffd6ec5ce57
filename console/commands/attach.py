"""`observe attach`."""

from __future__ import annotations

import sys

import click

from observe.console.options import node_argument
from observe.console.screens import FIRST_SCREEN, SCREENS, PageName


@click.command("attach")
@node_argument
@click.option(
    "--read-only",
    "--readonly",
    "readonly",
    is_flag=True,
    help="Look, but offer nothing that changes the node.",
)
@click.option(
    "--screen",
    type=click.Choice(SCREENS),
    default=FIRST_SCREEN,
    show_default=True,
    help="The screen to begin with.",
)
def command(node: str, readonly: bool, screen: PageName) -> None:
    """Open the console on a live node.

    \b
    observe attach shop
    observe attach shop --screen crashes
    observe attach shop@localhost --read-only
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            f"The console needs a terminal. For scripts there is `observe ps {node} --json`.",
            click.get_current_context(),
        )
    from observe.console.link import known

    known(node)  # an unknown name is told here, in one line, before the screen changes
    from observe.console.app import run_console

    raise click.exceptions.Exit(run_console(node, readonly=readonly, screen=screen))
