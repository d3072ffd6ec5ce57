"""What is wrong with the node, worst first: what it has diagnosed of itself, and the crashes of the last minute. Pure.

The diagnoses are the node's (the verb `findings`). How bad each is to look at, and in which order the agents concerned
are shown, is decided here. With too little past to judge by, the verdict is "too early to say" rather than "calm".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from observe.console.columns import PID, TEXT_COLUMNS, Row
from observe.console.crash_groups import Group
from observe.console.format import ago, clip, one_line, pad, plural
from observe.console.lines import Folds, Line, text_lines
from observe.console.row_filter import passes
from observe.console.signs import Signs
from observe.probe.errors import Refusal
from observe.probe.filters import Comparison, parse
from observe.probe.verbs_findings import StandingFinding

Level = Literal["bad", "warn"]

EARLY_S: Final = 5
"""Seconds of vital signs before the node is called calm."""

BAD: Final = frozenset(
    {
        "holds_scheduler",
        "holds_worker",
        "blocks",
        "one_cause",
        "restart_loop",
        "orphan",
        "loop_lag",
        "crashes",
        "audit_unavailable",
    }
)
"""Checks that say that work is lost or nothing runs; of all others, that something is getting there."""

SORTS: Final = {"loop_lag": "load"}
"""The order in which a check without a filter shows the table."""

CRASHES: Final = "crashes"
"""Our own finding: any crash is told, not only those that make a pattern."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    check: str
    text: str
    filter: str = ""
    """Shows the agents concerned in the table; empty: they cannot be told from it."""

    advice: str = ""
    cause: str = ""
    count: int = 1
    since: float = 0.0
    """By the node's clock."""

    pid: int = 0
    """The worst agent; 0 when it is about none."""

    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """How loudly it is shown."""
        return "bad" if self.check in BAD else "warn"

    @property
    def sort(self) -> str:
        """The column by which the agents concerned are best looked at: the first number that the filter names."""
        if self.check in SORTS:
            return SORTS[self.check]
        try:
            terms = parse(self.filter)
        except Refusal:
            return CRASHES
        columns = [term.column for term in terms if isinstance(term, Comparison) and not term.negated]
        return next((name for name in columns if name not in TEXT_COLUMNS and name != "pid"), CRASHES)

    @property
    def names_agents(self) -> bool:
        """Whether whoever passes its filter has it; a crash alone is no diagnosis of anybody."""
        return bool(self.filter) and self.check != CRASHES

    def concerns(self, row: Row) -> bool:
        """Whether it is about the agent in this row."""
        return row[PID] == self.pid or (self.names_agents and passes(row, self.filter))


def worst_first(signs: Signs, told: Iterable[StandingFinding], groups: Sequence[Group]) -> list[Finding]:
    """All that is wrong: what the node says, and the crashes of the last minute unless it says why they are."""
    found = [
        Finding(
            one.check,
            one.text,
            one.filter,
            one.advice,
            one.cause,
            one.count,
            one.since,
            one.pid,
            one.evidence,
        )
        for one in told
    ]
    crashes = round(signs.now.get("crashes_min", 0))
    if crashes and not any(one.check == "one_cause" for one in found):
        text = plural(crashes, "crash", "crashes") + " in the last minute"
        if groups:
            worst = groups[0]
            text += f", most: {worst.newest.class_name} {clip(one_line(worst.newest.reason), 60)}"
        found.append(
            Finding(CRASHES, text, "crashes>0", "the screen of crashes has them by place", count=crashes)
        )
    return sorted(found, key=lambda one: one.level)


def concerning(row: Row, found: Iterable[Finding]) -> list[Finding]:
    """The findings about the agent in this row."""
    return [one for one in found if one.concerns(row)]


def verdict(signs: Signs, found: Sequence[Finding]) -> str:
    """What to say when nothing is wrong."""
    if found:
        return ""
    if signs.seconds() < EARLY_S:
        return "too early to say"
    return "calm: no crash in a minute, and the node has no findings about itself"


# -- the page ----------------------------------------------------------------------------------------------------------


def finding_page_lines(
    found: Sequence[Finding], calm: str, folds: Folds, width: int, now: float
) -> list[Line]:
    """Each finding with its cause, its advice and its evidence below it. `now` is the node's clock."""
    if not found:
        return [Line("none", ((f"● {calm}", "good" if "calm" in calm else "dim"),))]
    lines: list[Line] = []
    for one in found:
        key = f"finding/{one.check}"
        is_open = folds.is_open(key, True)
        since = ago(max(0.0, now - one.since)).removesuffix(" ago") if one.since else ""
        lines.append(
            Line(
                key,
                (("▲ ", one.level), (pad(one.check, 16) + " ", one.level), (pad(since, 8, right=True) + "  ", "dim"),
                 (one_line(one.text), "strong")),
                0, is_open, full=one.text,
            )
        )  # fmt: skip
        if is_open:
            lines += _about(one, key, width)
    return lines


def _about(one: Finding, key: str, width: int) -> list[Line]:
    lines: list[Line] = []
    if len(one.text) > width - 32:
        lines += text_lines(f"{key}/text", one.text, 1, width)
    for label, text, tone in (("because", one.cause, "bad"), ("do", one.advice, "text")):
        if text:
            lines.append(
                Line(f"{key}/{label}", ((pad(label, 14), "key"), (one_line(text), tone)), 1, full=text)
            )
    if one.pid:
        lines.append(Line(f"{key}/pid", ((pad("worst", 14), "key"), (f"#{one.pid}", "text")), 1, pid=one.pid))
    if one.filter:
        who = ((pad("agents", 14), "key"), (one.filter, "info"), (f"  {one.count:,}", "dim"))
        lines.append(Line(f"{key}/agents", who, 1, full=one.filter))
    for name, value in one.evidence.items():
        if isinstance(value, list):
            lines.append(Line(f"{key}/{name}", ((name, "key"),), 1))
            lines += [
                Line(f"{key}/{name}/{number}", ((one_line(str(part)), "dim"),), 2, full=str(part))
                for number, part in enumerate(value)
            ]
        else:
            lines.append(
                Line(
                    f"{key}/{name}",
                    ((pad(one_line(name), 13) + " ", "key"), (one_line(str(value)), "dim")),
                    1,
                )
            )
    return lines


def check_of(key: str) -> str:
    """The check that a line of the page belongs to."""
    return key.split("/")[1] if key.startswith("finding/") else ""
