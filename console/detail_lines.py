"""The page of one agent as lines: what it does now, its stack, state, mailbox, last crash and relations. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from observe.console.columns import LEVEL_TONES, LONG_ACTIVITY_S, STATUS_TONES, Piece
from observe.console.conversation import conversation_lines
from observe.console.format import (
    NOTHING,
    STATUS_GLYPHS,
    ago,
    clip,
    clock,
    duration,
    one_line,
    pad,
    percent,
    plural,
    rate,
    short_count,
)
from observe.console.lines import Folds, Line, heading, stack_lines, text_lines, traceback_lines, value_lines
from observe.console.risk_lines import risk_lines
from observe.console.standing_lines import (
    alarms,
    budget_lines,
    described,
    past_lines,
    recovery_lines,
    tie_lines,
)
from observe.probe.wire_agent import Crash, Detail

SECTIONS: Final = (
    "now", "stack", "state", "conversation", "mailbox", "crash", "past", "budget", "recovery", "risk", "relations", "ties",
)  # fmt: skip
"""All sections in the order in which they stand on a narrow screen."""

WITHOUT_THE_NODE: Final = ("now", "stack", "relations")
"""Those that the probe can fill when the node itself cannot be asked."""

LEFT: Final = ("now", "stack", "crash", "past", "budget", "recovery", "risk", "relations", "ties")
RIGHT: Final = ("state", "conversation", "mailbox")
"""The same on a wide screen, in two halves."""


def title_pieces(detail: Detail, width: int, gone: bool) -> list[list[Piece]]:
    """The two lines above the sections: who it is, and its numbers."""
    agent = detail.agent
    status = str(agent.get("status", "?")) if not gone else "exited"
    name = agent.get("name") or agent.get("child") or ""
    state = f"{STATUS_GLYPHS.get(status, '?')} {status} {duration(_number(agent, 'status_s'))}"
    first: list[Piece] = [(f"{one_line(str(name))} ", "title"), (f"#{agent.get('pid', '?')}  ", "dim")]
    first.append((str(agent.get("class", "")), "text"))
    if detail.module:
        first.append((f"  {detail.module}", "dim"))
    used = sum(len(text) for text, _ in first)
    if detail.doc and width - used - len(state) > 20:
        doc = f"  {clip(one_line(detail.doc), width - used - len(state) - 4)}"
        first.append((doc, "faint"))
        used += len(doc)
    level = one_line(str(agent.get("containment") or "none"))
    if level != "none" and not gone:
        first.append((f"  {level}", LEVEL_TONES.get(level, "hot")))
        used += len(level) + 2
    first.append((pad(state, max(0, width - used), right=True), STATUS_TONES.get(status, "text")))
    return [first, _counters(agent, width)]


def _counters(agent: dict[str, Any], width: int) -> list[Piece]:
    crashes, restarts = int(_number(agent, "crashes")), int(_number(agent, "restarts"))
    pairs: list[tuple[str, str, str]] = [
        ("mailbox", short_count(_number(agent, "mailbox")), "text"),
        ("handled", short_count(_number(agent, "handled")), "text"),
        ("msg/s", rate(_number(agent, "rate")), "text"),
        ("load", percent(_number(agent, "load")), "text"),
        ("restarts", str(restarts), "warn" if restarts else "text"),
        ("crashes", str(crashes), "bad" if crashes else "text"),
        ("age", duration(_number(agent, "age_s")), "text"),
        ("most in mailbox", short_count(_number(agent, "mailbox_max")), "text"),
        ("reductions", short_count(_number(agent, "reductions")), "text"),
    ]
    pieces: list[Piece] = []
    for label, text, tone in pairs:
        width -= len(label) + len(text) + 3
        if width < -2:
            break  # the last ones matter least
        pieces += [(f"{label} ", "dim"), (f"{text}  ", tone)]
    return pieces


def _number(agent: dict[str, Any], column: str) -> float:
    value = agent.get(column)
    return float(value) if isinstance(value, (int, float)) else 0.0


def section_lines(
    detail: Detail, sections: Sequence[str], folds: Folds, width: int, now: float
) -> list[Line]:
    """The lines of the given sections. `now` is the node's clock, for ages."""
    builders = {
        "now": _now_lines,
        "stack": _stack,
        "state": _state,
        "conversation": _conversation,
        "mailbox": _mailbox,
        "crash": _crash,
        "past": past_lines,
        "budget": budget_lines,
        "recovery": recovery_lines,
        "risk": risk_lines,
        "relations": _relations,
        "ties": tie_lines,
    }
    lines: list[Line] = []
    for section in sections:
        part = builders[section](detail, folds, width, now)
        if part and lines:
            lines.append(Line(f"{section}^", ()))
        lines += part
    return lines


