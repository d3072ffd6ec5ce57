"""What waits for a person, and what was decided lately, as lines: of `observe approvals` and of the console's page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from observe.console.columns import Piece
from observe.console.format import ago, clip, clock, duration, one_line, pad, plural
from observe.console.lines import Folds, Line, heading, wrap
from observe.probe.wire_approvals import DecidedApproval, WaitingApproval, WaitingApprovals

TITLES: Final = (("no", 4), ("agent", 20), ("activity", 22), ("waits", 6), ("left", 6))
"""The columns and their cells; what is asked follows, as long as it is."""

TO_THE_RIGHT: Final = frozenset({"no", "waits", "left"})

SOON_S: Final = 60.0
"""Seconds before an approval ends by itself from which on that is said loudly."""

WIDE: Final = 120

OUTCOMES: Final = {
    "granted": ("●", "good"),
    "refused": ("✕", "bad"),
    "expired": ("▲", "warn"),
    "given up": ("○", "dim"),
}
"""Sign and tone of each way in which an approval ends."""


# -- the command line


def table(approvals: Sequence[dict[str, Any]]) -> list[str]:
    """A heading, and one line for each."""
    heading = " ".join(pad(title, cells, right=title in TO_THE_RIGHT) for title, cells in TITLES)
    return [f"{heading}  asked", *map(_text, approvals)]


def _text(one: dict[str, Any]) -> str:
    cells = (
        str(one["number"]),
        _who(one["name"] or one["class"], one["pid"]),
        one_line(one["activity"]),
        duration(one["waited_s"]),
        duration(one["left_s"]),
    )
    shown = " ".join(
        pad(clip(cell, width), width, right=title in TO_THE_RIGHT)
        for cell, (title, width) in zip(cells, TITLES, strict=True)
    )
    return f"{shown}  {asked(one)}"


def past_lines(decided: Sequence[dict[str, Any]], total: int) -> list[str]:
    """What was decided lately, one line each, below how much there was."""
    if not decided:
        return ["nothing was decided since the start"]
    return [
        f"{plural(total, 'decision')} since the start"
        + (f", the newest {len(decided)}:" if total > len(decided) else ":"),
        *(
            " ".join(
                (
                    clock(one["at"]),
                    pad(str(one["number"]), 4, right=True),
                    pad(_who(one["name"] or one["class"], one["pid"]), 20),
                    pad(one_line(one["activity"]), 22),
                    outcome(DecidedApproval.model_validate(one)),
                )
            )
            for one in decided
        ),
    ]


def asked(one: dict[str, Any]) -> str:
    """What is asked, of whom, and how far it is."""
    parts = [one_line(part) for part in (one["ask"], one["said"]) if part]
    if one["policy"]:
        parts.append(f"by policy {one_line(one['policy'])}")
    if one["approvers"]:
        parts.append(f"of {one_line(' or '.join(one['approvers']))}")
    if one["granted_by"]:
        parts.append(f"granted by {one_line(', '.join(one['granted_by']))}")
    if one["needed"] > 1 or one["granted_by"]:
        parts.append(f"{one['needed']} more must agree")
    if one["told"]:
        parts.append(f"escalated to {one_line(one['told'][-1])}")
    if one["on_timeout"] == "allow":
        parts.append("granted by itself in the end")
    return "; ".join(parts)


def _who(name: str, pid: int) -> str:
    return f"{one_line(name)} #{pid}"


def outcome(one: DecidedApproval) -> str:
    """What has become of it: `granted by operator ann: a known customer`."""
    by = f" by {one_line(one.by)}" if one.by else ""
    if one.outcome == "expired":
        return f"nobody answered: {'granted' if one.allowed else 'refused'} by itself"
    if one.outcome == "given up":
        return one_line(one.reason).removeprefix("it was ") or one.outcome
    return f"{one.outcome}{by}" + (f": {one_line(one.reason)}" if one.reason else "")


# -- the console's page


def page_lines(found: WaitingApprovals, folds: Folds, width: int, now: float) -> list[Line]:
    """What waits, the longest first; below it what was decided, the newest first."""
    waiting = found.approvals
    note = (
        plural(found.total, "activity waits", "activities wait") if waiting else "nothing waits for a person"
    )
    lines = [heading("waiting", "Waiting for a person", folds, note, "warn" if waiting else "good")]
    if waiting and lines[0].open:
        cells = _cells(width)
        titles: list[Piece] = [(_cell(title, *shape), "dim") for title, shape in cells.items()]
        lines.append(Line("titles", (*titles, ("asked", "dim")), 1))
        lines += [_waiting_line(one, cells, width) for one in waiting]
        if found.total > len(waiting):
            more = f"and {found.total - len(waiting):,} more, that wait less long"
            lines.append(Line("waiting/more", ((more, "faint"),), 1))
    note = f"{found.decided_total:,} since the start" if found.decided_total else "none since the start"
    lines.append(heading("decided", "Decided lately", folds, note))
    if found.decided and lines[-1].open:
        lines += [_decided_line(one, width, now) for one in found.decided]
    return lines


def number_of(line: Line | None) -> tuple[str, int]:
    """What a line is about: `waiting` or `decided` and the number, 0 for none."""
    section, _, rest = (line.key if line is not None else "").partition("/")
    return section, int(rest) if rest.isdigit() else 0


def _cells(width: int) -> dict[str, tuple[int, bool]]:
    wide = width >= WIDE
    cells = {"no": (4, True), "agent": (24 if wide else 16, False), "activity": (24 if wide else 13, False)}
    if wide:
        cells["since"] = (8, False)
    return cells | {"waits": (6, True), "left": (6, True), "then": (4, False)}


def _cell(text: str, cells: int, right: bool) -> str:
    return pad(clip(text, cells), cells, right=right) + "  "


def _waiting_line(one: WaitingApproval, cells: dict[str, tuple[int, bool]], width: int) -> Line:
    granted = one.on_timeout == "allow"
    shown: dict[str, Piece] = {
        "no": (str(one.number), "dim"),
        "agent": (_who(one.name or one.class_name, one.pid), "strong"),
        "activity": (one_line(one.activity), "info"),
        "since": (clock(one.since), "dim"),
        "waits": (duration(one.waited_s), "text"),
        "left": (duration(one.left_s), "bad" if one.left_s < SOON_S else "text"),
        "then": ("yes" if granted else "no", "warn" if granted else "dim"),
    }
    pieces = [(_cell(shown[title][0], *shape), shown[title][1]) for title, shape in cells.items()]
    people = one.needed + len(one.granted_by)
    if people > 1:
        pieces.append((f"{len(one.granted_by)} of {people} agreed  ", "warn"))
    pieces.append((_short(one), "text"))
    return Line(
        f"waiting/{one.number}", tuple(pieces), 1, full=f"{one.activity} of {shown['agent'][0]}: {one.ask}"
    )


def _short(one: WaitingApproval) -> str:
    """What is asked, in one line. A policy says the same of all; what tells them apart is what the activity was given."""
    given = one_line(one.said).strip("{}").replace("'", "")
    return given if given and (one.policy or not one.ask) else one_line(one.ask)


def _decided_line(one: DecidedApproval, width: int, now: float) -> Line:
    glyph, tone = OUTCOMES.get(one.outcome, ("?", "text"))
    wide = width >= WIDE
    pieces: list[Piece] = [
        (f"{glyph} ", tone),
        (_cell(ago(max(0.0, now - one.at)), 11, False), "dim"),
        (_cell(_who(one.name or one.class_name, one.pid), 24 if wide else 16, False), "text"),
        (_cell(one_line(one.activity), 24 if wide else 13, False), "info"),
        (outcome(one), tone),
    ]
    if wide and one.ask:
        pieces.append((f"  {one_line(one.ask)}", "dim"))
    return Line(f"decided/{one.number}", tuple(pieces), 1, full=outcome(one))


def waiting_detail(one: WaitingApproval, width: int, now: float, why_not: str) -> list[Line]:
    """All that is known of one that waits; `why_not` says why this person cannot decide it now."""
    who = _who(one.name or one.class_name, one.pid)
    hint: Piece = (
        (one_line(why_not), "warn")
        if why_not
        else ("O approves it, V refuses it; both ask first, and go on record", "dim")
    )
    lines = [
        _title(one.activity, who, one.number),
        Line("keys", (hint,)),
        *_facts("asked", one.ask or "nothing beyond the name", width, "strong"),
        *_facts("given", one.said, width),
        *_facts("ends", _ending(one, now), width, "bad" if one.left_s < SOON_S else "text"),
    ]
    if one.granted_by:
        agreed = f"{', '.join(one.granted_by)}; {one.needed} more must agree, with another key"
        lines += _facts("agreed", agreed, width, "warn")
    if one.told:
        lines += _facts("escalated", f"to {', '.join(one.told)}", width, "warn")
    return [
        *lines,
        *_facts("granted by", _takes(one), width),
        *_facts("waits", f"{duration(one.waited_s)}, since {clock(one.since)}", width),
        *_facts("asked by", _asker(one.policy), width, "dim"),
        _agent(who, one.class_name, one.pid),
    ]


def _title(activity: str, who: str, number: int) -> Line:
    pieces: tuple[Piece, ...] = ((f"{one_line(activity)} of {who}", "title"), (f"  approval {number}", "dim"))
    return Line("title", pieces, heading=True)


def _asker(policy: str) -> str:
    return f"the policy {policy}" if policy else "the agent's own code"


def _agent(who: str, class_name: str, pid: int) -> Line:
    return Line("agent", ((f"{'agent':<14}", "key"), (f"{who} ({one_line(class_name)})", "info")), pid=pid)


def _ending(one: WaitingApproval, now: float) -> str:
    then = "granted" if one.on_timeout == "allow" else "refused"
    return f"in {duration(one.left_s)}, at {clock(now + one.left_s)}: {then} by itself, if nobody answers"


def _takes(one: WaitingApproval) -> str:
    whom = " or ".join(one.approvers) or "any operator"
    people = one.needed + len(one.granted_by)
    return f"{whom}, {people} people with different keys" if people > 1 else whom


def decided_detail(one: DecidedApproval, width: int, now: float) -> list[Line]:
    """All that is known of one that was decided."""
    who = _who(one.name or one.class_name, one.pid)
    _, tone = OUTCOMES.get(one.outcome, ("?", "text"))
    waited = f"after it had waited for {duration(one.waited_s)}"
    return [
        _title(one.activity, who, one.number),
        *_facts("outcome", outcome(one), width, tone),
        *_facts("decided", f"{clock(one.at)}, {ago(max(0.0, now - one.at))}, {waited}", width),
        *_facts("asked", one.ask, width),
        *_facts("given", one.said, width),
        *_facts("asked by", _asker(one.policy), width, "dim"),
        _agent(who, one.class_name, one.pid),
        *_facts("on record", f"observe audit search NODE approval-{one.number}", width, "dim"),
    ]


def _facts(name: str, text: str, width: int, tone: str = "text") -> list[Line]:
    if not text:
        return []
    return [
        Line(f"{name}|{number}", ((f"{name if not number else '':<14}", "key"), (part, tone)), full=text)
        for number, part in enumerate(wrap(text, width - 16))
    ]


# -- the question before it is decided


def question_facts(approvals: Sequence[WaitingApproval], number: int) -> list[list[Piece]]:
    """For the question before one is decided: what the agent waits to do, each on its lines."""
    chosen = [one for one in approvals if number in (0, one.number)]
    if not chosen:
        return [[(f"{'asks':<12}", "dim"), ("nothing: it does not wait for that any more", "warn")]]
    rows: list[list[Piece]] = []
    for one in chosen[:3]:
        rows.append(
            [(f"{'asks':<12}", "dim"), (f"{one_line(one.activity)} ", "info"), (f"({one.number})", "dim")]
        )
        rows += [[(" " * 12, "dim"), (part, "strong")] for part in wrap(one.ask, 52)[:3] if part]
        rows += [[(" " * 12, "dim"), (part, "text")] for part in wrap(one.said, 52)[:3] if part]
    if len(chosen) > 3:
        rows.append([(" " * 12, "dim"), (f"and {len(chosen) - 3:,} more", "dim")])
    return rows
