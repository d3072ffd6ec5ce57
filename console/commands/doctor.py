"""`observe doctor`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from observe.console.exits import REFUSED
from observe.console.options import json_option, node_argument, timeout_option

if TYPE_CHECKING:
    from observe.probe.doctor import Diagnosis


@click.command("doctor")
@node_argument
@json_option
@timeout_option
@click.option("--canary/--no-canary", default=True, help="Whether to end with the canary.")
def command(node: str, as_json: bool, timeout_s: float, canary: bool) -> None:
    """Say why an attach to a node does not work, or that it does.

    One line a check: name, address, port, handshake, version, clock, role, vitals, scheduler. It ends with a canary: a
    made-up agent is spawned, messaged, traced and killed, and must be seen doing so. That takes the role operator; for
    a viewer it is omitted. Ends with 0 when all is well, with 1 when something is wrong.

    \b
    observe doctor shop
    observe doctor shop@10.0.0.5
    observe doctor shop --json | jq -r '.checks[] | select(.status == "failed") | .text'
    """
    from observe.probe.doctor import diagnose, is_name

    if not is_name(node):
        raise click.BadParameter(
            "a node is named like shop, shop@localhost, shop@10.0.0.5 or shop@host:4371", param_hint="NODE"
        )
    diagnosis = asyncio.run(diagnose(node, timeout_s, canary=canary))
    if as_json:
        from observe.console.output import print_json

        print_json(diagnosis.to_map())
    else:
        _show(diagnosis)
    if not diagnosis.is_well:
        raise click.exceptions.Exit(REFUSED)


def _show(diagnosis: Diagnosis) -> None:
    from observe.console.format import one_line  # names and reasons come from strangers

    for check in diagnosis.checks:
        click.echo(f"{check.status:<8} {check.step:<10} {one_line(check.text)}")
        if check.advice:
            click.echo(f"{'':19} {one_line(check.advice)}")
