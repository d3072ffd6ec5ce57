"""`observe audit anchor` and `forget`: checkpoints of a log that are kept elsewhere, and those kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from observe.console.commands.audit_where import opened, where_argument
from observe.console.exits import REFUSED, complain
from observe.console.options import timeout_option

if TYPE_CHECKING:
    from observe.probe.audit_sources import Log


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


Place = Callable[[str, "Log"], Awaitable[None]]
"""Takes a checkpoint somewhere; `NotAnchored` when it did not get there."""


def _places(*, path: str, webhook: str, program: str, otlp: str, witness: str) -> dict[str, Place]:
    """Those that were named, by how they are told of; none: standard output."""
    from observe.probe import anchoring

    async def to_file(note: str, _log: Log) -> None:
        anchoring.to_file(Path(path), note)

    async def to_webhook(note: str, _log: Log) -> None:
        await anchoring.to_webhook(webhook, note)

    async def to_command(note: str, _log: Log) -> None:
        await asyncio.to_thread(anchoring.to_command, program, note)

    async def to_otlp(note: str, _log: Log) -> None:
        await anchoring.to_otlp(otlp, note)

    async def to_witness(note: str, log: Log) -> None:
        click.echo(note + await anchoring.to_witness(witness, note, log.proof), nl=False)

    async def to_output(note: str, _log: Log) -> None:
        click.echo(note)

    known = (
        (path, f"in {path}", to_file),
        (webhook, f"by the webhook {webhook}", to_webhook),
        (program, f"by `{program}`", to_command),
        (otlp, f"with the collector {otlp}", to_otlp),
        (witness, f"with the witness {witness}", to_witness),
    )
    return {label: place for name, label, place in known if name} or {"": to_output}


async def _anchor(where: str, every: float | None, timeout_s: float, **named: str) -> None:
    from observe.probe.errors import AttachError

    places, kept = _places(**named), dict[str, str]()
    while True:
        try:
            has_failed = await _round(where, timeout_s, places, kept)
        except AttachError as error:
            if every is None:
                raise
            complain(str(error), error.hint)
        if every is None:
            break
        await asyncio.sleep(every)
    if has_failed:
        raise click.exceptions.Exit(REFUSED)
    if not kept:
        complain("there is no checkpoint yet: nothing was recorded")
        raise click.exceptions.Exit(REFUSED)


async def _round(where: str, timeout_s: float, places: Mapping[str, Place], kept: dict[str, str]) -> bool:
    """Take the newest checkpoint to each place that has not got it; `kept` is what each has. Says whether one failed: the others
    have it nevertheless."""
    from observe.audit.notes import read_note
    from observe.console.format import plural
    from observe.probe.anchoring import NotAnchored

    has_failed = False
    async with opened(where, timeout_s) as log:
        note = (await log.head()).checkpoint
        for label, place in places.items():
            if not note or kept.get(label) == note:
                continue
            try:
                await place(note, log)
            except NotAnchored as error:
                complain(str(error))
                has_failed = True
                continue
            kept[label] = note
            if label:
                click.echo(f"{plural(read_note(note).size, 'record')} anchored {label}", err=True)
    return has_failed


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
