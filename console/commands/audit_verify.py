"""`observe audit verify`: prove a log, or name what was done to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from observe.console.commands.audit_where import opened, where_argument
from observe.console.exits import REFUSED, complain
from observe.console.options import json_option, timeout_option

if TYPE_CHECKING:
    from observe.audit.verify import Report


@click.command("verify")
@where_argument
@click.option("--key", default="", metavar="KEY", help="The log's public key, or a file with it.")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A file of checkpoints kept elsewhere.",
)
@click.option(
    "--no-receipts", is_flag=True, help="Do not compare with the receipts that our own consoles keep."
)
@json_option
@timeout_option
def verify(
    where: str, key: str, anchors: tuple[str, ...], no_receipts: bool, as_json: bool, timeout_s: float
) -> None:
    """Prove the log, or name the place of whatever was done to it.

    Compared with the newest receipt that our own consoles keep, and with every --anchor. Without --key the key of that
    receipt counts, or else the one beside the log, which proves only that the log is consistent in itself.

    Ends with 0 when all is proven, and with a status of its own for each kind of fault: docs/audit.md lists them.
    """
    asyncio.run(_verify(where, key, anchors, no_receipts, as_json, timeout_s))


async def _verify(
    where: str, key: str, paths: tuple[str, ...], no_receipts: bool, as_json: bool, timeout_s: float
) -> None:
    from observe.audit.notes import BadNote, Verifier, read_notes
    from observe.probe.witness import Seen, read_seen

    async with opened(where, timeout_s, files_first=True) as log:
        head = await log.head()
        try:
            verifier = Verifier.parse(_text_of(key)) if key else None
            anchors = [one.note for path in paths for one in read_notes(_text_of(path))]
            origin = (verifier.vkey if verifier else head.key).partition("+")[0]
            seen: Seen | None = None if no_receipts else read_seen(origin.removeprefix("observe/"))
            if seen is not None:
                verifier = verifier or Verifier.parse(seen.key)
                anchors.append(seen.note)
            report = await log.verify(verifier, anchors)
        except BadNote as error:
            complain(str(error))
            raise click.exceptions.Exit(REFUSED) from None
    if as_json:
        from observe.console.output import print_json

        print_json(_document(report))
    else:
        _say(report)
    if report.exit_code:
        raise click.exceptions.Exit(report.exit_code)


def _text_of(path: str) -> str:
    """What is in the file, or the text itself when there is no such file."""
    try:
        return Path(path).read_text() if Path(path).is_file() else path
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}") from None


def _document(report: Report) -> dict[str, Any]:
    faults = [
        {"kind": one.kind.name, "status": one.kind.value, "file": one.file, "line": one.line, "record": one.record, "text": one.text}
        for one in report.faults
    ]  # fmt: skip
    names = ("records", "kept", "signed", "segments", "anchors", "key", "trusted", "remarks")
    return {name: getattr(report, name) for name in names} | {"status": report.exit_code, "faults": faults}


def _say(report: Report) -> None:
    from observe.console.format import one_line, plural

    for fault in report.faults:
        click.echo(f"{fault.kind.name:<13} {one_line(fault.text)}")
    for remark in report.remarks:
        click.echo(f"note: {one_line(remark)}", err=True)
    kept = "" if report.kept == report.records else f", {report.kept:,} of them still there"
    compared = plural(report.anchors, "checkpoint")
    click.echo(
        f"{plural(report.records, 'record')}{kept}, signed up to {report.signed:,}; {compared} kept elsewhere compared"
    )
    if report.key and not report.trusted:
        click.echo("the key is the one beside the log: give --key to know whose log it is", err=True)
    if not report.anchors:
        click.echo("without a checkpoint kept elsewhere an older state of the log looks as good", err=True)
    if not report.faults:
        click.echo("proven: nothing was changed, removed or added")
