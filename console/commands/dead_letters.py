"""`observe dead-letters`."""

from __future__ import annotations

import asyncio
import sys

import click

from observe.console.acting import Manner, act_on_node, reason_option, yes_option
from observe.console.exits import REFUSED
from observe.console.options import AgentName, json_option, node_argument, timeout_option

WHYS = ("ended", "no such name", "mailbox full", "refused", "dropped", "given up")


@click.command("dead-letters")
@node_argument
@click.argument("letter", type=click.IntRange(1), required=False)
@click.option(
    "--again", is_flag=True, help="Send this letter again, to whoever has its addressee's name now."
)
@click.option("--to", type=AgentName(), metavar="AGENT", help="With --again: to this agent instead.")
@click.option("--grep", "text", default="", metavar="TEXT", help="Only those for, from, or with TEXT.")
@click.option("--why", type=click.Choice(WHYS), help="Only those that reached nobody for this reason.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, metavar="N", help="The newest N."
)
@yes_option
@reason_option
@json_option
@timeout_option
def command(
    node: str, letter: int | None, again: bool, to: int | str | None, text: str, why: str | None, limit: int, yes: bool, reason: str,
    as_json: bool, timeout_s: float,
) -> None:  # fmt: skip
    """Messages that reached nobody: for whom, from whom, and why; one of them in full; send one again.

    \b
    observe dead-letters shop
    observe dead-letters shop --why 'mailbox full' --grep session-7
    observe dead-letters shop 17                       # the whole message
    observe dead-letters shop 17 --again --reason "the session is back"
    observe dead-letters shop --json | jq '.by_target'
    """
    if again:
        if letter is None:
            raise click.UsageError("Give the number of the letter to send again.")
        _again(node, letter, to, reason, Manner(yes, as_json, timeout_s))
    elif to is not None:
        raise click.UsageError("--to goes with --again.")
    elif letter is not None:
        asyncio.run(_one(node, letter, as_json, timeout_s))
    else:
        asyncio.run(_list(node, text, why or "", limit, as_json, timeout_s))


async def _list(node: str, text: str, why: str, limit: int, as_json: bool, timeout_s: float) -> None:
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        page = await client.dead_letters(text=text, why=why, limit=limit)
        name = client.info.name
    if as_json:
        print_json({"node": name, **document(page)})
        return
    from observe.console.letter_lines import counted, table

    if page.letters:
        click.echo("\n".join(table(page.letters)))
    of_all = f" that match, of {page.kept:,} kept" if text or why else ""
    click.echo(
        f"{len(page.letters):,} of {page.matched:,}{of_all}; {page.total:,} dead letters on {name}, "
        f"{page.in_a_minute:,} in the last minute",
        err=True,
    )
    if page.by_why:
        click.echo(f"why: {counted(page.by_why)}", err=True)


async def _one(node: str, letter: int, as_json: bool, timeout_s: float) -> None:
    from observe.console.exits import complain
    from observe.console.link import link
    from observe.console.output import document, print_json

    async with link(node, timeout_s) as client:
        found = (await client.dead_letters(letter=letter)).letters
    if not found:
        complain(f"dead letter {letter} is not kept", "`observe dead-letters` lists those that are")
        raise click.exceptions.Exit(REFUSED)
    if as_json:
        print_json(document(found[0]))
        return
    from observe.console import terminal
    from observe.console.letter_lines import detail_lines
    from observe.console.lines import Folds

    width = terminal.console().width if sys.stdout.isatty() else 200
    for line in detail_lines(found[0], Folds(), width, found[0].at):
        if line.key != "title":
            click.echo("  " * line.depth + line.text.rstrip())


def _again(node: str, letter: int, to: int | str | None, reason: str, manner: Manner) -> None:
    if not manner.yes and sys.stdin.isatty():
        asyncio.run(_one(node, letter, False, manner.timeout_s))
        # Asked outside of any event loop, where Ctrl-C ends the question at once.
        if not click.confirm(f"Send dead letter {letter} on {node} again?", err=True):
            click.echo("Not sent.", err=True)
            raise click.exceptions.Exit(REFUSED)
    act_on_node(node, lambda client: client.resend(letter, to, reason), manner)


COMMANDS = {"dead-letters": command}
