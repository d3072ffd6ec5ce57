"""The supervision tree as lines: the unhealthy first, supervisors with counts of their children. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from rich.cells import cell_len

from observe.console.columns import LEVEL_TONES, STATUS_TONES, Piece, mailbox_tone
from observe.console.format import STATUS_GLYPHS, bar, one_line, pad, plural, short_count
from observe.console.lines import Folds, Line
from observe.console.tree_paths import Trouble
from observe.probe.wire_agent import Branch

WIDEST_NAME: Final = 36
"""Cells up to which the names of siblings are aligned."""

OPEN_DEPTH: Final = 2
"""Levels that are unfolded at first: the root, its supervisors."""

CALM: Final = Trouble()
"""Nobody is in trouble."""


def key_of(branch: Branch, parent: str) -> str:
    """A key that a restarted child keeps: its place in the tree, not its pid."""
    return f"{parent}/{branch.child or branch.pid}"


def is_supervisor(branch: Branch) -> bool:
    """Whether it has or may have children."""
    return branch.strategy is not None or branch.children_total > 0


def weight(branch: Branch) -> tuple[int, int, int]:
    """How unhealthy an agent and what is below it are: crashes, restarts, waiting messages."""
    crashes, restarts, mailbox = branch.crashes, branch.restarts, branch.mailbox
    for child in branch.children:
        inner = weight(child)
        crashes, restarts, mailbox = crashes + inner[0], restarts + inner[1], mailbox + inner[2]
    return crashes, restarts, mailbox


FLASH_S: Final = 4.0
"""Seconds for which a place in the tree stands out after a restart: longer than two pictures are apart."""


@dataclass(slots=True)
class Restarts:
    """Which places in the tree were restarted just now: told from one picture to the next."""

    _known: dict[str, int] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def look(self, root: Branch, grafts: dict[int, Branch], now: float) -> None:
        """Take in a new picture."""
        known: dict[str, int] = {}

        def walk(branch: Branch, parent: str) -> None:
            key = key_of(branch, parent)
            known[key] = branch.restarts
            if branch.restarts > self._known.get(key, branch.restarts):
                self._until[key] = now + FLASH_S
            grafted = self.grafted(branch, grafts)
            for child in grafted.children:
                walk(child, key)

        walk(root, "tree")
        self._known = known
        self._until = {key: until for key, until in self._until.items() if until > now}

    @staticmethod
    def grafted(branch: Branch, grafts: dict[int, Branch]) -> Branch:
        """The branch with its children, if they came on their own."""
        return branch if branch.children else grafts.get(branch.pid, branch)

    @property
    def fresh(self) -> frozenset[str]:
        """Keys of the lines that stand out."""
        return frozenset(self._until)


def intensity_pieces(branch: Branch, *, wide: bool = True) -> list[Piece]:
    """`one_for_one ▌ 2 of 7 restarts in 60s`: how much is used up of what a supervisor may restart before it gives up."""
    if branch.strategy is None:
        return []
    if branch.intensity is None:
        return [(f"  {branch.strategy}", "faint")]
    period = f"{branch.period_s or 0:g}s"
    used = branch.restarts_within
    if not used:
        return [(f"  {branch.strategy} {branch.intensity} in {period}", "faint")]
    share = used / branch.intensity if branch.intensity else 1.0
    tone = "bad" if share >= 1 else "warn" if share >= 0.5 else "text"
    last = ": one more and it gives up" if share >= 1 else ""
    text = f"{used} of {branch.intensity}{' restarts' if wide else ''} in {period}{last}"
    return [(f"  {branch.strategy} ", "faint"), (bar(min(1.0, share), 6), tone), (f" {text}", tone)]


def tree_lines(
    root: Branch,
    grafts: dict[int, Branch],
    folds: Folds,
    *,
    wide: bool = True,
    fresh: frozenset[str] = frozenset(),
    trouble: Trouble = CALM,
    open_depth: int = OPEN_DEPTH,
) -> list[Line]:
    """All lines that are unfolded; counts by status have their words where it is `wide`; `fresh` are keys of places that were restarted
    just now; `trouble` says who is to be seen at first even though it is further down than `open_depth`.

    `grafts` are branches that were asked for on their own, by pid, because the tree that came with `root` was not
    deep enough.
    """
    lines: list[Line] = []
    _Maker(grafts, folds, wide, fresh, trouble, open_depth, lines).add(root, "tree", 0, 0)
    return lines


@dataclass(slots=True)
class _Maker:
    grafts: dict[int, Branch]
    folds: Folds
    wide: bool
    fresh: frozenset[str]
    trouble: Trouble
    open_depth: int
    lines: list[Line]

    def add(self, branch: Branch, parent: str, depth: int, cells: int) -> None:
        """The line of a branch and, when it is unfolded, of all below; names are `cells` wide, as their siblings'."""
        key = key_of(branch, parent)
        branch = self.grafts.get(branch.pid, branch) if not branch.children else branch
        at_first = depth < self.open_depth or self.trouble.unfolds(branch.pid)
        is_open = self.folds.is_open(key, at_first) if branch.children_total else None
        self.lines.append(
            Line(key, tuple(self._pieces(branch, cells, key in self.fresh)), depth, is_open, pid=branch.pid)
        )
        if not is_open:
            return
        inner = min(WIDEST_NAME, max((cell_len(_label(child)) for child in branch.children), default=0))
        # Sorted by what is wrong, then by pid: among the healthy nothing moves.
        for child in sorted(branch.children, key=self._order):
            self.add(child, key, depth + 1, inner)
        left_out = branch.children_total - len(branch.children)
        if left_out > 0:
            what = "not fetched yet" if not branch.children else "Enter shows all in the table"
            text = f"… {left_out:,} more: {what}"
            self.lines.append(Line(f"{key}/…", ((text, "faint"),), depth + 1, pid=-branch.pid))

    def _order(self, child: Branch) -> tuple[int, ...]:
        is_troubled = child.pid in self.trouble.checks or child.pid in self.trouble.below
        return (not is_troubled, *(-part for part in weight(child)[:2]), child.pid)

    def _pieces(self, branch: Branch, cells: int, is_fresh: bool) -> list[Piece]:
        label = pad(_label(branch), cells) if cells else _label(branch)
        pieces: list[Piece] = [
            (f"{STATUS_GLYPHS.get(branch.status, '?')} ", STATUS_TONES.get(branch.status, "text")),
            (label, "strong" if is_supervisor(branch) else "text"),
            (f"  {branch.class_name}", "dim"),
        ]
        if branch.pid in self.trouble.checks:
            check, level = self.trouble.checks[branch.pid]
            pieces.append((f"  ▲ {check}", level))
        if self.trouble.below.get(branch.pid):
            more = "+" if self.trouble.cut else ""
            where = " below" if self.wide else ""
            pieces.append((f"  ▲ {self.trouble.below[branch.pid]:,}{more} in trouble{where}", "bad"))
        if branch.containment != "none":
            pieces.append((f"  {one_line(branch.containment)}", LEVEL_TONES.get(branch.containment, "hot")))
        if branch.crashes:
            pieces.append((f"  {plural(branch.crashes, 'crash', 'crashes')}", "bad"))
        if branch.restarts:
            text = plural(branch.restarts, "restart")
            pieces.append((f"  ↻ {text} just now", "hot") if is_fresh else (f"  {text}", "warn"))
        if branch.mailbox:
            pieces.append((f"  mailbox {short_count(branch.mailbox)}", mailbox_tone(branch.mailbox)))
        limits = intensity_pieces(branch, wide=self.wide)
        counts: list[Piece] = []
        if branch.children_total:
            counts = [(f"  {branch.children_total:,}: ", "text"), *self._by_status(branch)]
        elif not is_supervisor(branch):
            counts = [(f"  {branch.status}", "dim")]
        # What is cut off on a narrow screen is how often one may restart that has not.
        return [*pieces, *limits, *counts] if branch.restarts_within else [*pieces, *counts, *limits]

    def _by_status(self, branch: Branch) -> list[Piece]:
        pieces: list[Piece] = []
        for status, number in sorted(branch.by_status.items(), key=lambda item: (-item[1], item[0])):
            if number:
                word = f" {status}" if self.wide else ""
                gap = "  " if pieces else ""
                text = f"{gap}{STATUS_GLYPHS.get(status, '?')} {number:,}{word}"
                pieces.append((text, STATUS_TONES.get(status, "text")))
        return pieces


