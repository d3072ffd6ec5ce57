"""`observe profile`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from observe.console.acting import reason_option
from observe.console.commands.trace import seconds
from observe.console.options import json_option, node_argument, timeout_option

if TYPE_CHECKING:
    from observe.probe.profiles import Profile, Sums

ROWS: Final = 20
STYLES: Final = ("table", "speedscope", "flamegraph")


@click.command("profile")
@node_argument
@click.argument("agent", required=False)
@click.option("--for", "for_s", default="5s", show_default=True, metavar="TIME", callback=seconds)
@click.option(
    "--rate", type=click.FloatRange(1, 1000), default=100.0, show_default=True, metavar="N",
    help="Samples a second; fewer are taken when they would cost more than 2% of a core.",
)  # fmt: skip
@click.option("--format", "style", type=click.Choice(STYLES), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), default=None, metavar="FILE")
@json_option
@reason_option
@timeout_option
def command(
    node: str,
    agent: str | None,
    for_s: float,
    rate: float,
    style: str,
    output: Path | None,
    as_json: bool,
    reason: str,
    timeout_s: float,
) -> None:
    """Show where time goes, by agent and by function.

    Samples the stacks of the service and of its worker processes; nothing in them is switched on or slowed, and it
    works while a step holds the scheduler. With an AGENT only that one, also where it waits. `speedscope` writes a file for speedscope.app, `flamegraph` one stack a line for flamegraph.pl.

    \b
    observe profile shop
    observe profile shop session-7 --for 20s
    observe profile shop --format speedscope -o shop.json
    """
    asyncio.run(_profile(node, agent, for_s, rate, style, output, as_json, reason, timeout_s))


async def _profile(
    node: str, agent: str | None, for_s: float, rate: float, style: str, output: Path | None, as_json: bool,
    reason: str, timeout_s: float,
) -> None:  # fmt: skip
    from observe.console.link import link
    from observe.console.output import document

    async with link(node, timeout_s) as client:
        whom: int | str | None = int(agent) if agent is not None and agent.isdigit() else agent
        found = await client.profile(whom, for_s=for_s, rate=rate, reason=reason)
        name = client.info.name
    if as_json:
        text = json.dumps([document(one) for one in found.stacks], ensure_ascii=False) + "\n"
    elif style == "speedscope":
        text = json.dumps(found.as_speedscope(name), ensure_ascii=False) + "\n"
    elif style == "flamegraph":
        text = found.as_collapsed()
    else:
        text = "\n".join(_table(found)) + "\n"
    _write(text, output)
    share = found.cost_s / found.took_s if found.took_s else 0.0
    click.echo(
        f"{found.samples:,} samples in {found.took_s:.1f} s ({found.ended}), idle in {found.idle:,}; sampling took "
        f"{share:.2%} of a core",
        err=True,
    )


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{output} cannot be written: {error.strerror}", param_hint="-o") from None


def _table(found: Profile) -> list[str]:
    def rows(title: str, sums: list[Sums], own: str, total: str) -> list[str]:
        lines = [f"{own:>7} {total:>7}  {title}"]
        for one in sums[:ROWS]:
            lines.append(f"{_share(one.self_count, found):>7} {_share(one.total, found):>7}  {one.name}")
        if len(sums) > ROWS:
            lines.append(f"{'':>15}  and {len(sums) - ROWS:,} more")
        return lines

    return [
        *rows("AGENT", found.by_owner(), "RUNS", "SEEN"),
        "",
        *rows("FUNCTION", found.by_function(), "SELF", "TOTAL"),
    ]


def _share(count: int, found: Profile) -> str:
    return f"{count / found.samples:.1%}" if found.samples else "-"
