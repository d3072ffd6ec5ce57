"""Tables of asyncio tasks for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from observe.console.format import duration, one_line
from observe.console.output import Document
from observe.console.render_parts import frames, plain_table

STATE_STYLES: Final = {"running": "green", "ready": "cyan", "frozen": "yellow"}


def tasks(lines: Sequence[Document]) -> RenderableType:
    """The table of tasks, a line for each."""
    picture = plain_table()
    for heading in ("ID", "NAME", "STATE", "AGE", "COROUTINE", "WAITS FOR", "AT", "CREATED BY"):
        picture.add_column(
            heading,
            justify="right" if heading in ("ID", "AGE") else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for one in lines:
        picture.add_row(
            str(one["id"]),
            one_line(one["name"]),
            state(one),
            "" if one["age_s"] is None else duration(one["age_s"]),
            one_line(one["coroutine"]),
            one_line(one["waiting_on"] or ""),
            one_line(one["place"]),
            one_line(one["creator_name"]),
        )
    return picture


def state(one: Document) -> Text:
    """Its state, and what is unusual about it."""
    if one["ring"]:
        return Text("in a ring", "bold red")
    if one["cancelling"]:
        return Text("cancelling", "yellow")
    return Text(one["state"], STATE_STYLES.get(one["state"], ""))


def task(detail: Document) -> RenderableType:
    """One task, and its stack."""
    one = detail["task"]
    parts: list[RenderableType] = [
        Text.assemble((one_line(one["name"]), "bold"), f"  task {one['id']}  ", state(one)),
        _fact("runs", f"{one['module']}.{one['coroutine']}".strip(".")),
    ]
    if one["age_s"] is not None:
        by = f" in {one['creator_name']}" if one["creator_name"] else ""
        at = f" at {one['created_at']}" if one["created_at"] else ""
        parts.append(_fact("created", f"{duration(one['age_s'])} ago{by}{at}"))
    if one["agent"]:
        parts.append(_fact("step of", f"agent {one['agent']}"))
    if one["cancelling"]:
        parts.append(_fact("cancelling", f"asked {one['cancelling']} times"))
    if one["ring"]:
        ring = " → ".join(str(number) for number in (*one["ring"], one["ring"][0]))
        parts.append(_fact("ring", f"{ring}: these wait for each other, and will for ever"))
    parts += frames(detail["frames"])
    if one["waiting_on"]:
        awaited = f" (task {', '.join(map(str, one['waits_for']))})" if one["waits_for"] else ""
        parts.append(Text.assemble("  waits for ", (one_line(one["waiting_on"]), "cyan"), awaited))
    if detail["note"]:
        parts.append(Text(f"  {one_line(detail['note'])}", "dim"))
    if one["protected"]:
        parts.append(Text(f"  cannot be cancelled: {one_line(one['protected'])}", "dim"))
    return Group(*parts)


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"  {name:<11}", "dim"), one_line(value))