def with_room(
    root: Branch, grafts: dict[int, Branch], folds: Folds, trouble: Trouble, room: int
) -> frozenset[int]:
    """Supervisors whose children are unfolded because somebody below is in trouble and they all fit on the screen, of `room` lines:
    those with most trouble first."""
    unfolded = trouble.fitting
    while True:
        trouble = replace(trouble, fitting=unfolded)
        lines = tree_lines(root, grafts, folds, trouble=trouble)
        left = room - len(lines)
        if left <= 0:
            return unfolded
        branches = {branch.pid: branch for branch in _all(root, grafts)}
        folded = [line.pid for line in lines if line.open is False and line.key not in folds.chosen]
        worst = sorted((pid for pid in folded if pid), key=lambda pid: -trouble.below.get(pid, 0))
        fitting = next(
            (
                pid
                for pid in worst
                if trouble.below.get(pid) and pid in branches and branches[pid].children_total <= left
            ),
            None,
        )
        if fitting is None:
            return unfolded
        unfolded |= {fitting}


def _all(branch: Branch, grafts: dict[int, Branch]) -> Iterator[Branch]:
    branch = grafts.get(branch.pid, branch) if not branch.children else branch
    yield branch
    for child in branch.children:
        yield from _all(child, grafts)


def _label(branch: Branch) -> str:
    return f"{one_line(branch.name or branch.child or 'root')} #{branch.pid}"


def unfetched(root: Branch, grafts: dict[int, Branch], folds: Folds, trouble: Trouble = CALM) -> list[int]:
    """Pids of unfolded supervisors whose children did not come with the tree: to be asked for on their own."""
    missing: list[int] = []

    def walk(branch: Branch, parent: str, depth: int) -> None:
        key = key_of(branch, parent)
        at_first = depth < OPEN_DEPTH or trouble.unfolds(branch.pid)
        if not branch.children_total or not folds.is_open(key, at_first):
            return
        if not branch.children:
            missing.append(branch.pid)
            branch = grafts.get(branch.pid, branch)
        for child in branch.children:
            walk(child, key, depth + 1)

    walk(root, "tree", 0)
    return missing
