"""`observe approvals`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click

from observe.console.options import json_option, node_argument, timeout_option, watch_options

NOTHING: Final = "nothing waits for a person"


@click.command("approvals")
@node_argument
@click.option("--past", is_flag=True, help="Also what was decided lately, and by whom, the newest first.")
@watch_options
@json_option
@timeout_option
def command(node: str, past: bool, watch: bool, interval_s: float, as_json: bool, timeout_s: float) -> None:
    """List the activities that wait until a person agrees, the longest waiting first.

    \b
    observe approvals shop
    observe approvals shop --watch
    observe approvals shop --past
    observe approve shop session-7 --reason "the customer is known"
    observe refuse shop session-7 --reason "twice the price"
    observe approvals shop --json | jq -r '.approvals[] | select(.left_s < 60) | .pid'
    """
    asyncio.run(_approvals(node, past, interval_s if watch else None, as_json, timeout_s))


async def _approvals(node: str, past: bool, pause_s: float | None, as_json: bool, timeout_s: float) -> None:
    from rich.text import Text

    from observe.console import terminal
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        with terminal.Screen(enabled=pause_s is not None and not as_json) as screen:
            while True:
                found = document(await client.approvals())
                if as_json:
                    print_json(found, lines=pause_s is not None)
                elif pause_s is not None:
                    screen.update(Text("\n".join(_lines(found, past))))
                else:
                    for line in _lines(found, past):
                        click.echo(line, err=line == NOTHING)
                if pause_s is None:
                    return
                await asyncio.sleep(pause_s)


def _lines(found: dict[str, Any], past: bool) -> list[str]:
    from observe.console.approval_lines import past_lines, table

    left_out = found["total"] - len(found["approvals"])
    lines = table(found["approvals"]) if found["approvals"] else [NOTHING]
    if left_out:
        lines.append(f"and {left_out:,} more")
    return lines + (past_lines(found["decided"], found["decided_total"]) if past else [])
