"""Pictures of the protocol's documents for people at a terminal, and for `grep` when stdout is none.

Every function here takes a document as docs/protocol.md describes it and returns something that Rich can draw.
Text that comes from agents goes through `one_line`, so that no name or repr can move the cursor or pass for markup.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from observe.console.columns import BY_NAME
from observe.console.conversation import conversation_lines
from observe.console.format import (
    NOTHING,
    ago,
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
    timestamp,
)
from observe.console.lines import Folds
from observe.console.render_standing import standing
from observe.probe.held_where import held_by_system
from observe.probe.wire_conversations import ConversationLine

Document = Mapping[str, Any]

PIPE_WIDTH: Final = 100_000
"""Cells to a line when stdout is no terminal: nothing is cut there, as the reader is a program."""

STATUS_STYLES: Final = {
    "running": "bold green",
    "runnable": "yellow",
    "frozen": "bold yellow",
    "waiting": "cyan",
    "suspended": "magenta",
    "starting": "blue",
    "idle": "dim",
}
STATE_STYLES: Final = {
    "up": "green",
    "held": "bold yellow",
    "dead": "bold red",
    "stopped": "dim",
    "stale": "dim",
    "unreachable": "bold red",
}
DURATIONS: Final = frozenset({"status_s", "activity_s", "age_s"})
WARNING: Final = frozenset({"restarts", "crashes", "restarts_min", "crashes_min"})
LEFT: Final = frozenset({"node", "name", "class", "status", "activity", "child"})
HEADINGS: Final = {"containment": "CONTAINED", "status_s": "FOR", "activity_s": "FOR", "age_s": "AGE"}
ELASTIC: Final = frozenset({"name", "class", "activity", "child"})
"""Columns that give way first on a narrow terminal."""
ELASTIC_CELLS: Final = 16
"""So many cells such a column keeps; where there are fewer, other columns are left out instead."""
COLUMN_GAP: Final = 2


def console() -> Console:
    """Where data goes: the terminal in its width, or plain text of any width."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=PIPE_WIDTH, no_color=True, force_terminal=False)


def show(picture: RenderableType) -> None:
    """Print a picture on stdout."""
    console().print(picture, soft_wrap=not isinstance(picture, (Table, Tree)) and not sys.stdout.isatty())


class Screen:
    """A picture that is replaced in place on a terminal, and printed again and again elsewhere."""

    def __init__(self, enabled: bool) -> None:
        self._console = console()
        self._live = (
            Live(console=self._console, auto_refresh=False, screen=True)
            if enabled and sys.stdout.isatty()
            else None
        )

    @property
    def width(self) -> int | None:
        """Cells in a line; None when a line may have any number."""
        return self._console.width if self._live else None

    @property
    def height(self) -> int | None:
        """Lines that there is room for; None when there is no end to them."""
        return self._console.height if self._live else None

    def update(self, picture: RenderableType) -> None:
        if self._live:
            self._live.update(picture, refresh=True)
        else:
            self._console.print(picture)
            self._console.file.flush()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()


def moment(at: float) -> str:
    """A moment in the past, in words: `14:03:07 (2m10s ago)`."""
    return f"{clock(at)} ({ago(max(0.0, time.time() - at))})"


def nodes(cards: Sequence[Document]) -> RenderableType:
    table = plain_table()
    for heading in ("NAME", "STATE", "PID", "UP FOR", "ENDPOINT", "OBSERVE"):
        table.add_column(heading, justify="right" if heading in ("PID", "UP FOR") else "left", no_wrap=True)
    now = time.time()
    for card in cards:
        state = str(card.get("state", ""))
        table.add_row(
            _plain(card["name"]),
            Text(state, STATE_STYLES.get(state, "")),
            str(card.get("pid") or NOTHING),
            duration(now - card["started_at"]) if state in ("up", "held") else NOTHING,
            _plain(card.get("endpoint") or NOTHING),
            _plain(card.get("version") or NOTHING),
        )
    return table


def agents(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    width: int | None = None,
    keep: Collection[str] = (),
) -> RenderableType:
    """The agents table, a line for each.

    Where `width` cells are not enough, the least important columns are left out, but none of `keep`.
    """
    columns, rows, keep = _contained(columns, rows, keep)
    cells = [[_cell(column, value) for column, value in zip(columns, row, strict=True)] for row in rows]
    chosen = _that_fit(columns, cells, width, keep)
    table = plain_table()
    for column in (columns[index] for index in chosen):
        left = column in LEFT
        table.add_column(
            HEADINGS.get(column, column.upper()),
            justify="left" if left else "right",
            no_wrap=True,
            overflow="ellipsis",
            min_width=6 if column in ELASTIC else None,
            ratio=None,
        )
    for line in cells:
        table.add_row(*(line[index] for index in chosen))
    return table


