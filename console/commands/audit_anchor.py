"""`observe audit anchor` and `forget`: checkpoints of a log that are kept elsewhere, and those kept here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from observe.console.commands.audit_where import opened, where_argument
from observe.console.exits import REFUSED, complain
from observe.console.options import timeout_option


@click.command("anchor")
@where_argument
@click.option(
    "--file",
    "path",
    default="",
    metavar="FILE",
    help="Add the checkpoint to this file, best on another disk.",
)
@click.option("--webhook", default="", metavar="URL", help="POST it there as text.")
@click.option(
    "--run",
    "program",
    default="",
    metavar="COMMAND",
    help="Run this with the checkpoint on its standard input.",
)
@click.option(
    "--otlp",
    default="",
    metavar="URL",
    help="Send it as a log record to this collector, such as http://host:4318.",
)
@click.option("--witness", default="", metavar="URL", help="Have a witness of the C2SP protocol sign it.")
@click.option(
    "--every", type=click.FloatRange(1.0), default=None, metavar="S", help="Go on, so often, until Ctrl-C."
)
@timeout_option
def anchor(where: str, every: float | None, timeout_s: float, **places: str) -> None:
    """Take the newest checkpoint elsewhere; on stdout when nothing else is said. `verify --anchor` compares with it.

    \b
    observe audit anchor shop --file /mnt/other/shop.notes --every 60
    observe audit anchor shop --witness http://witness:8080
    """
    asyncio.run(_anchor(where, every, timeout_s, **places))


async def _anchor(
    where: str,
    every: float | None,
    timeout_s: float,
    *,
    path: str,
    webhook: str,
    program: str,
    otlp: str,
    witness: str,
) -> None:
    from observe.probe import anchoring

    before = ""
    while True:
        try:
            async with opened(where, timeout_s) as log:
                note = (await log.head()).checkpoint
                if note and note != before:
                    if path:
                        anchoring.to_file(Path(path), note)
                    if webhook:
                        await anchoring.to_webhook(webhook, note)
                    if program:
                        await asyncio.to_thread(anchoring.to_command, program, note)
                    if otlp:
                        await anchoring.to_otlp(otlp, note)
                    if witness:
                        click.echo(note + await anchoring.to_witness(witness, note, log.proof), nl=False)
                    elif not (path or webhook or program or otlp):
                        click.echo(note)
                    before = note
        except anchoring.NotAnchored as error:
            complain(str(error))
            if every is None:
                raise click.exceptions.Exit(REFUSED) from None
        if every is None:
            break
        await asyncio.sleep(every)
    if not before:
        complain("there is no checkpoint yet: nothing was recorded")
        raise click.exceptions.Exit(REFUSED)


@click.command("forget")
@click.argument("node")
def forget(node: str) -> None:
    """Let another log of NODE be believed (`shop`, or `shop@host` where several hosts have one): after you began a new one on purpose."""
    from observe.probe.witness import forget_seen, known_nodes

    known = known_nodes(node)
    if len(known) == 1:
        [node] = known
    if not forget_seen(node):
        hint = f"one of {', '.join(known)}" if known else "name it as shop@host, as the refusal named it"
        complain(f"no checkpoint of {node} is kept", hint)
        raise click.exceptions.Exit(REFUSED)
    click.echo(f"the next log of {node} will be believed")
