"""`observe record`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from observe.console.exits import REFUSED
from observe.console.options import json_option, node_argument, timeout_option

if TYPE_CHECKING:
    from observe.probe.taping import Taped

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Length(click.ParamType):  # type: ignore[type-arg]  # generic only in later versions of click
    """A length of time as people write it."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _LENGTH.fullmatch(str(value).strip())
        if found is None or not 0 < (seconds := float(found[1]) * _UNITS[found[2] or "s"]) <= 86_400:
            self.fail("write a time as 60s, 5m or 1h, one day at most", param, ctx)
        return seconds


@click.command("record")
@node_argument
@click.option(
    "-o", "--output", "path", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="The file to make; it must not exist.",
)  # fmt: skip
@click.option(
    "--for",
    "for_s",
    type=Length(),
    default="60s",
    show_default=True,
    metavar="TIME",
    help="As 60s, 5m or 1h.",
)
@click.option(
    "--limit", "limit_mb", type=click.IntRange(1, 100_000), default=1000, show_default=True, metavar="MB",
    help="Stop when the file has so many megabytes.",
)  # fmt: skip
@json_option
@timeout_option
def command(node: str, path: Path, for_s: float, limit_mb: int, as_json: bool, timeout_s: float) -> None:
    """Record a live node into a file, to look at later.

    Ctrl-C ends it early. The file begins with the whole picture of the node and is a whole recording at any time, also when the
    node dies meanwhile: its death is in it. The exit status is 1 when the node was lost or the file was full.

    \b
    observe record shop -o shop.obsrec --for 5m
    observe replay shop.obsrec
    """
    taped = asyncio.run(_record(node, path, for_s, limit_mb * 1_000_000, timeout_s))
    if as_json:
        from observe.console.output import print_json

        print_json(
            {
                "file": str(taped.path), "bytes": taped.size_bytes, "seconds": taped.took_s,
                "dropped": taped.dropped, "ended_by": taped.ended_by,
            }
        )  # fmt: skip
    else:
        from observe.console.format import duration, size

        left_out = f", {taped.dropped:,} records left out" if taped.dropped else ""
        click.echo(f"{duration(taped.took_s)}, {size(taped.size_bytes)} in {taped.path}{left_out}", err=True)
        click.echo(f"Look at it with: observe replay {taped.path}", err=True)
    if taped.ended_by:
        click.echo(f"Ended early: {taped.ended_by}", err=True)
        raise click.exceptions.Exit(REFUSED)


async def _record(node: str, path: Path, for_s: float, limit_bytes: int, timeout_s: float) -> Taped:
    from observe.console.link import link
    from observe.probe.taping import record

    stop = asyncio.Event()
    async with link(node, timeout_s) as client:
        with contextlib.suppress(NotImplementedError, ValueError):  # not the main thread, as in tests
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        try:
            return await record(client, path, for_s=for_s, limit_bytes=limit_bytes, stop=stop)
        except FileExistsError:
            raise click.UsageError(f"{path} exists already; choose another name") from None
        except OSError as error:
            raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