def _now_lines(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    title = heading("now", "Now", folds)
    if not title.open:
        return [title]
    lines = [title]
    longest = max((activity.since_s for activity in detail.activities), default=0.0)
    for number, activity in enumerate(detail.activities):
        slow = activity.since_s >= LONG_ACTIVITY_S
        attributes = ", ".join(f"{name}={value}" for name, value in activity.attributes.items())
        pieces: list[Piece] = [
            (one_line(activity.name), "info"),
            (f"  for {duration(activity.since_s)}", "bad" if slow else "strong"),
        ]
        if len(detail.activities) > 1:
            pieces.insert(0, (waterfall(activity.since_s, longest) + "  ", "spark"))
        if attributes:
            pieces.append((f"  {one_line(attributes)}", "dim"))
        lines.append(Line(f"now/{number}", tuple(pieces), 1))
    if not detail.activities:
        status = str(detail.agent.get("status", ""))
        text = {
            "idle": "nothing: it waits for a message",
            "runnable": "it has work and waits for its turn on the scheduler",
            "running": "it runs",
            "holding": "it holds the scheduler: nothing else on the node runs",
            "waiting": "it awaits something that has no name as an activity; its stack says where",
        }.get(status, status or "not known")
        lines.append(Line("now/status", ((text, "dim"),), 1))
    crash = detail.last_crash
    if crash is not None:
        lines.append(
            Line(
                "now/crash",
                (
                    ("crashed ", "bad"),
                    (f"{ago(max(0.0, now - crash.at))}: ", "text"),
                    (one_line(crash.reason), "bad"),
                ),
                1,
            )
        )
    lines += alarms(detail)
    if detail.note:
        lines += text_lines("now/note", detail.note, 1, width, "warn")
    return lines


def waterfall(since_s: float, longest_s: float, cells: int = 16) -> str:
    """From when to now something has lasted, beside the longest of its kind; at least a cell."""
    filled = max(1, round(cells * since_s / longest_s)) if longest_s > 0 else cells
    return " " * (cells - filled) + "━" * filled


def _stack(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    title = heading("stack", "Stack", folds, "most recent call last")
    return [title, *(stack_lines("stack", detail.stack, 1) if title.open else [])]


def _state(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    state = detail.state
    note = "" if state is None else plural(state.size or len(state.items or []), "attribute")
    title = heading("state", "State", folds, note)
    if not title.open:
        return [title]
    if state is None:
        return [title, Line("state/none", (("not to be had from this node now", "faint"),), 1)]
    lines = [title]
    for number, (label, value) in enumerate(state.items or []):
        lines += value_lines(f"state/{number}:{label}", label, value, folds, 1, width)
    if not state.items:
        lines.append(Line("state/empty", (("no attributes", "faint"),), 1))
    if state.more:
        lines.append(Line("state/more", ((f"… {state.more:,} more", "faint"),), 1))
    return lines


def _conversation(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    return conversation_lines(detail.conversations, folds, width)


def _mailbox(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    note = plural(detail.mailbox_total, "message") + (", oldest first" if detail.mailbox_total > 1 else "")
    title = heading("mailbox", "Mailbox", folds, note)
    if not title.open:
        return [title]
    lines = [title]
    for number, message in enumerate(detail.mailbox):
        lines += value_lines(f"mailbox/{number}", f"{number + 1}", message, folds, 1, width)
    left_out = detail.mailbox_total - len(detail.mailbox)
    if left_out > 0:
        lines.append(Line("mailbox/more", ((f"… {left_out:,} more", "faint"),), 1))
    if not detail.mailbox_total:
        lines.append(Line("mailbox/empty", (("empty", "faint"),), 1))
    return lines


def crash_lines(
    key: str, crash: Crash, folds: Folds, depth: int, width: int, *, successor: int | None = None
) -> list[Line]:
    """One crash: when, what, which message, and its traceback. `successor` is known to have come after it."""
    after = crash.restarted or successor
    lines = [
        Line(f"{key}/reason", ((one_line(crash.reason), "bad"),), depth, full=crash.reason),
        Line(
            f"{key}/when",
            (
                ("at ", "dim"),
                (clock(crash.at), "text"),
                (f"  as #{crash.pid}", "text"),
                ("  restarted as " if after else "  not restarted", "dim"),
                (f"#{after}" if after else "", "text"),
            ),
            depth,
            pid=crash.restarted,
        ),
    ]
    if crash.message is not None:
        lines += value_lines(f"{key}/message", "while handling", crash.message, folds, depth, width)
    return lines + traceback_lines(f"{key}/traceback", crash.traceback, depth, width)


def _crash(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    crash = detail.last_crash
    if crash is None:
        return [heading("crash", "Last crash", folds, "none")]
    title = heading("crash", "Last crash", folds, ago(max(0.0, now - crash.at)), "bad")
    pid = int(_number(detail.agent, "pid"))
    successor = pid if pid != crash.pid else None
    if not title.open:
        return [title]
    return [
        title,
        *crash_lines("crash", crash, folds, 1, width, successor=successor),
        *_locals(detail, folds, width),
    ]


LOCALS: Final = "crash-locals"
"""The line that unfolds into local variables: they come over the wire only then."""


def _locals(detail: Detail, folds: Folds, width: int) -> list[Line]:
    is_open = folds.is_open(LOCALS)
    lines = [
        Line(
            LOCALS,
            (("local variables", "key"), ("" if is_open else "  as they were at the crash", "faint")),
            1,
            is_open,
        )
    ]
    if not is_open:
        return lines
    if detail.crash_locals is None:
        return [
            *lines,
            *text_lines(f"{LOCALS}/note", detail.locals_note or "asking for them …", 2, width, "dim"),
        ]
    for number, frame in enumerate(detail.crash_locals):
        key = f"{LOCALS}/{number}"
        where = f"{one_line(frame.function)}  {one_line(frame.file)}:{frame.line}"
        lines.append(Line(key, ((where, "text"),), 2))
        for place, (name, value) in enumerate(frame.values.items or []):
            lines += value_lines(f"{key}/{place}:{name}", name, value, folds, 3, width)
    return lines


def _relations(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    title = heading("relations", "Supervision", folds)
    if not title.open:
        return [title]
    lines = [title]
    supervisor = detail.supervisor
    pid = supervisor.pid if supervisor else int(_number(detail.agent, "supervisor"))
    above = described(supervisor) if supervisor else f"#{pid}" if pid else "none: it is the root"
    lines.append(Line("relations/supervisor", (("supervisor  ", "key"), (above, "text")), 1, pid=pid or None))
    if detail.spec:
        spec = "  ".join(f"{name} {_spec_value(value)}" for name, value in detail.spec.items())
        lines += text_lines("relations/spec", f"child spec  {one_line(spec)}", 1, width)
    if detail.children_total:
        lines.append(
            Line("relations/children", (("children  ", "key"), (f"{detail.children_total:,}", "text")), 1)
        )
    for child in detail.children:
        lines.append(
            Line(
                f"relations/child/{child.child or child.pid}",
                (
                    (f"{STATUS_GLYPHS.get(child.status, '?')} ", STATUS_TONES.get(child.status, "text")),
                    (described(child), "text"),
                    (f"  {child.status}", "dim"),
                    (f"  {plural(child.restarts, 'restart')}" if child.restarts else "", "warn"),
                ),
                2,
                pid=child.pid,
            )
        )
    left_out = detail.children_total - len(detail.children)
    if left_out > 0:
        text = (
            f"… {left_out:,} more: in the tree (t) or the table, filter supervisor={detail.agent.get('pid')}"
        )
        lines.append(Line("relations/more", ((text, "faint"),), 2))
    return lines


def _spec_value(value: object) -> str:
    return NOTHING if value is None else str(value)
