"""`observe audit rotate-key`: another key signs the log from here on, and the one before says so."""

from __future__ import annotations

import asyncio
from typing import Literal

import click

from observe.console.commands.audit_where import opened, where_argument
from observe.console.exits import REFUSED, complain
from observe.console.options import json_option, timeout_option


@click.command("rotate-key")
@where_argument
@click.option(
    "--compromised",
    is_flag=True,
    help="Somebody else may have the key: nobody is to believe in what it says.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; it goes to the audit log.")
@json_option
@timeout_option
def rotate_key(where: str, compromised: bool, reason: str, as_json: bool, timeout_s: float) -> None:
    """Sign the log with a new key from here on. The old one signs that it follows, and is thrown away.

    Consoles and `verify` go from the old key to the new one by themselves. After --compromised they do not, since a thief
    could have said the same: tell them the new key on another way, and then `observe audit forget NODE`.

    A lost key needs no command: the node goes on with a new one, says so in the log, and consoles refuse it.

    \b
    observe audit rotate-key shop --reason "yearly"
    observe audit rotate-key ./audit --compromised --reason "disk was stolen"
    """
    asyncio.run(_rotate(where, "compromised" if compromised else "routine", reason, as_json, timeout_s))


async def _rotate(
    where: str, why: Literal["routine", "compromised"], reason: str, as_json: bool, timeout_s: float
) -> None:
    from observe.audit.errors import AuditUnavailable
    from observe.console.output import print_json

    async with opened(where, timeout_s) as log:
        try:
            done = await log.rotate(why, reason)
        except AuditUnavailable as error:
            complain(str(error), "if its node is running, name the node and not the directory")
            raise click.exceptions.Exit(REFUSED) from None
    if as_json:
        print_json(done.to_wire())
        return
    click.echo(done.what)
    if why == "compromised":
        click.echo(
            "consoles elsewhere refuse this log until they are told: observe audit forget NODE", err=True
        )
