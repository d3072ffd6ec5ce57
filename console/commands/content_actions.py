"""The verbs that change what one agent holds: `send`, `edit`, `drop`, `move`."""

from __future__ import annotations

from typing import Any, Final

import click

from observe.console.acting import (
    Asking,
    Deed,
    Manner,
    act_on_agent,
    json_value,
    manner_options,
    yes_option,
)
from observe.console.options import AgentName, agent_argument, node_argument

text_option = click.option("--text", "is_text", is_flag=True, help="Take it as text and not as JSON.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")


@click.command("send")
@node_argument
@agent_argument
@click.argument("message")
@text_option
@yes_option
@manner_options
def send(
    node: str,
    agent: int | str,
    message: str,
    is_text: bool,
    yes: bool,
    reason: str,
    as_json: bool,
    timeout_s: float,
) -> None:
    """Cast a message, a JSON value, to one agent.

    \b
    observe send shop session-7 '{"order": 3}'
    observe send shop session-7 work --text --reason "nudge"
    observe send shop session-7 -- -1
    """
    value = message if is_text else json_value(message, "the message")
    act_on_agent(
        node,
        agent,
        lambda client, whom: client.send(whom, value, reason),
        Manner(yes, as_json, timeout_s),
        Asking("Send it to {agent}", "sent"),
    )


@click.command("edit")
@node_argument
@agent_argument
@click.argument("field")
@click.argument("value")
@text_option
@dry_run_option
@yes_option
@manner_options
def edit(
    node: str,
    agent: int | str,
    field: str,
    value: str,
    is_text: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
    as_json: bool,
    timeout_s: float,
) -> None:
    """Put another value, in JSON, into one field of an agent's state.

    FIELD is an attribute or a path below it. The value must be what the field is declared as. Needs the role admin.

    \b
    observe edit shop session-7 limit 20 --dry-run
    observe edit shop session-7 limits.per_day 20 --yes --reason "asked for by the customer"
    observe edit shop session-7 tone friendly --text
    """
    new = value if is_text else json_value(value, "the value")

    def deed(dry: bool) -> Deed:
        return lambda client, whom: client.edit(whom, field, new, dry_run=dry, reason=reason)

    _act(
        node,
        agent,
        deed(dry_run),
        deed(True),
        dry_run,
        Manner(yes, as_json, timeout_s),
        "Edit {agent}",
        "edited",
    )


def choice_options(function: Any) -> Any:
    """Which of the messages that wait."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="All that wait."),
        click.option(
            "--containing", metavar="TEXT", help="Those with this in their text, as `inspect` shows it."
        ),
        click.option("--newest", type=click.IntRange(1), metavar="N", help="The last N."),
        click.option("--oldest", type=click.IntRange(1), metavar="N", help="The first N."),
    ):
        function = option(function)
    return function


@click.command("drop")
@node_argument
@agent_argument
@choice_options
@dry_run_option
@yes_option
@manner_options
def drop(node: str, agent: int | str, **options: Any) -> None:
    """Make dead letters of messages that wait for one agent; whoever waits for a reply is told.

    \b
    observe drop shop session-7 --containing poison --dry-run
    observe drop shop session-7 --oldest 1 --yes --reason "crashes it"
    """
    _mailbox(node, agent, "drop", {}, options, "Drop them from {agent}", "dropped")


@click.command("move")
@node_argument
@agent_argument
@click.argument("to", type=AgentName())
@choice_options
@dry_run_option
@yes_option
@manner_options
def move(node: str, agent: int | str, to: int | str, **options: Any) -> None:
    """Move messages that wait for one agent to another one, TO; replies go to whoever asked.

    \b
    observe move shop session-7 session-8 --all
    observe move shop session-7 session-8 --newest 100 --yes
    """
    _mailbox(node, agent, "move", {"to": to}, options, "Move them from {agent}", "moved")


def _mailbox(
    node: str,
    agent: int | str,
    do: Any,
    target: dict[str, Any],
    options: dict[str, Any],
    question: str,
    undone: str,
) -> None:
    choice = {
        name: options[name] for name in ("oldest", "newest", "containing", "everything") if options[name]
    }
    if len(choice) != 1:
        raise click.UsageError("Give one of --oldest N, --newest N, --containing TEXT, --all.")
    arguments = {**choice, **target, "reason": options["reason"]}

    def deed(dry: bool) -> Deed:
        return lambda client, whom: client.mailbox(whom, do, dry_run=dry, **arguments)

    manner = Manner(options["yes"], options["as_json"], options["timeout_s"])
    _act(node, agent, deed(options["dry_run"]), deed(True), options["dry_run"], manner, question, undone)


def _act(
    node: str,
    agent: int | str,
    deed: Deed,
    rehearse: Deed,
    dry_run: bool,
    manner: Manner,
    question: str,
    undone: str,
) -> None:
    asking = None if dry_run else Asking(question, undone, rehearse)
    act_on_agent(node, agent, deed, manner, asking)


COMMANDS: Final = {command.name: command for command in (send, edit, drop, move)}
