"""The verbs that act on one agent, or on all that a filter finds, made from the table of `observe.console.deeds`: `kill`, `suspend`, `edit` and their like."""

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
from observe.console.acting_many import MOST, MOST_EVER, Many, act_on_many
from observe.console.deeds import DEEDS, Deed, Want, do, question
from observe.console.options import AgentName, agent_argument, node_argument

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from observe.console.acting import Do
    from observe.console.deeds import Outcome
    from observe.probe.client import NodeClient

WHERE: Final = "observe.where"
"""Key of click's context that tells whether many are meant."""

CHOICES: Final = ("oldest", "newest", "containing", "everything")
"""The four ways to say which messages."""


def _command(deed: Deed) -> click.Command:
    """A deed as a command: its wants are arguments and options; it asks first if it can do harm."""

    def run(
        node: str,
        reason: str,
        as_json: bool,
        timeout_s: float,
        where: str | None,
        rate: float,
        limit: int,
        dry_run: bool,
        agent: int | str = 0,
        yes: bool = False,
        is_text: bool = False,
        **given: Any,
    ) -> None:
        arguments = _arguments(deed, given, is_text)

        def doing(dry: bool) -> Do:
            return lambda client, whom: do(client, deed, whom, arguments, reason, dry_run=dry)

        if where is not None:
            many = Many(node, where, deed, limit, rate, dry_run, reason, Manner(yes, as_json, timeout_s))

            def on_one(client: NodeClient, whom: int | str) -> Awaitable[Outcome]:
                return do(client, deed, whom, arguments, many.reason)

            act_on_many(many, doing(True) if deed.rehearses else None, on_one)
            return
        if dry_run and not deed.rehearses:
            raise click.UsageError("--dry-run goes with --where: it shows the list.")
        asking = None
        if deed.asks and not dry_run:
            rehearse = doing(True) if deed.rehearses else None
            asking = Asking(lambda described: question(deed, described, arguments), deed.done, rehearse)
        act_on_agent(node, agent, doing(dry_run), Manner(yes, as_json, timeout_s), asking)

    function: Any = manner_options(run)
    function = yes_option(function)
    function = _many_options(deed, function)
    for want in reversed(deed.wants):
        function = _parameter(want)(function)
    return click.command(deed.id, OneOrMany, help=f"{deed.description}\n\n{deed.more}{_example(deed)}")(
        node_argument(agent_argument(function))
    )


class OneOrMany(click.Command):
    """With `--where` there is no AGENT to be named, and what follows NODE is what the action wants."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        ctx.meta[WHERE] = any(one == "--where" or one.startswith("--where=") for one in options)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return [one for one in params if one.name != "agent"] if ctx.meta.get(WHERE) else params


def _example(deed: Deed) -> str:
    wants = {"agent": " session-8", "messages": " --all"} | (
        {"choice": " isolated"} if deed.id == "contain" else {}
    )
    more = "".join(
        wants.get(want.kind, {"message": " '\"stop\"'", "field": " limit", "value": " 20"}.get(want.name, ""))
        for want in deed.wants
    )
    return f"\n\n\b\nobserve {deed.id} shop{more} --where 'class=Session mailbox>1000' --dry-run"


def _many_options(deed: Deed, function: Any) -> Any:
    """Instead of AGENT: all that a filter finds."""
    for option in (
        click.option(
            "--dry-run",
            is_flag=True,
            help=f"Only tell what would be done{'' if deed.rehearses else '; with --where'}.",
        ),
        click.option(
            "--rate",
            type=click.FloatRange(0.01, 1000),
            default=50.0,
            show_default=True,
            metavar="N",
            help="With --where: agents a second at most.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1, MOST_EVER),
            default=MOST,
            show_default=True,
            metavar="N",
            help="With --where: do nothing when more match.",
        ),
        click.option(
            "--where",
            metavar="FILTER",
            help="Instead of AGENT: all that match, as in `ps --filter`. The list comes first.",
        ),
    ):
        function = option(function)
    return function


def _parameter(want: Want) -> Any:
    match want.kind:
        case "messages":
            return _which_options
        case "choice" if want.needed:
            return click.argument(want.name, type=click.Choice(want.choices))
        case "list":
            return click.option(
                f"--{want.name}",
                want.name,
                metavar="A,B",
                help=f"{want.ask[0].upper()}{want.ask[1:]}. With commas between them; what its class says if left out.",
            )
        case "flag":
            return click.option(
                f"--{want.name.replace('_', '-')}",
                want.name,
                is_flag=True,
                help=f"{want.ask[0].upper()}{want.ask[1:]}".removesuffix(": yes or no") + ".",
            )
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
        case "number":
            return click.argument(want.name, type=click.IntRange(1), required=False)
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
    arguments = {name: value for name, value in given.items() if name not in CHOICES and value is not None}
    for want in deed.wants:
        if want.kind == "json" and not is_text:
            arguments[want.name] = json_value(arguments[want.name], f"the {want.name}")
        elif want.kind == "list":
            text = arguments.pop(want.name, None)
            if text is not None:
                arguments[want.name] = [part.strip() for part in text.split(",") if part.strip()]
        elif want.kind == "messages":
            chosen = {name: given[name] for name in CHOICES if given[name]}
            if len(chosen) != 1:
                raise click.UsageError("Give one of --oldest N, --newest N, --containing TEXT, --all.")
            arguments |= chosen
    return arguments


COMMANDS: Final = {deed.id: _command(deed) for deed in DEEDS if not deed.on_node}
