"""Process groups and names as lines: of the console's page, and of `observe names`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from observe.console.columns import STATUS_TONES, Piece
from observe.console.format import STATUS_GLYPHS, clip_middle, one_line, pad, plural
from observe.console.lines import Folds, Line, heading
from observe.probe.wire_names import Member, Name, NamesPage


def name_lines(page: NamesPage, folds: Folds, width: int) -> Iterator[Line]:
    """The groups with their members, then the names."""
    title = heading(
        "groups", "Process groups", folds, _shown(len(page.groups), page.groups_matched, page.groups_total)
    )
    yield title
    if title.open:
        if not page.groups:
            yield Line("groups/none", (("none" if not page.groups_total else "none matches", "faint"),), 1)
        for group in page.groups:
            key = f"group/{group.name}"
            is_open = folds.is_open(key)
            pieces: list[Piece] = [
                (pad(clip_middle(one_line(group.name), 32), 32), "strong"),
                (f"  {plural(group.members_total or len(group.members), 'member')}", "text"),
            ]
            if group.memberships > (group.members_total or len(group.members)):
                pieces.append((f", joined {group.memberships:,} times", "dim"))
            yield Line(key, tuple(pieces), 1, is_open, full=group.name)
            if is_open:
                yield from (_member(key, one) for one in group.members)
                left_out = group.members_total - len(group.members)
                if left_out > 0:
                    yield Line(f"{key}/more", ((f"… {left_out:,} more", "faint"),), 2)
    title = heading("names", "Names", folds, _shown(len(page.names), page.names_matched, page.names_total))
    yield title
    if title.open:
        if not page.names:
            yield Line("names/none", (("none" if not page.names_total else "none matches", "faint"),), 1)
        cells = max(16, min(48, width // 3))
        yield from (_name(one, cells) for one in page.names)


def _shown(shown: int, matched: int, total: int) -> str:
    text = f"{total:,}"
    if matched < total:
        text = f"{matched:,} of {text} match"
    return f"{text}, {shown:,} shown" if shown < matched else text


def _member(key: str, one: Member) -> Line:
    times = f"  x{one.times}" if one.times > 1 else ""
    who = one_line(one.name or one.class_name)
    return Line(
        f"{key}/{one.pid}",
        ((who, "text"), (f"  {one_line(one.class_name)} {one.pid}", "dim"), (times, "info")),
        2,
        None,
        one.pid,
    )


def _name(one: Name, cells: int) -> Line:
    tone = STATUS_TONES.get(one.status, "text")
    pieces: tuple[Piece, ...] = (
        (pad(clip_middle(one_line(one.name), cells), cells), "strong"),
        (f"  {one_line(one.class_name)} {one.pid}  ", "text"),
        (f"{STATUS_GLYPHS.get(one.status, '?')} {one.status}" if one.status else "in a worker", tone),
    )
    return Line(f"name/{one.name}", pieces, 1, None, one.pid, full=one.name)
