"""How an agent stands, as lines: past activities, budgets, ladder and checkpoint, ties. Pure.

Nothing is told by colour alone: what is nearly used up has a sign, a rung that was taken another.
"""

from collections.abc import Sequence
from typing import Final

from observe.console.columns import Piece
from observe.console.format import ago, bar, duration, one_line, pad, percent, plural, short_count, size
from observe.console.lines import Folds, Line, heading
from observe.probe.wire_agent import Detail
from observe.probe.wire_base import AgentName
from observe.probe.wire_standing import BudgetLine, LimitLine, PastActivity

NEARLY: Final = 0.8
"""The share of a limit from which on it stands out: as where the node itself begins to tell of it."""

BAR: Final = 16
"""Cells of a bar."""

SHOWN: Final = 12
"""Past activities that are shown; the rest is to be had with `observe inspect --json`."""

LIMITS: Final = {
    "tool_calls": "tool calls",
    "tokens": "tokens",
    "cost": "cost",
    "wall_s": "wall time",
    "steps_without_progress": "steps without progress",
    "same_call": "same call repeated",
}
"""What a limit is about, for people."""


def described(agent: AgentName) -> str:
    """`sessions #12 (SessionSupervisor)`."""
    return f"{agent.name + ' ' if agent.name else ''}#{agent.pid} ({agent.class_name})"


def alarms(detail: Detail) -> list[Line]:
    """What of all this must be seen at once, for the top of the page: a limit nearly reached, a ladder being climbed."""
    lines: list[Line] = []
    own = detail.agent.get("pid")
    for number, one in enumerate(
        [*([detail.budget] if detail.budget is not None else []), *detail.budgets_above]
    ):
        for limit in one.limits:
            used = share(limit)
            if used >= NEARLY:
                whose = "its budget" if one.owner.pid == own else f"the budget of {described(one.owner)}"
                what = f"{LIMITS.get(limit.name, one_line(limit.name))} of {whose}: {percent(used)} used"
                text = f"{'✕' if used >= 1 else '▲'} {what}"
                lines.append(Line(f"now/budget/{number}/{limit.name}", ((text, limit_tone(used)),), 1))
    ladder = detail.ladder
    if ladder is not None and ladder.failures:
        rung = ladder.rungs[ladder.next].rung if ladder.next < len(ladder.rungs) else "Escalate"
        text = f"▲ {plural(ladder.failures, 'failure')} in a row; at the next one: {one_line(rung)}"
        lines.append(Line("now/ladder", ((text, "warn"),), 1))
    if detail.checkpoint is not None and detail.checkpoint.fault:
        text = f"✕ its checkpoint is not on record: {one_line(detail.checkpoint.fault)}"
        lines.append(Line("now/checkpoint", ((text, "bad"),), 1))
    return lines


