"""`observe audit`: all its commands, and those that read a log; from the node or from its files alone."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from observe.console.commands.audit_anchor import anchor, forget
from observe.console.commands.audit_export import export
from observe.console.commands.audit_keys import rotate_key
from observe.console.commands.audit_options import filter_options, wanted
from observe.console.commands.audit_verify import verify
from observe.console.commands.audit_where import opened, where_argument
from observe.console.exits import REFUSED, complain
from observe.console.options import json_option, timeout_option

if TYPE_CHECKING:
    from observe.audit.matching import Wanted
    from observe.audit.record import Record


@click.group("audit")
def command() -> None:
    """Who looked at or changed what, when and why; and the proof that nothing of it was changed since.

    \b
    WHERE is a node, or the directory of a log: then nothing is asked of anybody.
    observe audit tail shop
    observe audit search shop --what kill --since 7d
    observe audit verify shop
    observe audit verify ./audit --key 'observe/shop@host+ee6a1b33+AX…' --anchor kept.note
    """


def say(record: Record) -> str:
    """One record, one line."""
    from observe.audit.export import sentence
    from observe.console.format import one_line, timestamp

    said = sentence(record)
    if record.phase == "noted" and record.what == "key":
        said = f"the log: the key changed ({record.target.get('why')}): {record.target.get('to')} signs from here on"
    elif record.phase == "noted":
        facts = ", ".join(
            f"{key} {value}" for key, value in record.target.items() if not isinstance(value, list)
        )
        said = f"the log: {record.what}{': ' + facts if facts else ''}"
    trace = f"  trace {record.trace}" if record.trace else ""
    return f"{record.seq:>6}  {timestamp(record.wall)}  {one_line(said)}{trace}"


def tell(line: bytes, record: Record, as_json: bool) -> None:
    click.echo(line.decode() if as_json else say(record))


@command.command("show")
@where_argument
@click.argument("number", required=False, type=click.IntRange(min=1))
@json_option
@timeout_option
def show(where: str, number: int | None, as_json: bool, timeout_s: float) -> None:
    """Where the log stands; with NUMBER that record in full, and the others of the same command."""
    asyncio.run(_show(where, number, as_json, timeout_s))


async def _show(where: str, number: int | None, as_json: bool, timeout_s: float) -> None:
    from observe.console.output import document, print_json

    async with opened(where, timeout_s) as log:
        head = await log.head()
        if number is None:
            found = document(head)
            if as_json:
                print_json(found)
                return
            for key, value in found.items():
                text = str(value).rstrip("\n").replace("\n", "\n" + " " * 12) or "-"
                click.echo(f"{key:<11} {text}")
            return
        lines = await log.lines(number)
        from observe.audit.record import Record

        record = Record.from_line(lines[0]) if lines else None
        if record is None or record.seq != number:
            there = f"{head.first} to {head.size}" if head.first else "none"
            complain(f"there is no record {number}", f"there are {there}")
            raise click.exceptions.Exit(REFUSED)
        family = [lines[0]]
        if record.command_id:
            from observe.probe.audit_sources import records

            family = [
                line
                async for line, one in records(log, max(head.first, number - 1000))
                if one.command_id == record.command_id and abs(one.seq - number) < 1000
            ]
        for line in family:
            print_json(json.loads(line), lines=as_json)


@command.command("search")
@where_argument
@click.argument("text", nargs=-1)
@filter_options
@click.option("--notes", is_flag=True, help="Also what the log says of itself.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Only the newest so many.")
@json_option
@timeout_option
def search(
    where: str,
    text: tuple[str, ...],
    notes: bool,
    limit: int | None,
    as_json: bool,
    timeout_s: float,
    **options: str,
) -> None:
    """Records that hold every TEXT and are as the options say, the oldest first.

    \b
    observe audit search shop refund
    observe audit search shop --what edit --who ann --since 30d --json | jq .outcome.diff
    """
    asyncio.run(_search(where, wanted(text, options, notes=notes), limit, as_json, timeout_s))


async def _search(where: str, what: Wanted, limit: int | None, as_json: bool, timeout_s: float) -> None:
    from collections import deque
    from dataclasses import replace

    from observe.probe.audit_sources import records

    kept: deque[tuple[bytes, Record]] = deque(maxlen=limit)
    found = 0
    async with opened(where, timeout_s) as log:
        if (
            what.trace
        ):  # which trace it was is known when it is done, so the record of what was asked does not say it
            traced = [one async for _, one in records(log) if one.trace.startswith(what.trace)]
            what = replace(what, commands=frozenset((one.incarnation, one.command_id) for one in traced))
        async for line, record in records(log):
            if not what.has(record):
                continue
            found += 1
            if limit is None:
                tell(line, record, as_json)
            else:
                kept.append((line, record))
    for line, record in kept:
        tell(line, record, as_json)
    if not found:
        click.echo("no such record", err=True)


@command.command("tail")
@where_argument
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@json_option
@timeout_option
def tail(where: str, count: int, follow: bool, as_json: bool, timeout_s: float) -> None:
    """The newest records."""
    asyncio.run(_tail(where, count, follow, as_json, timeout_s))


async def _tail(where: str, count: int, follow: bool, as_json: bool, timeout_s: float) -> None:
    from observe.probe.audit_sources import newest_start, records

    async with opened(where, timeout_s) as log:
        start = await newest_start(log, count)
        while True:
            async for line, record in records(log, start):
                tell(line, record, as_json)
                start = record.seq + 1
            if not follow:
                return
            await asyncio.sleep(0.5)


for one in (export, verify, anchor, rotate_key, forget):
    command.add_command(one)
