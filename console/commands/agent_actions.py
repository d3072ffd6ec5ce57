"""The verbs that act on one agent and take nothing but its name: `suspend`, `stop`, `next-rung` and their like."""

from __future__ import annotations

from typing import Any, Final, Literal

import click

from observe.console.acting import Asking, Manner, act_on_agent, manner_options, yes_option
from observe.console.options import agent_argument, node_argument


def _verb(name: str, help_text: str, asking: Asking | None = None) -> click.Command:
    """A verb of the wire, as a command; it asks first if it can do harm."""
    wire_verb = name.replace("-", "_")

    def run(
        node: str, agent: int | str, reason: str, as_json: bool, timeout_s: float, yes: bool = False
    ) -> None:
        act_on_agent(
            node,
            agent,
            lambda client, whom: client.act(wire_verb, agent=whom, reason=reason),
            Manner(yes, as_json, timeout_s),
            asking,
        )

    options: Any = manner_options(run)
    if asking is not None:
        options = yes_option(options)
    return click.command(name, help=help_text)(node_argument(agent_argument(options)))


suspend = _verb(
    "suspend",
    """Let one agent take no further message; its mailbox keeps queueing.

    A step that is under way ends first: then the status is 1, and the agent is suspended when it has ended. Timers
    keep running, and a kill works as ever.

    \b
    observe suspend shop session-7
    observe suspend shop 42 --yes --reason "to look at it in peace"
    """,
    Asking("Suspend {agent}", "suspended"),
)

resume = _verb(
    "resume",
    """Let a suspended agent go on with its mailbox.

    \b
    observe resume shop session-7
    """,
)

stop = _verb(
    "stop",
    """Ask one agent to end in order, with its `terminate`; its supervisor may bring it back.

    \b
    observe stop shop session-7
    observe stop shop 42 --yes --reason "no longer needed"
    """,
    Asking("Stop {agent}", "stopped"),
)

next_rung = _verb(
    "next-rung",
    """Treat one agent as failed, so that the next rung of its ladder is taken.

    \b
    observe next-rung shop session-7
    observe next-rung shop session-7 --yes --reason "the retries lead nowhere" --json
    """,
    Asking("Take the next rung of {agent}", "taken"),
)

checkpoint = _verb(
    "checkpoint",
    """Save one agent's state now.

    \b
    observe checkpoint shop session-7 --reason "before the deployment"
    """,
)

reset_budget = _verb(
    "reset-budget",
    """Let the budget of one agent, or of the tree below a supervisor, begin anew.

    \b
    observe reset-budget shop session-7
    observe reset-budget shop sessions --yes --reason "paid for"
    """,
    Asking("Reset the budget of {agent}", "reset"),
)


@click.command("restart")
@node_argument
@agent_argument
@click.option(
    "--from",
    "source",
    type=click.Choice(["spec", "checkpoint", "fresh"]),
    default="spec",
    show_default=True,
    help="The successor begins as its child spec says, from the last checkpoint, or by `init`.",
)
@yes_option
@manner_options
def restart(
    node: str,
    agent: int | str,
    source: Literal["spec", "checkpoint", "fresh"],
    yes: bool,
    reason: str,
    as_json: bool,
    timeout_s: float,
) -> None:
    """End one agent in order and start its successor in the same place, alone.

    \b
    observe restart shop session-7
    observe restart shop session-7 --from checkpoint --yes
    observe restart shop session-7 --from fresh --json | jq .pid
    """
    act_on_agent(
        node,
        agent,
        lambda client, whom: client.restart(whom, source, reason),
        Manner(yes, as_json, timeout_s),
        Asking("Restart {agent}", "restarted"),
    )


@click.command("cancel")
@node_argument
@agent_argument
@click.argument("activity", default="")
@yes_option
@manner_options
def cancel(
    node: str, agent: int | str, activity: str, yes: bool, reason: str, as_json: bool, timeout_s: float
) -> None:
    """Cancel an activity of one agent where it waits; the innermost when none is named.

    Its block raises ActivityCancelled; what follows is the agent's own affair.

    \b
    observe cancel shop session-7
    observe cancel shop session-7 tool:search --yes --reason "the index is gone"
    """
    act_on_agent(
        node,
        agent,
        lambda client, whom: client.cancel_activity(whom, activity, reason),
        Manner(yes, as_json, timeout_s),
        Asking(f"Cancel {_braced(activity) or 'the innermost activity'} of {{agent}}", "cancelled"),
    )


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


COMMANDS: Final = {
    command.name: command
    for command in (suspend, resume, stop, restart, next_rung, cancel, checkpoint, reset_budget)
}