def _contained(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], keep: Collection[str]
) -> tuple[Sequence[str], Sequence[Sequence[Any]], Collection[str]]:
    """How far agents are fenced in is told of tables in which somebody is, and then on every terminal."""
    if "containment" not in columns or "containment" in keep:
        return columns, rows, keep
    at = columns.index("containment")
    if any(row[at] not in (None, "none") for row in rows):
        return columns, rows, (*keep, "containment")
    return (*columns[:at], *columns[at + 1 :]), [(*row[:at], *row[at + 1 :]) for row in rows], keep


def _that_fit(
    columns: Sequence[str], cells: Sequence[Sequence[Text]], width: int | None, keep: Collection[str]
) -> list[int]:
    """The indexes of the columns for which there is room, in their order."""
    chosen = list(range(len(columns)))
    if width is None:
        return chosen

    def needs(index: int) -> int:
        widest = max((line[index].cell_len for line in cells), default=0)
        if columns[index] in ELASTIC:
            widest = min(widest, ELASTIC_CELLS)
        return max(widest, len(HEADINGS.get(columns[index], columns[index]))) + COLUMN_GAP

    needed = {index: needs(index) for index in chosen}
    for index in sorted(chosen, key=lambda index: -BY_NAME[columns[index]].rank):
        if sum(needed[kept] for kept in chosen) - COLUMN_GAP <= width:
            break
        if columns[index] not in keep:
            chosen.remove(index)
    return chosen


