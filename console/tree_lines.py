"""The supervision tree as lines: the unhealthy first, supervisors with counts of their children. Pure."""

from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

from observe.console.columns import STATUS_TONES, Piece, mailbox_tone
from observe.console.format import STATUS_GLYPHS, one_line, pad, plural, short_count
from observe.console.lines import Folds, Line
from observe.probe.wire import Branch

WIDEST_NAME: Final = 36
"""Cells up to which the names of siblings are aligned."""

OPEN_DEPTH: Final = 2
"""Levels that are unfolded at first: the root, its supervisors."""


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


def tree_lines(root: Branch, grafts: dict[int, Branch], folds: Folds, *, wide: bool = True) -> list[Line]:
    """All lines that are unfolded; counts by status have their words where it is `wide`.

    `grafts` are branches that were asked for on their own, by pid, because the tree that came with `root` was not
    deep enough.
    """
    lines: list[Line] = []
    _Maker(grafts, folds, wide, lines).add(root, "tree", 0, 0)
    return lines


@dataclass(slots=True)
class _Maker:
    grafts: dict[int, Branch]
    folds: Folds
    wide: bool
    lines: list[Line]

    def add(self, branch: Branch, parent: str, depth: int, cells: int) -> None:
        """The line of a branch and, when it is unfolded, of all below; names are `cells` wide, as their siblings'."""
        key = key_of(branch, parent)
        branch = self.grafts.get(branch.pid, branch) if not branch.children else branch
        is_open = self.folds.is_open(key, depth < OPEN_DEPTH) if branch.children_total else None
        self.lines.append(Line(key, tuple(self._pieces(branch, cells)), depth, is_open, pid=branch.pid))
        if not is_open:
            return
        inner = min(WIDEST_NAME, max((cell_len(_label(child)) for child in branch.children), default=0))
        # Sorted by what is wrong, then by pid: among the healthy nothing moves.
        for child in sorted(
            branch.children, key=lambda child: (*(-part for part in weight(child)[:2]), child.pid)
        ):
            self.add(child, key, depth + 1, inner)
        left_out = branch.children_total - len(branch.children)
        if left_out > 0:
            what = "not fetched yet" if not branch.children else "Enter shows all in the table"
            text = f"… {left_out:,} more: {what}"
            self.lines.append(Line(f"{key}/…", ((text, "faint"),), depth + 1, pid=-branch.pid))

    def _pieces(self, branch: Branch, cells: int) -> list[Piece]:
        label = pad(_label(branch), cells) if cells else _label(branch)
        pieces: list[Piece] = [
            (f"{STATUS_GLYPHS.get(branch.status, '?')} ", STATUS_TONES.get(branch.status, "text")),
            (label, "strong" if is_supervisor(branch) else "text"),
            (f"  {branch.class_name}", "dim"),
        ]
        if branch.crashes:
            pieces.append((f"  {plural(branch.crashes, 'crash', 'crashes')}", "bad"))
        if branch.restarts:
            pieces.append((f"  {plural(branch.restarts, 'restart')}", "warn"))
        if branch.mailbox:
            pieces.append((f"  mailbox {short_count(branch.mailbox)}", mailbox_tone(branch.mailbox)))
        if branch.strategy is not None:
            limit = "" if branch.intensity is None else f" {branch.intensity} in {branch.period_s or 0:g}s"
            pieces.append((f"  {branch.strategy}{limit}", "faint"))
        if branch.children_total:
            pieces.append((f"  {branch.children_total:,}: ", "text"))
            pieces += self._by_status(branch)
        elif not is_supervisor(branch):
            pieces.append((f"  {branch.status}", "dim"))
        return pieces

    def _by_status(self, branch: Branch) -> list[Piece]:
        pieces: list[Piece] = []
        for status, number in sorted(branch.by_status.items(), key=lambda item: (-item[1], item[0])):
            if number:
                word = f" {status}" if self.wide else ""
                text = f"{STATUS_GLYPHS.get(status, '?')} {number:,}{word}  "
                pieces.append((text, STATUS_TONES.get(status, "text")))
        return pieces


def _label(branch: Branch) -> str:
    return f"{one_line(branch.name or branch.child or 'root')} #{branch.pid}"


def unfetched(root: Branch, grafts: dict[int, Branch], folds: Folds) -> list[int]:
    """Pids of unfolded supervisors whose children did not come with the tree: to be asked for on their own."""
    missing: list[int] = []

    def walk(branch: Branch, parent: str, depth: int) -> None:
        key = key_of(branch, parent)
        if not branch.children_total or not folds.is_open(key, depth < OPEN_DEPTH):
            return
        if not branch.children:
            missing.append(branch.pid)
            branch = grafts.get(branch.pid, branch)
        for child in branch.children:
            walk(child, key, depth + 1)

    walk(root, "tree", 0)
    return missing
