"""The calls of one function as lines, or as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from observe.console.format import clock_ms, duration
from observe.console.output_file import opened

if TYPE_CHECKING:
    from observe.probe.wire_code import FunctionCall

CELLS = 400


def line(call: FunctionCall, name: str) -> Text:
    """When, the call as it would be written, what came of it, how long it took, and who called."""
    text = Text(no_wrap=False, overflow="fold")
    text.append(f"{clock_ms(call.at)}  ", "dim")
    text.append(name, "bold")
    text.append(f"{_arguments(call)[:CELLS]}  ")
    if call.value is not None:
        text.append("= ", "dim")
        text.append(f"{call.value['text']}"[:CELLS] + "  ", "green")
    elif call.error:
        text.append(f"{call.error}  ", "red")
    elif call.how:
        text.append(f"({call.how})  ", "yellow")
    if call.took_s is not None:
        text.append(f"{duration(call.took_s)}  ", "dim")
    if call.pid:
        text.append(f"{call.name or call.class_name} {call.pid}  ", "cyan")
    if call.thread:
        text.append(f"thread {call.thread}  ", "cyan")
    if call.caller:
        text.append(f"by {call.caller}", "dim")
    return text


def _arguments(call: FunctionCall) -> str:
    if call.arguments is None:
        return "(…)"
    return str(call.arguments["text"])


async def follow(
    node: str, function: str, count: int, for_s: float, rate: float, output: Path | None, style: str | None,
    reason: str, timeout_s: float,
) -> None:  # fmt: skip
    """Show calls as they end, until the session does."""
    from pydantic import ValidationError

    from observe.console import terminal
    from observe.console.link import link

    name = function.partition(":")[2].rpartition(".")[2]
    async with link(node, timeout_s) as client:
        try:
            trace = await client.trace_function(function, count=count, for_s=for_s, rate=rate, reason=reason)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise click.UsageError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
        click.echo(f"Listening to {trace.place} in {client.info.name}; Ctrl-C ends it.", err=True)
        seen = 0
        async with trace:
            with opened(output) as out:
                async for call in trace.calls():
                    seen += 1
                    if style == "json" or out is not sys.stdout:
                        out.write(json.dumps(call.to_wire(), ensure_ascii=False) + "\n")
                        out.flush()
                    if style != "json":
                        terminal.show(line(call, name))
        left_out = f"; {trace.dropped:,} more were left out" if trace.dropped else ""
        click.echo(f"{seen:,} calls ({trace.ended or 'interrupted'}){left_out}", err=True)