def stack(content: Document) -> RenderableType:
    """An await chain or a live stack, outermost first."""
    parts: list[RenderableType] = [
        Text.assemble("pid ", str(content["pid"]), "  ", _status(content["status"]))
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


def crashes(items: Sequence[Document], tracebacks: bool) -> RenderableType:
    """Crashes as a table, or one after the other with their tracebacks."""
    if tracebacks:
        return Group(*(_crash(crash) for crash in items))
    table = plain_table()
    for heading in ("AT", "PID", "NAME", "KIND", "REASON", "RESTARTED AS"):
        table.add_column(
            heading, justify="right" if heading in ("PID", "RESTARTED AS") else "left", no_wrap=True
        )
    for crash in items:
        table.add_row(
            clock(crash["at"]),
            str(crash["pid"]),
            _plain(crash["name"] or crash["class"]),
            Text(one_line(crash["kind"]), "red"),
            _plain(crash["reason"]),
            str(crash["restarted"] or NOTHING),
        )
    return table


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


def detail(content: Document) -> RenderableType:
    """Everything about one agent."""
    agent = content["agent"]
    parts: list[RenderableType] = [
        Text.assemble(
            (one_line(agent["name"] or agent["class"]), "bold"),
            f"  pid {agent['pid']}  ",
            _status(agent["status"]),
            (f"  {level}" if (level := agent.get("containment") or "none") != "none" else "", "bold magenta"),
        ),
        Text(_class(content), "dim"),
        _facts(content),
    ]
    if content.get("note"):
        parts.append(Text(one_line(content["note"]), "yellow"))
    for activity in content["activities"]:
        attributes = "  ".join(f"{key}={value}" for key, value in activity["attributes"].items())
        parts.append(
            Text.assemble(
                "\nin ",
                (one_line(activity["name"]), "cyan"),
                f" for {duration(activity['since_s'])}  ",
                (one_line(attributes), "dim"),
            )
        )
    if content.get("state"):
        parts += [_heading("state"), value_tree(content["state"])]
    parts += conversations(content.get("conversations") or [])
    parts.append(_heading(f"mailbox, {plural(content['mailbox_total'], 'message')}"))
    parts += [value_tree(message) for message in content["mailbox"]]
    if content.get("stack"):
        parts += [_heading("stack"), *frames(content["stack"]["frames"])]
        if content["stack"].get("waiting_on"):
            parts.append(Text(f"  waits for {one_line(content['stack']['waiting_on'])}"))
        if content["stack"].get("note"):
            parts.append(Text(f"  {one_line(content['stack']['note'])}", "dim"))
    if content["children"]:
        parts.append(_heading(f"children, {content['children_total']:,}"))
        for child in content["children"]:
            parts.append(
                Text.assemble(
                    f"  {one_line(str(child['child']))}  ",
                    f"pid {child['pid']}  {one_line(child['class'])}  ",
                    _status(child["status"]),
                    f"  {plural(child['restarts'], 'restart')}",
                )
            )
    parts += standing(content)
    if content.get("last_crash"):
        parts += [_heading("last crash"), _crash(content["last_crash"])]
    for frame in content.get("crash_locals") or ():
        parts += [
            _heading(f"variables of {one_line(frame['function'])}, line {frame['line']}"),
            value_tree(frame["values"]),
        ]
    if content.get("locals_note"):
        parts.append(Text(one_line(content["locals_note"]), "dim"))
    return Group(*parts)


def conversations(found: list[Document]) -> list[RenderableType]:
    """The newest messages of each conversation that an agent keeps."""
    told = [ConversationLine.model_validate(one) for one in found]
    return [
        Text("\n" + line.text, "bold") if line.heading else Text("  " + line.text, overflow="fold")
        for line in conversation_lines(told, Folds(), console().width - 2)
    ]


def value_tree(value: Document) -> Tree:
    """A value with its parts, as far as they came over the wire."""
    root = Tree(_value_line("", value), guide_style="dim", hide_root=False)
    _grow_value(root, value)
    return root


def plain_table(headings: bool = True) -> Table:
    """A table without lines."""
    return Table(box=None, pad_edge=False, show_header=headings, header_style="bold", padding=(0, 2, 0, 0))


def _plain(value: object) -> Text:
    return Text(one_line(str(value)))


def _heading(text: str) -> Text:
    return Text(f"\n{text}", "bold")


def _status(status: str) -> Text:
    return Text(status, STATUS_STYLES.get(status, ""))


def _cell(column: str, value: Any) -> Text:
    if value is None:
        return Text(NOTHING if column == "name" else "", "dim")
    if column == "status":
        return _status(str(value))
    if column in DURATIONS:
        return Text(duration(value) if value else "")
    if column == "load":
        return Text(percent(value), "dim" if not value else "")
    if column == "cost":
        return Text(money(value), "dim" if not value else "")
    if column == "rate":
        return Text(rate(value), "dim" if not value else "")
    if isinstance(value, int):
        text = str(value) if column in ("pid", "supervisor") else count(value)
        return Text(text, "yellow" if column in WARNING and value else "")
    return _plain(value)


def frames(stack: Sequence[Document]) -> list[RenderableType]:
    """The levels of a stack, outermost first."""
    lines: list[RenderableType] = []
    for frame in stack:
        where = one_line(f"{frame['file']}:{frame['line']}")
        lines.append(Text.assemble("  ", (where, "dim"), "  ", (one_line(frame["function"]), "bold")))
        if frame["source"]:
            lines.append(Text(f"      {one_line(frame['source'])}"))
    return lines


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
    line.append(_status(branch["status"]))
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


def _crash(crash: Document) -> RenderableType:
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


def _class(content: Document) -> str:
    name = ".".join(part for part in (content["module"], content["agent"]["class"]) if part)
    return one_line(f"{name}: {content['doc']}" if content["doc"] else name)


def _facts(content: Document) -> RenderableType:
    agent, spec, supervisor = content["agent"], content["spec"], content["supervisor"]
    table = plain_table(headings=False)
    for _ in range(2):
        table.add_column(style="dim", no_wrap=True)
        table.add_column(no_wrap=True)
    above = (
        f"{supervisor['name'] or supervisor['class']} (pid {supervisor['pid']})" if supervisor else NOTHING
    )
    after = ", ".join(f"{key} {value}" for key, value in (spec or {}).items() if key != "containment")
    table.add_row("for", duration(agent["status_s"]), "age", duration(agent["age_s"]))
    table.add_row(
        "mailbox", f"{agent['mailbox']} (most {agent['mailbox_max']})", "handled", count(agent["handled"])
    )
    table.add_row("a second", rate(agent["rate"]), "load", percent(agent["load"]))
    table.add_row("restarts", count(agent["restarts"]), "crashes", count(agent["crashes"]))
    table.add_row("supervisor", _plain(above), "child", _plain(agent["child"]))
    if after:
        table.add_row("spec", _plain(after), "", "")
    if (risk := content.get("risk")) is not None:
        table.add_row("risk", _plain(_risk(risk)), "", "")
    if spec and spec.get("containment"):
        table.add_row("contained", _plain(spec["containment"]), "", "")
    return table


def _risk(risk: Document) -> str:
    parts = ", ".join(f"{part} {value:.2f}" for part, value in risk["parts"].items())
    traced = f"; {percent(risk['traced'])} of its messages traced" if risk.get("traced") else ""
    declared = f", declared {risk['declared']:.2f}" if risk["declared"] else ""
    return f"{risk['score']:.2f}, tier {risk['tier']}{declared} ({parts}){traced}"


def _value_line(key: str, value: Document) -> Text:
    line = Text()
    if key:
        line.append(f"{one_line(key)}: ", "cyan")
    if value.get("error"):
        line.append(f"({one_line(value['type'])} that cannot be shown: {one_line(value['error'])})", "red")
    elif value.get("masked"):
        line.append("(masked)", "dim")
    else:
        line.append(one_line(value["text"]))
        if value.get("cut"):
            is_text = value["type"] in (
                "str",
                "bytes",
                "bytearray",
            )  # the size of others is no number of bytes
            of = f" of {size(value['size'])}" if value.get("size") and is_text else ""
            line.append(f" (cut{of})", "dim")
    return line


def _grow_value(node: Tree, value: Document) -> None:
    for key, part in value.get("items") or ():
        _grow_value(node.add(_value_line(str(key), part)), part)
    if value.get("more"):
        node.add(Text(f"… {count(value['more'])} more", "dim"))
