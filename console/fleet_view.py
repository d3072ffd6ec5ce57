"""Several nodes as the console shows them: lines, totals, order, and what a person may do. No Textual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

from observe.console.columns import NAMES, PID, Piece, Row, fit, row_of
from observe.console.control import Hand, Taken
from observe.console.format import (
    NODE_GLYPHS,
    NOTHING,
    ago,
    clip,
    count,
    duration,
    memory,
    one_line,
    pad,
    percent,
    plural,
    rate,
    short_count,
)
from observe.console.keys import ROLES
from observe.console.lines import Line
from observe.console.state import FIRST_SORT
from observe.probe.fleet import FleetPage
from observe.probe.fleet_watch import FleetWatch, Sight
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire import Vitals
from observe.probe.wire_table import TEXT_COLUMNS, Query

MOST_AGENTS: Final = 200
"""Rows of the table across nodes; each node sends no more than these."""

MOST_FINDINGS: Final = 100
NODE_CELLS: Final = 18
"""Cells for the name of a node at least."""

STATE_TONES: Final = {"up": "good", "held": "bad", "dead": "bad", "lost": "bad", "stopped": "warn"}
STATE_ORDER: Final = ("lost", "dead", "held", "connecting", "stopped", "up")


@dataclass(frozen=True, slots=True)
class Opening:
    """What a person wants to see of one node."""

    node: str
    pid: int = 0
    """An agent to open, or 0."""
    filter: str = ""
    """Agents to show in the table."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One column of the table of nodes."""

    title: str
    cells: int
    text: Callable[[Vitals], str]
    tone: Callable[[Vitals], str]


def _plain(_: Vitals) -> str:
    return "text"


SIGNS: Final = (
    Sign("agents", 9, lambda one: count(one.agents), _plain),
    Sign("msg/s", 6, lambda one: rate(one.rate), _plain),
    Sign("crash/m", 7, lambda one: count(one.crashes_min), lambda one: "bad" if one.crashes_min else "faint"),
    Sign("lag", 6, lambda one: duration(one.lag_s), lambda one: "bad" if one.lag_s >= 0.1 else "text"),
    Sign("busy", 5, lambda one: percent(one.use), lambda one: "warn" if one.use >= 0.95 else "text"),
    Sign("memory", 6, lambda one: memory(one.memory), _plain),
    Sign(
        "cost", 5, lambda one: percent(one.probe_cost), lambda one: "warn" if one.probe_cost > 0.02 else "dim"
    ),
)
"""What observing costs is a share of a core of the node."""


@dataclass(slots=True)
class FleetView(Hand):
    """What the console on several nodes shows, and how. It outlives a visit to one of them."""

    watch: FleetWatch
    readonly: bool = False
    control: Taken | None = None
    clock: Callable[[], float] = time
    sort: str = FIRST_SORT
    descending: bool = True
    filter: str = ""
    page: FleetPage | None = None
    """The newest rows of the agents of all nodes."""
    cursors: dict[str, str] = field(default_factory=dict)
    """Of each page the key of the line that was chosen."""

    @property
    def role(self) -> str:
        """The best that we have on any node; each node decides for itself."""
        held = [sight.role for sight in self.watch.sights.values() if sight.role in ROLES]
        return max(held, key=lambda role: ROLES.index(role), default="")

    def query(self) -> Query:
        """What every node is asked for."""
        return Query(
            sort=self.sort,
            descending=self.descending,
            filter=self.filter,
            limit=MOST_AGENTS,
            columns=list(NAMES),
        )

    def order_by(self, column: str) -> None:
        """Sort by a column, in its natural direction; by the same again the other way round."""
        same = column == self.sort
        self.descending = not self.descending if same else column not in TEXT_COLUMNS
        self.sort = column


# -- the nodes -----------------------------------------------------------------------------------------------------------


