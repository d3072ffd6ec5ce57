"""The node's policies as lines for people. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from observe.console.format import duration, one_line, percent

RULES: Final = ("fitted", "denied", "effect", "policy", "what", "agents")
MACHINES: Final = ("violations", "denied", "effect", "policy", "states", "per", "agents")
CAPS: Final = ("denied", "effect", "policy", "per", "allowed", "most", "agents")
FINDINGS: Final = ("contained", "level", "policy", "finding", "agents")
NUMBERS: Final = ("contained", "fitted", "violations", "denied", "states")


def lines(held: Mapping[str, Any]) -> list[str]:
    """What holds, rule by rule in the order in which they are asked."""
    if not held["source"]:
        more = f"; {held['judges']} judges were set in Python" if held["judges"] else ""
        return [f"no policies: Node(policies=...) declares them{more}"]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
    head = [f"{one_line(held['source'])}  version {held['version']}  since {since}"]
    if held["refused"]:
        head.append(f"NOT IN FORCE, those of before hold: {one_line(held['refused'])}")
    if held["judges"]:
        head.append(f"beside them {held['judges']} judges that were set in Python")
    rules = _table(RULES, [_row(rule) for rule in held["rules"]]) or ["no rules: everything is allowed"]
    machines = _table(MACHINES, [_machine(one) for one in held["machines"]])
    caps = _table(CAPS, [row for one in held["caps"] for row in _cap(one)])
    findings = _table(FINDINGS, [_finding(one) for one in held["findings"]])
    if held["forgotten"]:
        machines.append(f"{held['forgotten']:,} conversations were forgotten: an agent had too many")
    parts = [part for part in (machines, caps, findings) if part]
    return head + rules + [line for part in parts for line in ("", *part)]


def _finding(finding: Mapping[str, Any]) -> tuple[str, ...]:
    agents = "" if finding["agents"] == ["*"] else ", ".join(finding["agents"])
    return f"{finding['contained']:,}", finding["level"], finding["policy"], finding["check"], agents


def _cap(cap: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    effect = cap["effect"] + (f" {cap['level']}" if cap["level"] else "")
    allowed = ", ".join(f"{name} {value:,.12g}" for name, value in cap["limits"].items())
    allowed += f" every {duration(cap['every_s'])}" if cap["every_s"] else ""
    agents = "" if cap["agents"] == ["*"] else ", ".join(cap["agents"])
    most = [_most(cap, one) for one in cap["worst"]] or [""]
    yield f"{cap['denied']:,}", effect, cap["policy"], cap["per"], allowed, most[0], agents
    for one in most[1:]:
        yield "", "", "", "", "", one, ""


def _most(cap: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    who = one["key"] or ("the node" if cap["per"] == "node" else "unknown")
    return f"{percent(one['share'])} {who}"


def _machine(machine: Mapping[str, Any]) -> tuple[str, ...]:
    effect = machine["effect"] + (f" {machine['level']}" if machine["level"] else "")
    agents = "" if machine["agents"] == ["*"] else ", ".join(machine["agents"])
    seen, denied = f"{machine['violations']:,}", f"{machine['denied']:,}"
    return seen, denied, effect, machine["policy"], f"{machine['states']}", machine["per"], agents


def _row(rule: Mapping[str, Any]) -> tuple[str, ...]:
    what = rule["on"] if rule["kind"] == "activity" else f"a message to {rule['on']}"
    what += "".join(f" {name}{_condition(wanted)}" for name, wanted in rule["where"].items())
    what += f" {rule['hours']}" if rule["hours"] else ""
    effect = rule["effect"] + (f" {rule['level']}" if rule["level"] else "")
    agents = "" if rule["agents"] == ["*"] else ", ".join(rule["agents"])
    return (f"{rule['fitted']:,}", f"{rule['denied']:,}", effect, rule["policy"], what, agents)


def _condition(wanted: str) -> str:
    return wanted if wanted[:1] in "<>" else f"={wanted}"


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    cells = [columns, *(tuple(one_line(cell) for cell in row) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in cells
    ]
