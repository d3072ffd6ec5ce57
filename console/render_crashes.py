"""Crashes for the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from observe.console.format import NOTHING, clock, one_line, timestamp
from observe.console.render_parts import Document, plain, plain_table


def crashes(items: Sequence[Document], tracebacks: bool) -> RenderableType:
    """Crashes as a table, or one after the other with their tracebacks."""
    if tracebacks:
        return Group(*(one_crash(crash) for crash in items))
    table = plain_table()
    for heading in ("AT", "PID", "NAME", "KIND", "REASON", "RESTARTED AS"):
        table.add_column(
            heading, justify="right" if heading in ("PID", "RESTARTED AS") else "left", no_wrap=True
        )
    for crash in items:
        table.add_row(
            clock(crash["at"]),
            str(crash["pid"]),
            plain(crash["name"] or crash["class"]),
            Text(one_line(crash["kind"]), "red"),
            plain(crash["reason"]),
            str(crash["restarted"] or NOTHING),
        )
    return table


def one_crash(crash: Document) -> RenderableType:
    """One crash with its traceback."""
    head = Text.assemble(
        (timestamp(crash["at"]), "dim"),
        f"  {one_line(crash['name'] or crash['class'])} (pid {crash['pid']})  ",
        (one_line(crash["reason"]), "bold red"),
    )
    parts: list[RenderableType] = [head]
    if crash.get("message"):
        parts.append(Text(f"  while it handled {one_line(crash['message']['text'])}"))
    lines = crash["traceback"].rstrip().splitlines()
    parts += [Text("  " + one_line(line), "dim") for line in lines]
    parts.append(Text(""))
    return Group(*parts)