def node_heading(width: int) -> list[Piece]:
    """The headings above `node_lines`."""
    name = _name_cells(width)
    titles = [pad(sign.title, sign.cells, right=True) for sign in _fitting(width)]
    titles.insert(3, pad("find", 5, right=True))
    return [("  " + pad("node", name) + " " + pad("state", 12) + " " + " ".join(titles), "dim")]


def _cells_of(signs: Sequence[Sign]) -> int:
    return 2 + 1 + 12 + 1 + sum(sign.cells + 1 for sign in signs) + 6


def _fitting(width: int) -> Sequence[Sign]:
    """The signs for which there is room; the last ones go first."""
    signs: Sequence[Sign] = SIGNS
    while len(signs) > 1 and NODE_CELLS + _cells_of(signs) > width:
        signs = signs[:-1]
    return signs


def _name_cells(width: int) -> int:
    return max(NODE_CELLS, min(40, width - _cells_of(SIGNS)))


def node_lines(watch: FleetWatch, width: int, now: float | None = None) -> list[Line]:
    """A line for each node, those in trouble first; `now` is monotonic."""
    moment = monotonic() if now is None else now

    def rank(sight: Sight) -> tuple[int, bool]:
        state = STATE_ORDER.index(sight.state) if sight.state in STATE_ORDER else 0
        return (state, not sight.findings)

    return [_node_line(sight, width, moment) for sight in sorted(watch.sights.values(), key=rank)]


def _node_line(sight: Sight, width: int, now: float) -> Line:
    tone = STATE_TONES.get(sight.state, "dim")
    pieces: list[Piece] = [
        (pad(one_line(sight.node), _name_cells(width)) + " ", "text" if sight.is_there else "dim"),
        (pad(f"{NODE_GLYPHS.get(sight.state, '?')} {sight.state}", 12) + " ", tone),
    ]
    signs = sight.vitals
    if sight.is_there and signs is not None:
        cells = [
            (pad(sign.text(signs), sign.cells, right=True), sign.tone(signs)) for sign in _fitting(width)
        ]
        number = len(sight.findings)
        cells.insert(3, (pad(str(number), 5, right=True), "warn" if number else "faint"))
        pieces += [(text + " ", tone) for text, tone in cells]
    else:
        seen = f"  last picture {ago(now - sight.came)}" if signs is not None else ""
        text = sight.text or ("attaching …" if sight.state == "connecting" else NOTHING)
        pieces.append((one_line(text) + seen, tone))
    return Line(f"node/{sight.node}", tuple(pieces))


def finding_lines(found: list[tuple[str, StandingFinding]], width: int, now: float) -> list[Line]:
    """The findings of all nodes, the worst first; `now` is Unix time."""
    title = plural(len(found), "finding") if found else "none"
    lines = [
        Line("findings", (("Findings", "heading"), (f"  {title}", "bad" if found else "good")), heading=True)
    ]
    for node, one in found[:MOST_FINDINGS]:
        lines.append(
            Line(
                f"finding/{node}/{one.check}",
                (
                    ("▲ ", "bad"),
                    (pad(one_line(node), NODE_CELLS) + " ", "text"),
                    (pad(one.check, 16) + " ", "warn"),
                    (pad(ago(max(0.0, now - one.since)), 11) + " ", "dim"),
                    (clip(one_line(one.text), max(10, width - NODE_CELLS - 34)), "text"),
                ),
                full=f"{node}: {one.text}",
            )
        )
    if len(found) > MOST_FINDINGS:
        lines.append(Line("finding//more", ((f"… {len(found) - MOST_FINDINGS:,} more", "faint"),)))
    return lines


