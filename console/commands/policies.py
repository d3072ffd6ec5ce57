"""`observe policies`: what agents may do on a node; and files of policies, checked without one."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import click

from observe.console.exits import REFUSED
from observe.console.options import json_option, node_argument, timeout_option


class NodeOrVerb(click.Group):
    """`observe policies shop` is `observe policies show shop`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, "--help", "-h"}
        return super().parse_args(ctx, args if not args or known & set(args[:1]) else ["show", *args])


@click.group("policies", cls=NodeOrVerb)
def command() -> None:
    """What agents may do by the node's policies: what holds, how often each rule has decided; and files checked without a node.

    \b
    observe policies shop
    observe policies check shop.yaml
    observe policies check shop.yaml --agent Session --activity tool:refund --arg amount=500
    observe policies reload shop --reason "refunds are closed"
    """


@command.command("show")
@node_argument
@json_option
@timeout_option
def show(node: str, as_json: bool, timeout_s: float) -> None:
    """The policies that hold on a node, in the order in which they are asked, with how often each has decided and denied.

    \b
    observe policies shop
    observe policies shop --json | jq -r '.rules[] | select(.denied > 0) | .policy'
    """
    asyncio.run(_show(node, as_json, timeout_s))


async def _show(node: str, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json
    from observe.console.policy_lines import lines

    async with link(node, timeout_s) as client:
        held = document(await client.policies())
    if as_json:
        print_json(held)
        return
    for line in lines(held):
        click.echo(line, err=not held["source"])


@command.command("reload")
@node_argument
@click.option("--reason", default="", help="Why; goes to the audit log.")
@json_option
@timeout_option
def reload(node: str, reason: str, as_json: bool, timeout_s: float) -> None:
    """Have the node read its file of policies now. It does so by itself when the file has changed; here you see what came of it.

    \b
    observe policies reload shop --reason "refunds are closed"
    """
    asyncio.run(_reload(node, reason, as_json, timeout_s))


async def _reload(node: str, reason: str, as_json: bool, timeout_s: float) -> None:
    from observe.console.format import one_line
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        acted = document(await client.reload_policies(reason=reason))
    if as_json:
        print_json(acted)
    else:
        click.echo(one_line(acted["what"]))


@command.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--activity", metavar="NAME", help="What would be said to this activity, such as tool:refund?")
@click.option("--send", "to", metavar="TO", help="Or to a message for this agent, by name or class?")
@click.option(
    "--agent",
    "agents",
    metavar="CLASS",
    multiple=True,
    help="Who tries it: its class, and its name if you like.",
)
@click.option(
    "--arg",
    "arguments",
    metavar="NAME=VALUE",
    multiple=True,
    help="An argument of it; as JSON, or a text.",
)
@click.option("--at", metavar="HH:MM", help="At this time of day; now if left out.")
@json_option
def check(
    file: Path,
    activity: str | None,
    to: str | None,
    agents: tuple[str, ...],
    arguments: tuple[str, ...],
    at: str | None,
    as_json: bool,
) -> None:
    """Check a file of policies, without a node; and what it would say to something that an agent might try.

    The exit status is 1 when something is wrong with the file.

    \b
    observe policies check shop.yaml
    observe policies check shop.yaml --agent Session --activity tool:refund --arg amount=500 --at 22:30
    """
    from observe.console.output import print_json
    from observe.probe.policy_check import Asked
    from observe.probe.policy_check import check as look

    if activity is not None and to is not None:
        raise click.UsageError("Give one of --activity and --send.")
    asked = None
    if activity is not None:
        asked = Asked("activity", [activity], agents or ("",), _read(arguments), _minute(at))
    elif to is not None:
        asked = Asked("send", [to], agents or ("",), _read(arguments), _minute(at))
    elif agents or arguments or at:
        raise click.UsageError("--agent, --arg and --at are for --activity or --send.")
    found = look(file, asked)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["faults"]:
        click.get_current_context().exit(REFUSED)


def _print(found: dict[str, Any]) -> None:
    from observe.console.format import one_line

    for fault in found["faults"]:
        click.echo(one_line(fault["said"]), err=True)
    if found["faults"]:
        return
    click.echo(f"{found['file']} is right: {found['size']}, version {found['version']}")
    answer = found.get("answer")
    if answer is not None:
        level = f" {answer['level']}" if answer["level"] else ""
        by = f" by {answer['policy']}" if answer["policy"] else ""
        why = f": {one_line(answer['reason'])}" if answer["reason"] else ""
        click.echo(f"{answer['effect']}{level}{by}{why}")


def _read(arguments: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in arguments:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"it is NAME=VALUE, not {one!r}", param_hint="--arg")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _minute(at: str | None) -> int | None:
    if at is None:
        return None
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise click.BadParameter(f"it is HH:MM, not {at!r}", param_hint="--at")
    return int(at[:2]) * 60 + int(at[3:])
