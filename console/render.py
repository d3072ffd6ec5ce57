"""Pictures of the protocol's documents for people at a terminal, and for `grep` when stdout is none.

Every function here takes a document as docs/protocol.md describes it and returns something that Rich can draw.
Text that comes from agents goes through `one_line`, so that no name or repr can move the cursor or pass for markup.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from observe.console.format import (
    NOTHING,
    clock,
    count,
    duration,
    money,
    one_line,
    percent,
    plural,
    rate,
    size,
    spark,
)
from observe.console.render_parts import Document, frames, plain, plain_table, status_text
from observe.probe.held_where import held_by_system

STATE_STYLES: Final = {
    "up": "green",
    "held": "bold yellow",
    "dead": "bold red",
    "stopped": "dim",
    "stale": "dim",
    "unreachable": "bold red",
}


def nodes(cards: Sequence[Document]) -> RenderableType:
    table = plain_table()
    for heading in ("NAME", "STATE", "PID", "UP FOR", "ENDPOINT", "OBSERVE"):
        table.add_column(heading, justify="right" if heading in ("PID", "UP FOR") else "left", no_wrap=True)
    now = time.time()
    for card in cards:
        state = str(card.get("state", ""))
        table.add_row(
            plain(card["name"]),
            Text(state, STATE_STYLES.get(state, "")),
            str(card.get("pid") or NOTHING),
            duration(now - card["started_at"]) if state in ("up", "held") else NOTHING,
            plain(card.get("endpoint") or NOTHING),
            plain(card.get("version") or NOTHING),
        )
    return table


def stack(content: Document) -> RenderableType:
    """An await chain or a live stack, outermost first."""
    parts: list[RenderableType] = [
        Text.assemble("pid ", str(content["pid"]), "  ", status_text(content["status"]))
    ]
    parts += frames(content["frames"])
    if content.get("waiting_on"):
        parts.append(Text.assemble("  waits for ", (one_line(content["waiting_on"]), "cyan")))
    if content.get("note"):
        parts.append(Text(f"  {one_line(content['note'])}", "dim"))
    return Group(*parts)


def tree(branch: Document) -> RenderableType:
    """The supervision tree; children that are left out are counted by status."""
    root = Tree(_branch_line(branch), guide_style="dim")
    _grow(root, branch)
    return root


def event(item: Document) -> RenderableType:
    style = {"crash": "red", "finding": "yellow", "restart": "green", "node": "bold"}.get(item["kind"], "")
    return Text.assemble(
        (clock(item["at"]), "dim"), "  ", (f"{item['kind']:<8}", style), one_line(item["text"]), no_wrap=True
    )


def _cost(content: Document) -> str:
    """What telemetry takes, of how much it may: `0.8% of 2.0%, every 0.25 s`."""
    shown = percent(content["probe_cost"])
    if content.get("probe_budget"):
        shown += f" of {percent(content['probe_budget'])}"
    if content.get("probe_tick_s"):
        shown += f", every {duration(content['probe_tick_s'])}"
    return shown


def vitals(name: str, content: Document) -> RenderableType:
    """A node's vital signs, with sparklines where there is history."""
    state = content["state"]
    history = content.get("history") or {}
    table = plain_table(headings=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    lines = (
        ("agents", count(content["agents"]), "agents"),
        ("messages a second", rate(content["rate"]), "rate"),
        ("run queue", count(content["run_queue"]), "run_queue"),
        ("scheduler in use", percent(content["use"]), "use"),
        ("timers late by", duration(content["lag_s"]), "lag_s"),
        ("memory", size(content["memory"]), "memory"),
        ("processor", percent(content["cpu"]), "cpu"),
        ("crashes, last minute", count(content["crashes_min"]), "crashes_min"),
        ("restarts, last minute", count(content["restarts_min"]), "restarts_min"),
        ("tokens, last minute", count(content.get("tokens_min", 0)), "tokens_min"),
        ("cost, last minute", money(content.get("cost_min", 0.0)), "cost_min"),
        ("spawned", count(content["spawned"]), "spawned"),
        ("exited", count(content["exited"]), "exited"),
        ("cost of observing", _cost(content), "probe_cost"),
        ("probe, beside it", percent(content.get("probe_cpu", 0.0)), "probe_cpu"),
    )
    for label, value, key in lines:
        table.add_row(label, value, spark(history[key], 40) if history.get(key) else "")
    head = Text.assemble((one_line(name), "bold"), "  ", (state, STATE_STYLES.get(state, "")))
    parts: list[RenderableType] = [head, table]
    if content.get("held"):
        parts.append(_held(content["held"]))
    return Group(*parts)


def _held(held: Document) -> RenderableType:
    who = (
        f"{held['name'] or held['class']} (pid {held['pid']})" if held["pid"] else "code outside of any agent"
    )
    by = held_by_system(held["where"])
    if not by:
        what = "a C call that lets no Python run" if held["where"] == "c" else "Python code"
        by = f"{one_line(who)}, in {what}"
    head = Text(f"\nheld for {duration(held['since_s'])} by {by}", "bold yellow")
    return Group(head, *frames(held["stack"]))


def _branch_line(branch: Document) -> Text:
    line = Text.assemble((one_line(branch["name"] or branch["child"] or branch["class"]), "bold"))
    line.append(f"  pid {branch['pid']}  {one_line(branch['class'])}  ")
    if branch["strategy"]:
        used = branch.get("restarts_within")
        limit = (
            f", {f'{used} of ' if used else ''}{branch['intensity']} restarts in {branch['period_s']:g} s"
            if branch.get("period_s")
            else ""
        )
        style = "red" if used and used >= branch["intensity"] else "yellow" if used else "dim"
        line.append(one_line(f"{branch['strategy']}{limit}  "), style)
    line.append(status_text(branch["status"]))
    if branch["mailbox"]:
        line.append(f"  {plural(branch['mailbox'], 'message')}")
    if branch["restarts"]:
        line.append(f"  {plural(branch['restarts'], 'restart')}", "yellow")
    if branch["crashes"]:
        line.append(f"  {plural(branch['crashes'], 'crash', 'crashes')}", "red")
    if branch["children_total"]:
        statuses = ", ".join(f"{number} {status}" for status, number in branch["by_status"].items())
        children = plural(branch["children_total"], "child", "children")
        line.append(f"  ({children}{': ' if statuses else ''}{statuses})", "dim")
    return line


def _grow(node: Tree, branch: Document) -> None:
    for child in branch["children"]:
        _grow(node.add(_branch_line(child)), child)
    more = branch["children_total"] - len(branch["children"])
    if more > 0:
        node.add(Text(f"… {count(more)} more", "dim"))