def totals_pieces(view: FleetView, width: int) -> list[list[Piece]]:
    """The two lines above the pages; what has no room in `width` cells is left out whole, and of that what is well first."""
    totals = view.watch.totals()
    states: list[Piece] = [
        (f"{NODE_GLYPHS.get(state, '?')} {totals.by_state[state]} {state}  ", STATE_TONES.get(state, "dim"))
        for state in STATE_ORDER
        if state in totals.by_state
    ]
    first: list[Piece] = [(f" {plural(totals.nodes, 'node')}  ", "title"), *states]
    second: list[Piece] = [
        (f" {count(totals.agents)} agents  {rate(totals.rate)} msg/s  ", "strong"),
        (f"{plural(totals.crashes_min, 'crash', 'crashes')}/min  ", "bad" if totals.crashes_min else "text"),
        (f"{plural(totals.findings, 'finding')}  ", "warn" if totals.findings else "text"),
        (f"lag up to {duration(totals.lag_s)}  ", "bad" if totals.lag_s >= 0.1 else "text"),
        (f"{memory(totals.memory)}  ", "text"),
        (
            f"observing costs up to {percent(totals.probe_cost)} ",
            "warn" if totals.probe_cost > 0.02 else "dim",
        ),
    ]
    while (
        len(second) > 1 and sum(len(text) for text, _ in second) > width + 1
    ):  # the last one ends with a space
        calm = [place for place, (_, tone) in enumerate(second) if place and tone in ("text", "dim")]
        second.pop(calm[-1] if calm else -1)
    return [first, second]


# -- the agents of all -----------------------------------------------------------------------------------------------------


def agent_heading(view: FleetView, width: int) -> list[Piece]:
    """The headings above `agent_lines`."""
    pieces: list[Piece] = [("  " + pad("node", NODE_CELLS) + " ", "dim")]
    for column, cells in fit(width - NODE_CELLS - 4, view.sort):
        is_sorted = column.name == view.sort
        title = column.heading(cells - 1 if is_sorted else cells)
        if is_sorted:
            title = ("▼" if view.descending else "▲") + title
        pieces.append((pad(title, cells, right=column.right) + " ", "hotkey" if is_sorted else "dim"))
    return pieces


def agent_lines(view: FleetView, width: int) -> list[Line]:
    """The first agents of all nodes together."""
    if view.page is None:
        return [Line("none", (("asking the nodes …", "faint"),))]
    columns = fit(width - NODE_CELLS - 4, view.sort)
    lines = []
    for node, *values in view.page.rows:
        row = row_of(view.page.columns[1:], values)
        pieces: list[Piece] = [(pad(one_line(str(node)), NODE_CELLS) + " ", "key")]
        for column, cells in columns:
            pieces += [*column.cell(row, cells), (" ", "text")]
        lines.append(Line(f"agent/{node}/{row[PID]}", tuple(pieces), pid=row[PID]))
    if not lines:
        lines.append(Line("none", (("no agent matches" if view.filter else "no agents", "faint"),)))
    lines += [
        Line(f"missing/{node}", ((f"▲ {one_line(node)} is not in it: {one_line(why)}", "warn"),))
        for node, why in view.page.missing.items()
    ]
    return lines


def agents_where(view: FleetView) -> list[Piece]:
    """What the status bar says about the table."""
    page = view.page
    if page is None:
        return [("waiting for the first rows …", "dim")]
    of = (
        f"{count(page.matched)} of {plural(page.total, 'agent')}"
        if view.filter
        else plural(page.total, "agent")
    )
    pieces: list[Piece] = [(f"{of}  ", "strong")]
    if page.matched > len(page.rows):
        pieces.append((f"the first {short_count(len(page.rows))} shown  ", "dim"))
    if page.missing:
        pieces.append((f"without {plural(len(page.missing), 'node')}  ", "warn"))
    return [*pieces, (f"by {view.sort} {'▼' if view.descending else '▲'}", "dim")]


def row_at(view: FleetView, key: str) -> tuple[str, Row] | None:
    """Node and row of the agent on a line of `agent_lines`; None when it is not there any more."""
    if view.page is None or not key.startswith("agent/"):
        return None
    _, _, rest = key.partition("/")
    node, _, pid = rest.rpartition("/")
    for name, *values in view.page.rows:
        row = row_of(view.page.columns[1:], values)
        if name == node and str(row[PID]) == pid:
            return node, row
    return None