def past_lines(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    """Activities that have ended, as a waterfall whose right end is now."""
    if detail.past_for_s is None:
        return []
    past = detail.past
    note = f"{len(past)} in the {duration(detail.past_for_s)} since somebody looked" if past else ""
    title = heading("past", "Past activities", folds, note or f"none in {duration(detail.past_for_s)}")
    if not past or not title.open:
        return [title]
    shown = past[:SHOWN]
    window = max(one.ended_s + one.took_s for one in shown) or 1.0
    names = min(28, max(len(one_line(one.name)) for one in shown))
    cells = 24 if width >= 90 else 10
    lines = [
        Line(f"past/{number}", tuple(_past(one, window, cells, names)), 1) for number, one in enumerate(shown)
    ]
    left_out = len(past) - len(shown)
    if left_out:
        lines.append(Line("past/more", ((f"… {left_out} more", "faint"),), 1))
    return [title, *lines]


def _past(one: PastActivity, window: float, cells: int, names: int) -> list[Piece]:
    pieces: list[Piece] = [
        (span(one, window, cells) + "  ", "spark" if one.error is None else "bad"),
        (pad(one_line(one.name), names), "info"),
        (f" {pad(duration(one.took_s) if one.took_s >= 0.001 else '<1ms', 7, right=True)}", "strong"),
        (f"  {ago(one.ended_s)}", "dim"),
    ]
    if one.tokens:
        pieces.append((f"  {short_count(one.tokens)} tokens", "text"))
    if one.cost:
        pieces.append((f"  cost {one.cost:.4g}", "text"))
    if one.error is not None:
        pieces.append((f"  ✕ {one_line(one.error)}", "bad"))
    return pieces


def span(one: PastActivity, window: float, cells: int) -> str:
    """When it ran, within the last `window` seconds; at least a cell of it."""
    end = min(cells, max(1, cells - int(cells * one.ended_s / window)))
    begin = min(end - 1, max(0, int(cells * (1 - (one.ended_s + one.took_s) / window))))
    return "·" * begin + "━" * (end - begin) + "·" * (cells - end)


def budget_lines(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    """What was spent, as bars: its own budget, then those of the trees that it is in."""
    budgets = [detail.budget] if detail.budget is not None else []
    budgets += detail.budgets_above
    if not budgets:
        return []
    worst = max((share(limit) for one in budgets for limit in one.limits), default=0.0)
    sign = "✕ used up" if worst >= 1 else "▲ nearly used up" if worst >= NEARLY else ""
    title = heading("budget", "Budget", folds, sign, limit_tone(worst))
    if not title.open:
        return [title]
    lines = [title]
    pid = detail.agent.get("pid")
    for number, one in enumerate(budgets):
        key = f"budget/{number}"
        if one.owner.pid != pid:
            text = f"the whole tree under {described(one.owner)}"
            lines.append(Line(key, ((text, "text"), _then(one)), 1, pid=one.owner.pid))
        elif one.on_limit:
            lines.append(Line(key, (("its own", "text"), _then(one)), 1))
        lines += [Line(f"{key}/{limit.name}", tuple(limit_pieces(limit)), 2) for limit in one.limits]
    return lines


def _then(one: BudgetLine) -> Piece:
    return f"  at a limit: {one_line(one.on_limit)}", "dim"


def share(limit: LimitLine) -> float:
    """How much of a limit is used; 0 of what has none."""
    return limit.used / limit.allowed if limit.allowed else 0.0


def limit_tone(used: float) -> str:
    """How loudly a share of a limit is shown."""
    return "bad" if used >= 1 else "warn" if used >= NEARLY else "good"


def amount(name: str, value: float) -> str:
    """A number in the unit of its limit."""
    if name == "wall_s":
        return duration(value)
    return f"{value:.4g}" if name == "cost" else short_count(value)


def limit_pieces(limit: LimitLine) -> list[Piece]:
    """`tool calls             ████      12 of 40   30%`."""
    name = pad(LIMITS.get(limit.name, one_line(limit.name)), 23)
    if limit.allowed is None:
        return [(name, "key"), (f"{amount(limit.name, limit.used)}, no limit", "dim")]
    used = share(limit)
    tone = limit_tone(used)
    text = f"{amount(limit.name, limit.used)} of {amount(limit.name, limit.allowed)}"
    sign = "  ✕" if used >= 1 else "  ▲" if used >= NEARLY else ""
    return [
        (name, "key"),
        (bar(min(1.0, used), BAR), tone),
        (f"  {text}", "text"),
        (f"  {percent(used)}{sign}", tone if used >= NEARLY else "dim"),
    ]


def recovery_lines(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    """What happens at the next failure, and from what the agent would come back."""
    ladder, checkpoint = detail.ladder, detail.checkpoint
    if ladder is None and checkpoint is None:
        return []
    note = plural(ladder.failures, "failure") + " in a row" if ladder is not None and ladder.failures else ""
    title = heading("recovery", "Ladder and checkpoint", folds, note, "warn")
    if not title.open:
        return [title]
    lines = [title]
    for number, rung in enumerate(ladder.rungs if ladder is not None else ()):
        assert ladder is not None
        sign, tone, text = ("·", "dim", "")
        if number < ladder.next:
            sign, text = "✓", "taken"
        elif number == ladder.next:
            sign, tone, text = "→", "strong", "next, when it fails again"
        times = f" x{rung.times}" if rung.times > 1 else ""
        pieces = ((f"{sign} ", tone), (pad(one_line(rung.rung) + times, 18), tone), (text, "dim"))
        lines.append(Line(f"recovery/rung/{number}", pieces, 1))
    if ladder is not None and ladder.next >= len(ladder.rungs):
        text = "→ Escalate: the ladder has ended; at the next failure the supervisor ends"
        lines.append(Line("recovery/end", ((text, "bad"),), 1))
    if ladder is not None and ladder.taken is not None:
        text = (
            f"{one_line(ladder.taken)} was taken {ago(ladder.taken_s or 0.0)}; a handled message begins anew"
        )
        lines.append(Line("recovery/taken", ((text, "warn"),), 1))
    if checkpoint is not None:
        lines.append(Line("recovery/checkpoint", (("checkpoint  ", "key"), *_checkpoint(detail)), 1))
        if checkpoint.fault:
            fault = f"✕ it is not on record: {one_line(checkpoint.fault)}"
            lines.append(Line("recovery/fault", ((fault, "bad"),), 1))
    return lines


def _checkpoint(detail: Detail) -> list[Piece]:
    one = detail.checkpoint
    assert one is not None
    when = one.policy or "when it asks for one"
    pieces: list[Piece] = [(f"{one_line(when)}{'; it comes back from it' if one.restores else ''}  ", "dim")]
    if not one.generation or one.age_s is None:
        return [("none yet  ", "warn"), *pieces]
    text = f"#{one.generation} {ago(one.age_s)}, {size(one.size or 0)}  "
    changed: Piece = ("changed since  ", "warn") if one.is_changed else ("nothing has changed since  ", "dim")
    return [(text, "strong"), changed, *pieces]


def tie_lines(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    """Links, monitors and groups: whose end concerns whom."""
    ties = detail.ties
    if ties is None:
        return []
    counts = [
        plural(total, word)
        for total, word in (
            (ties.links_total, "link"),
            (ties.monitors_total, "monitor"),
            (ties.groups_total, "group"),
            (ties.timers, "timer"),
        )
        if total
    ]
    if ties.monitored_by_total:
        counts.insert(len(counts), f"monitored by {ties.monitored_by_total:,}")
    title = heading("ties", "Links, monitors, groups", folds, ", ".join(counts) or "none")
    if not title.open:
        return [title]
    lines = [title]
    lines += _tied("links", "linked to", ties.links, ties.links_total)
    lines += _tied("monitors", "monitors", ties.monitors, ties.monitors_total)
    lines += _tied("monitored_by", "monitored by", ties.monitored_by, ties.monitored_by_total)
    if ties.groups:
        names = ", ".join(
            one_line(group.name) + (f" x{group.times}" if group.times > 1 else "") for group in ties.groups
        )
        left_out = ties.groups_total - len(ties.groups)
        names += f" … {left_out:,} more" if left_out > 0 else ""
        lines.append(Line("ties/groups", (("groups  ", "key"), (names, "text")), 1, full=names))
    if ties.traps_exits:
        text = "traps exits: the end of who is linked to it is a message to it"
        lines.append(Line("ties/traps", ((text, "dim"),), 1))
    if ties.refused:
        text = f"✕ {plural(ties.refused, 'message')} refused or dropped: its mailbox was full"
        lines.append(Line("ties/refused", ((text, "bad"),), 1))
    return lines


def _tied(key: str, label: str, agents: Sequence[AgentName], total: int) -> list[Line]:
    lines = [
        Line(
            f"ties/{key}/{agent.pid}",
            ((pad(label if not number else "", 14), "key"), (described(agent), "text")),
            1,
            pid=agent.pid,
        )
        for number, agent in enumerate(agents)
    ]
    if total > len(agents):
        lines.append(Line(f"ties/{key}/more", ((f"… {total - len(agents):,} more", "faint"),), 1))
    return lines
