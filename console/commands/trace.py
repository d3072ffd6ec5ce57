"""`observe trace`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from observe.console.acting import reason_option
from observe.console.exits import REFUSED, complain
from observe.console.options import node_argument, timeout_option
from observe.console.output_file import opened

if TYPE_CHECKING:
    from observe.probe.tracing_client import Trace
    from observe.probe.wire_traces import TraceEvent

FORMATS = ("rich", "json", "sequence", "waterfall", "mermaid", "svg", "otlp")
SHOW = "show"
PIPE_CELLS: Final = 120
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


def seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    found = _TIME.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time; write 10s, 500ms or 2m")
    return float(found[1]) * _SECONDS[found[2]]


def _rate(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    number, _, unit = value.partition("/")
    try:
        return float(number) / {"s": 1.0, "": 1.0, "min": 60.0}[unit]
    except (ValueError, KeyError):
        raise click.BadParameter(f"{value!r} is no rate; write 100/s") from None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    selector: str
    events: list[Any] | None
    where: str
    count: int
    for_s: float
    rate: float
    reason: str


@click.command("trace")
@node_argument
@click.argument("selector", required=False)
@click.option(
    "--function",
    default=None,
    metavar="MODULE:FUNCTION",
    help="Instead of agents: the calls of one function.",
)
@click.option(
    "--events", default="", metavar="KINDS",
    help="Kinds of event, with commas: send, call, receive, reply, handled, spawn, exit, crash, restart, state, activity, "
    "schedule. Without it all but state and schedule.",
)  # fmt: skip
@click.option(
    "--where", default="", metavar="EXPR", help="A condition on the event and its message's fields."
)
@click.option(
    "--max", "count", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, metavar="N"
)
@click.option("--for", "for_s", default="10s", show_default=True, metavar="TIME", callback=seconds)
@click.option(
    "--rate", default="1000/s", show_default=True, metavar="N/s", callback=_rate,
    help="More events than this are counted and left out.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), default=None, metavar="FILE")
@click.option("--format", "style", type=click.Choice(FORMATS), default=None)
@click.option(
    "--trace", "trace_id", default="", metavar="ID", help="With show: only this trace; the first digits do."
)
@reason_option
@timeout_option
def command(
    node: str,
    selector: str | None,
    function: str | None,
    events: str,
    where: str,
    count: int,
    for_s: float,
    rate: float,
    output: Path | None,
    style: str | None,
    trace_id: str,
    reason: str,
    timeout_s: float,
) -> None:
    """Listen to what chosen agents send, receive and do, within bounds.

    \b
    SELECTOR  42, cart-*, class:Session, under:carts, group:prices, conversation:ID, finding:NAME

    The session ends after --max events or --for so long, when this command ends, or with the node. Nothing else on the
    node runs slower meanwhile. With -o and no --format the events go to FILE as JSON lines, which `observe trace show
    FILE` shows again.

    \b
    observe trace shop 'session-*' --events call,reply --for 30s
    observe trace shop class:Session --where 'message.kind == "refund" and message.amount > 100'
    observe trace shop cart-7 --events state --max 20
    observe trace shop under:carts --format sequence
    observe trace show FILE --format mermaid
    observe trace show FILE --format waterfall --trace 4bf92f
    observe trace show ./recordings/ --trace 4bf92f
    observe trace shop --function app.tools:search --max 20
    """
    if (selector is None) == (function is None):
        raise click.UsageError("say either whom to listen to (SELECTOR) or --function MODULE:FUNCTION")
    if function is not None:
        from observe.console.function_lines import follow

        if events or where or style not in (None, "rich", "json"):
            raise click.UsageError("--function goes with --max, --for, --rate, -o and --format rich or json")
        asyncio.run(follow(node, function, count, for_s, rate, output, style, reason, timeout_s))
        return
    assert selector is not None
    if node == SHOW:
        _show(Path(selector), style or "rich", output, trace_id)
        return
    kinds: list[Any] | None = [one.strip() for one in events.split(",") if one.strip()] or None
    wanted = Wanted(selector, kinds, where, count, for_s, rate, reason)
    asyncio.run(_trace(node, wanted, output, style, timeout_s))


def _show(path: Path, style: str, output: Path | None, trace_id: str) -> None:
    from observe.console import waterfall
    from observe.console.trace_file import BadTraceFile, read
    from observe.probe.recording import NotARecording

    try:
        if path.is_dir() or path.suffix == ".obsrec":
            _show_recording(path, style, output, trace_id)
            return
        first, events = read(path)
    except (BadTraceFile, NotARecording) as error:
        complain(str(error))
        raise click.exceptions.Exit(REFUSED) from None
    if trace_id:
        events = waterfall.of_trace(events, trace_id)
    with opened(output) as out:
        if style == "rich":
            from observe.console import terminal
            from observe.console.trace_lines import line

            for event in events:
                terminal.show(line(event))
        else:
            out.write(_document(style, str(first.get("node", "")), events))


def _show_recording(path: Path, style: str, output: Path | None, trace_id: str) -> None:
    from observe.console import terminal, waterfall
    from observe.console.taped_lines import waterfalls
    from observe.probe.taped_traces import read_traces

    found = read_traces(path)
    for damage in found.damage:
        click.echo(damage, err=True)
    spans = [one for one in found.spans if one.trace_id.startswith(trace_id.lower())]
    events = waterfall.of_trace(found.events, trace_id) if trace_id else found.events
    if style not in ("rich", "waterfall"):
        with opened(output) as out:
            out.write(_document(style, found.node, events))
        return
    lines = waterfalls(spans, found.ended_at, _width())
    if events:
        lines += waterfall.as_lines(waterfall.bars(events), _width())
    if not lines:
        click.echo("No span was open for half a second, and no trace session ran.", err=True)
    if output is None:
        for line in lines:
            terminal.show(line)
        return
    with opened(output) as out:
        out.writelines(f"{line.plain}\n" for line in lines)


async def _trace(node: str, wanted: Wanted, output: Path | None, style: str | None, timeout_s: float) -> None:
    from pydantic import ValidationError

    from observe.console.link import link

    async with link(node, timeout_s) as client:
        try:
            trace = await client.trace(
                wanted.selector, events=wanted.events, where=wanted.where, count=wanted.count, for_s=wanted.for_s,
                rate=wanted.rate, reason=wanted.reason,
            )  # fmt: skip
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise click.UsageError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
        agents = f"{trace.agents:,} agent{'' if trace.agents == 1 else 's'}"
        click.echo(f"Listening to {agents} of {client.info.name}; Ctrl-C ends it.", err=True)
        if trace.agents == 0:
            click.echo("Nobody is meant now; whoever comes and is meant will be listened to.", err=True)
        async with trace:
            await _follow(trace, client.info.name, wanted.selector, output, style)


async def _follow(trace: Trace, node: str, selector: str, output: Path | None, style: str | None) -> None:
    from observe.console.trace_file import head

    kept: list[TraceEvent] = []
    count = 0
    with opened(output) as out:
        as_lines = style == "json" or (style is None and output is not None)
        if as_lines and output is not None:
            out.write(json.dumps(head(node, selector)) + "\n")
        show = _shower() if style in (None, "rich") else None
        try:
            async for event in trace.events():
                count += 1
                if as_lines:
                    out.write(json.dumps(event.to_wire(), ensure_ascii=False) + "\n")
                    if out is sys.stdout:
                        out.flush()
                if show is not None:
                    show(event)
                elif not as_lines:
                    kept.append(event)
        finally:
            if kept or (style not in (None, "rich", "json") and not as_lines):
                out.write(_document(style or "sequence", node, kept))
    why = trace.ended or "interrupted"
    left_out = f"; {trace.dropped:,} more were left out" if trace.dropped else ""
    click.echo(f"{count:,} events ({why}){left_out}", err=True)


def _shower() -> Any:
    from observe.console import terminal
    from observe.console.trace_lines import line

    return lambda event: terminal.show(line(event))


def _document(style: str, node: str, events: list[TraceEvent]) -> str:
    from observe.console import sequence, waterfall
    from observe.console.trace_file import as_otlp

    if style == "json":
        return "".join(json.dumps(event.to_wire(), ensure_ascii=False) + "\n" for event in events)
    if style == "otlp":
        return json.dumps(as_otlp(node, events), ensure_ascii=False) + "\n"
    if style == "waterfall":
        lines = waterfall.as_lines(waterfall.bars(events), _width())
        return "".join(f"{line.plain}\n" for line in lines)
    drawn = sequence.chart(events)
    if style == "mermaid":
        return sequence.as_mermaid(drawn)
    if style == "svg":
        return sequence.as_svg(drawn)
    return "\n".join(sequence.as_text(drawn, _width())) + "\n"


def _width() -> int:
    from observe.console import terminal

    return terminal.console().width if sys.stdout.isatty() else PIPE_CELLS
