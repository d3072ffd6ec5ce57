"""Everything about one agent, for `observe inspect`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from observe.console.conversation import conversation_lines
from observe.console.format import NOTHING, count, duration, one_line, percent, plural, rate
from observe.console.lines import Folds
from observe.console.render_crashes import one_crash
from observe.console.render_parts import (
    Document,
    frames,
    heading,
    plain,
    plain_table,
    status_text,
    value_tree,
)
from observe.console.render_standing import standing
from observe.console.terminal import console
from observe.probe.wire_conversations import ConversationLine


def detail(content: Document) -> RenderableType:
    """Everything about one agent."""
    agent = content["agent"]
    parts: list[RenderableType] = [
        Text.assemble(
            (one_line(agent["name"] or agent["class"]), "bold"),
            f"  pid {agent['pid']}  ",
            status_text(agent["status"]),
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
        parts += [heading("state"), value_tree(content["state"])]
    parts += conversations(content.get("conversations") or [])
    parts.append(heading(f"mailbox, {plural(content['mailbox_total'], 'message')}"))
    parts += [value_tree(message) for message in content["mailbox"]]
    if content.get("stack"):
        parts += [heading("stack"), *frames(content["stack"]["frames"])]
        if content["stack"].get("waiting_on"):
            parts.append(Text(f"  waits for {one_line(content['stack']['waiting_on'])}"))
        if content["stack"].get("note"):
            parts.append(Text(f"  {one_line(content['stack']['note'])}", "dim"))
    if content["children"]:
        parts.append(heading(f"children, {content['children_total']:,}"))
        for child in content["children"]:
            parts.append(
                Text.assemble(
                    f"  {one_line(str(child['child']))}  ",
                    f"pid {child['pid']}  {one_line(child['class'])}  ",
                    status_text(child["status"]),
                    f"  {plural(child['restarts'], 'restart')}",
                )
            )
    parts += standing(content)
    if content.get("last_crash"):
        parts += [heading("last crash"), one_crash(content["last_crash"])]
    for frame in content.get("crash_locals") or ():
        parts += [
            heading(f"variables of {one_line(frame['function'])}, line {frame['line']}"),
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
    table.add_row("supervisor", plain(above), "child", plain(agent["child"]))
    if after:
        table.add_row("spec", plain(after), "", "")
    if (risk := content.get("risk")) is not None:
        table.add_row("risk", plain(_risk(risk)), "", "")
    if spec and spec.get("containment"):
        table.add_row("contained", plain(spec["containment"]), "", "")
    return table


def _risk(risk: Document) -> str:
    parts = ", ".join(f"{part} {value:.2f}" for part, value in risk["parts"].items())
    traced = f"; {percent(risk['traced'])} of its messages traced" if risk.get("traced") else ""
    declared = f", declared {risk['declared']:.2f}" if risk["declared"] else ""
    return f"{risk['score']:.2f}, tier {risk['tier']}{declared} ({parts}){traced}"
