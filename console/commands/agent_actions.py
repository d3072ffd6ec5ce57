"""The verbs that act on one agent, made from the table of `observe.console.deeds`: `kill`, `suspend`, `edit` and their like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from observe.console.acting import (
    Asking,
    Manner,
    act_on_agent,
    json_value,
    manner_options,
    yes_option,
)
from observe.console.deeds import DEEDS, Deed, Want, do, question
from observe.console.options import AgentName, agent_argument, node_argument

if TYPE_CHECKING:
    from observe.console.acting import Do

CHOICES: Final = ("oldest", "newest", "containing", "everything")
"""The four ways to say which messages."""


def _command(deed: Deed) -> click.Command:
    """A deed as a command: its wants are arguments and options; it asks first if it can do harm."""

    def run(
        node: str,
        agent: int | str,
        reason: str,
        as_json: bool,
        timeout_s: float,
        yes: bool = False,
        is_text: bool = False,
        dry_run: bool = False,
        **given: Any,
    ) -> None:
        arguments = _arguments(deed, given, is_text)

        def doing(dry: bool) -> Do:
            return lambda client, whom: do(client, deed, whom, arguments, reason, dry_run=dry)

        asking = None
        if deed.asks and not dry_run:
            rehearse = doing(True) if deed.rehearses else None
            asking = Asking(lambda described: question(deed, described, arguments), deed.done, rehearse)
        act_on_agent(node, agent, doing(dry_run), Manner(yes, as_json, timeout_s), asking)

    function: Any = manner_options(run)
    if deed.asks:
        function = yes_option(function)
    if deed.rehearses:
        function = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")(function)
    for want in reversed(deed.wants):
        function = _parameter(want)(function)
    return click.command(deed.id, help=f"{deed.description}\n\n{deed.more}")(
        node_argument(agent_argument(function))
    )


def _parameter(want: Want) -> Any:
    match want.kind:
        case "messages":
            return _which_options
        case "choice":
            return click.option(
                "--from",
                want.name,
                type=click.Choice(want.choices),
                default=want.choices[0],
                show_default=True,
                help="The successor begins as its child spec says, from the last checkpoint, or by `init`.",
            )
        case "agent":
            return click.argument(want.name, type=AgentName())
        case "json":
            text = click.option("--text", "is_text", is_flag=True, help="Take it as text and not as JSON.")
            argument = click.argument(want.name)
            return lambda function: argument(text(function))
        case _:
            return click.argument(want.name) if want.needed else click.argument(want.name, default="")


def _which_options(function: Any) -> Any:
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


def _arguments(deed: Deed, given: Mapping[str, Any], is_text: bool) -> dict[str, Any]:
    arguments = {name: value for name, value in given.items() if name not in CHOICES}
    for want in deed.wants:
        if want.kind == "json" and not is_text:
            arguments[want.name] = json_value(arguments[want.name], f"the {want.name}")
        elif want.kind == "messages":
            chosen = {name: given[name] for name in CHOICES if given[name]}
            if len(chosen) != 1:
                raise click.UsageError("Give one of --oldest N, --newest N, --containing TEXT, --all.")
            arguments |= chosen
    return arguments


COMMANDS: Final = {deed.id: _command(deed) for deed in DEEDS if not deed.on_node}
