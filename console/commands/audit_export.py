"""`observe audit export`: records for other programs and collectors."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from observe.console.commands.audit_options import filter_options, wanted
from observe.console.commands.audit_where import opened, where_argument
from observe.console.exits import REFUSED, complain
from observe.console.options import timeout_option

if TYPE_CHECKING:
    from observe.audit.matching import Wanted
    from observe.audit.record import Record


@click.command("export")
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
