"""`observe audit`: read the audit log of a node, and prove it; from the node or from its files alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from observe.console.commands.audit_keys import rotate_key
from observe.console.exits import REFUSED, complain
from observe.console.options import NodeName, json_option, timeout_option

if TYPE_CHECKING:
    from observe.audit.matching import Wanted
    from observe.audit.record import Record
    from observe.audit.verify import Report
    from observe.probe.audit_sources import Log


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


def where_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("where", metavar="WHERE", type=NodeName())(function)


def is_directory(where: str) -> bool:
    """Whether a log's files are meant: a path, not a name."""
    return "/" in where or where in (".", "..") or Path(where).is_dir()


def local_log(where: str) -> Path | None:
    """The files of the log of a node that runs, or ran, as this user on this machine."""
    from observe.audit.segments import is_log
    from observe.probe.cards import NODE_NAME
    from observe.probe.states import audit_directory

    name, _, host = where.partition("@")
    here = ("", "localhost", "127.0.0.1", platform.node())
    if host not in here or not NODE_NAME.fullmatch(name):
        return None
    directory = audit_directory(name)
    return directory if is_log(directory) else None


@contextlib.asynccontextmanager
async def opened(where: str, timeout_s: float, *, files_first: bool = False) -> AsyncIterator[Log]:
    """The log of a node or a directory. The files of a node that is not running are read where they are.

    `files_first`: also those of one that is, when they are here: they tell more than a node would say.
    """
    from observe.console.link import known, link
    from observe.probe.audit_sources import FilesOfLog, NodesLog
    from observe.probe.errors import NoSuchNode

    if is_directory(where):
        path = Path(where)
        _check_directory(path)
        yield FilesOfLog(path)
        return
    found = local_log(where)
    if found is not None:
        try:
            known(where)
        except NoSuchNode:
            files_first = True
        if files_first:
            yield FilesOfLog(found)
            return
    async with link(where, timeout_s) as client:
        yield NodesLog(client)


def _check_directory(path: Path) -> None:
    from observe.audit.segments import is_log

    if not is_log(path):
        raise click.BadParameter(f"{path} is not the directory of an audit log", param_hint="WHERE")


# -- reading -----------------------------------------------------------------------------------------------------------


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What narrows a search."""
    phases = click.Choice(["requested", "completed", "failed", "denied", "expired", "noted"])
    for option in (
        click.option("--what", default="", metavar="VERB", help="Only this action, such as kill."),
        click.option("--phase", type=phases, help="Only records of this kind."),
        click.option("--who", default="", metavar="NAME", help="Only of this name or fingerprint."),
        click.option("--agent", default="", metavar="AGENT", help="Only about this pid or name."),
        click.option(
            "--trace", default="", metavar="ID", help="Only of this trace, by its id or how it begins."
        ),
        click.option("--since", default="", metavar="WHEN", help="2h, 7d, or 2026-11-25[T14:30]."),
        click.option("--until", default="", metavar="WHEN", help="Likewise."),
    ):
        function = option(function)
    return function


def moment(text: str, now: float) -> float | None:
    """Unix time of `2h` (ago), `7d`, or a date; None for an empty text. Raises click.BadParameter."""
    if not text:
        return None
    from observe.console.moments import moment as read

    try:
        return read(text, now)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def wanted(text: tuple[str, ...], options: dict[str, Any], *, notes: bool) -> Wanted:
    from observe.audit.matching import Wanted

    now = time.time()
    since, until = moment(options.pop("since"), now), moment(options.pop("until"), now)
    options["phase"] = options["phase"] or ""
    notes = notes or options["phase"] == "noted" or bool(options["what"])
    limits: dict[str, Any] = {"since": since or 0.0, "until": until if until is not None else float("inf")}
    return Wanted(text, **options, **limits, notes=notes)


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


@command.command("export")
@where_argument
@click.option("--format", "form", type=click.Choice(["jsonl", "otlp"]), default="jsonl", show_default=True)
@click.option(
    "--to", "url", default="", metavar="URL", help="Send OTLP to this collector, such as http://host:4318."
)
@filter_options
@timeout_option
def export(where: str, form: str, url: str, timeout_s: float, **options: str) -> None:
    """All records on stdout: as they stand in the log, or as log records of OpenTelemetry.

    \b
    observe audit export shop > audit.jsonl
    observe audit export shop --format otlp --since 1d
    observe audit export shop --to http://localhost:4318
    """
    asyncio.run(_export(where, "otlp" if url else form, url, wanted((), options, notes=True), timeout_s))


async def _export(where: str, form: str, url: str, what: Wanted, timeout_s: float) -> None:
    from observe.audit.export import to_otlp
    from observe.probe.audit_sources import records

    batch: list[Record] = []
    sent = 0

    async def flush() -> None:
        nonlocal sent
        if batch and url:
            await _send(url, to_otlp(batch))
        elif batch:
            click.echo(json.dumps(to_otlp(batch), separators=(",", ":")))
        sent += len(batch)
        batch.clear()

    async with opened(where, timeout_s) as log:
        async for line, record in records(log):
            if not what.has(record):
                continue
            if form == "jsonl":
                click.echo(line.decode())
                continue
            batch.append(record)
            if len(batch) >= 500:
                await flush()
    await flush()
    if url:
        click.echo(f"{sent} records sent to {url}", err=True)


async def _send(url: str, request: dict[str, Any]) -> None:
    import httpx

    from observe.audit.export import logs_url

    target = logs_url(url)
    try:
        async with httpx.AsyncClient(timeout=30.0) as client:
            answer = await client.post(target, json=request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        complain(f"{target} cannot be reached: {error or type(error).__name__}")
        raise click.exceptions.Exit(REFUSED) from None
    if not answer.is_success:
        complain(f"{target} answered {answer.status_code}: {answer.text[:200]}")
        raise click.exceptions.Exit(REFUSED)


# -- proving -----------------------------------------------------------------------------------------------------------


@command.command("verify")
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


@command.command("anchor")
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


@command.command("forget")
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


command.add_command(rotate_key)
