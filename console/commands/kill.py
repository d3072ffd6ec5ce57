"""`observe kill`."""

from __future__ import annotations

import click

from observe.console.acting import Asking, Manner, act_on_agent, manner_options, yes_option
from observe.console.options import agent_argument, node_argument


@click.command("kill")
@node_argument
@agent_argument
@yes_option
@manner_options
def command(node: str, agent: int | str, yes: bool, reason: str, as_json: bool, timeout_s: float) -> None:
    """End one agent at once; its supervisor may bring it back.

    Asks first when a person is at the keyboard; a script is not asked.

    \b
    observe kill shop session-7
    observe kill shop 42 --yes --reason "hangs since 03:10"
    """
    act_on_agent(
        node,
        agent,
        lambda client, whom: client.kill(whom, reason=reason),
        Manner(yes, as_json, timeout_s),
        Asking("Kill {agent}", "killed"),
    )
