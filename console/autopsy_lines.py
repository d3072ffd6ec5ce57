"""A death report for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from observe.console.format import clock, duration, one_line, plural, size, timestamp

Document = Mapping[str, Any]

SHOWN_ACTIVITIES = 10
SHOWN_EVENTS = 15
SHOWN_FRAMES = 12


def death(report: Document) -> RenderableType:
    """One death report."""
    parts: list[RenderableType] = [
        Text.assemble(
            (one_line(report["node"]), "bold"),
            f"  process {report['pid']}  died {timestamp(report['at'])}  after {duration(report['at'] - report['started_at'])}",
        ),
        Text(one_line(report["cause"]), "bold red"),
        Text(f"memory at most {size(report['memory_max'])}   {plural(report['crashes_total'], 'crash', 'crashes')} before"),
        Text(f"{plural(report['agents'], 'agent')}: " + _statuses(report["by_status"])),
    ]  # fmt: skip
    running = report.get("running")
    if running is not None:
        parts.append(Text(f"running at the end: {_who(running)}, for {duration(running['for_s'])}", "yellow"))
    held = report.get("held")
    if held is not None:
        who = one_line(held.get("name") or held["class"])
        parts.append(Text(f"its scheduler was held by {who} for {duration(held['since_s'])}", "yellow"))
        parts += _frames(held["stack"])
    for thread in report["stacks"]:
        parts.append(Text(f"last stack of {thread['thread']}:"))
        parts += _frames(thread["frames"])
    total = report["open_activities_total"]
    if total:
        parts.append(Text(f"{plural(total, 'activity', 'activities')} open at the end"))
        parts += [
            Text(f"  {one_line(one['activity'] or '')} for {duration(one['for_s'])}  {_who(one)}")
            for one in report["open_activities"][:SHOWN_ACTIVITIES]
        ]
        if total > SHOWN_ACTIVITIES:
            parts.append(Text(f"  and {total - SHOWN_ACTIVITIES:,} more", "dim"))
    parts += _open_spans(report)
    if report["events"]:
        parts.append(Text("last events"))
        parts += [
            Text(f"  {clock(event['at'])}  {one_line(event['text'])}")
            for event in report["events"][-SHOWN_EVENTS:]
        ]
    return Group(*parts)


def autopsy(found: Document) -> RenderableType:
    """What was wrong at the end of a recording."""
    parts: list[RenderableType] = [
        Text(f"{one_line(found['node'])}  {timestamp(found['from_at'])} to {clock(found['to_at'])}", "bold")
    ]
    parts += [Text(one_line(line), "bold red") for line in found["damage"]]
    parts += [Text(f"{one['count']:,} times: {one_line(one['text'])}", "red") for one in found["crashed"]]
    parts += [
        Text(f"mailbox of {_who(one)} grew from {one['before']:,} to {one['mailbox']:,}", "yellow")
        for one in found["grew"]
    ]
    parts += [
        Text(f"{one_line(one['who'])} held the scheduler in {one['seconds']:,} of the seconds", "yellow")
        for one in found["held"]
    ]
    if not (found["crashed"] or found["grew"] or found["held"] or found["death"]):
        parts.append(Text("nothing crashed, no mailbox grew, nobody held the scheduler", "green"))
    parts += [Text(f"  {clock(event['at'])}  {one_line(event['text'])}") for event in found["events"]]
    if found["death"] is None:
        parts += _open_spans(found)
    else:
        parts.append(death(found["death"]))
    return Group(*parts)


def _open_spans(report: Mapping[str, Any]) -> list[RenderableType]:
    total = report["open_spans_total"]
    if not total:
        return []
    shown = report["open_spans"][:SHOWN_ACTIVITIES]
    parts: list[RenderableType] = [Text(f"{plural(total, 'span')} open at the end")]
    parts += [
        Text(f"  {one_line(one['name'])} for {duration(one['for_s'])}  {one_line(one['agent'])}  trace {one['trace_id']}")
        for one in shown
    ]  # fmt: skip
    if total > len(shown):
        parts.append(Text(f"  and {total - len(shown):,} more", "dim"))
    return parts


def _statuses(by_status: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in by_status.items()) or "none"


def _who(agent: Mapping[str, Any]) -> str:
    return f"{one_line(agent.get('name') or agent['class'] or 'an agent')} (pid {agent['pid']})"


def _frames(frames: list[Mapping[str, Any]]) -> list[RenderableType]:
    return [
        Text(f"  {one_line(frame['file'])}:{frame['line']} in {one_line(frame['function'])}  {one_line(frame['source'])}")
        for frame in frames[-SHOWN_FRAMES:]
    ]  # fmt: skip
