"""What an action on agents touches: who they are, what goes with them, what comes after. Facts for dialogs. Pure."""

from collections.abc import Sequence
from typing import Final

from observe.console.columns import MAILBOX, STATUS, SUPERVISOR, Piece, Row
from observe.console.deeds import Deed
from observe.console.format import duration, one_line, plural
from observe.console.lines import wrap
from observe.console.state import Identity
from observe.probe.wire_agent import Detail

TEXT_WIDTH: Final = 54
"""Cells for a fact beside its label."""

LISTED: Final = 8
"""Names shown of several agents; the others are counted."""

AFTER: Final = {
    "permanent": ("its supervisor will restart it", "good"),
    "transient": ("its supervisor will restart it", "good"),
    "temporary": ("it will NOT be restarted", "bad"),
}
"""What follows the end of an agent, by the restart type of its child spec."""


def facts(
    deed: Deed, agent: Identity, detail: Detail | None, row: Row | None, note: str, on: str = ""
) -> list[list[Piece]]:
    """Lines about one agent: who, and what the deed touches, as far as it is known. `note` says why it is not."""
    name = agent.name or agent.child
    rows: list[tuple[str, list[Piece]]] = [
        ("agent", [(f"{one_line(name)} " if name else "", "title"), (f"pid {agent.pid}", "strong")]),
        ("class", [(agent.class_name, "text")]),
    ]
    if on:
        rows.insert(0, ("node", [(one_line(on), "strong")]))
    if detail is not None:
        rows += _known(deed, detail)
        if note:
            rows += [("", [(part, "warn")]) for part in wrap(note, TEXT_WIDTH)]
    else:
        if row is not None:
            rows.append(("supervisor", [(f"#{row[SUPERVISOR]}", "text")]))
            rows.append(("mailbox", [_mailbox(deed, row[MAILBOX])]))
            if not deed.ends:
                rows.append(("status", [(str(row[STATUS]), "text")]))
        text = note or "asking the node what its supervisor will do …"
        rows += [
            ("" if number else "restart", [(part, "warn" if note else "dim")])
            for number, part in enumerate(wrap(text, TEXT_WIDTH))
        ]
    return [[(f"{label:<12}", "dim"), *pieces] for label, pieces in rows]


def _known(deed: Deed, detail: Detail) -> list[tuple[str, list[Piece]]]:
    rows: list[tuple[str, list[Piece]]] = []
    if deed.ends:
        rows += _afterwards(detail)
    else:
        agent = detail.agent
        status = f"{agent.get('status', '?')} for {duration(float(agent.get('status_s') or 0))}"
        rows.append(("status", [(status, "text")]))
    rows.append(("mailbox", [_mailbox(deed, detail.mailbox_total)]))
    if detail.children_total and deed.ends:
        rows.append(("children", [(f"{plural(detail.children_total, 'agent')} will end with it", "bad")]))
    for activity in detail.activities[:1]:
        rows.append(("now", [(f"{one_line(activity.name)} for {duration(activity.since_s)}", "info")]))
    return rows


def _afterwards(detail: Detail) -> list[tuple[str, list[Piece]]]:
    supervisor = detail.supervisor
    if supervisor is None:
        text = "none: this is the root, and all of the node's agents end with it"
        return [("supervisor", [(text, "bad")])]
    restart = restart_type(detail)
    after = AFTER.get(restart, ("what its supervisor does is not known", "warn"))
    above = f"{supervisor.name or supervisor.class_name} #{supervisor.pid}"
    return [("supervisor", [(above, "text")]), ("restart", [(f"{restart or '?'}: ", "text"), after])]


def _mailbox(deed: Deed, waiting: int) -> Piece:
    if not deed.ends:
        return (f"{plural(waiting, 'message')} wait" + ("s" if waiting == 1 else ""), "text")
    if not waiting:
        return ("empty: nothing will be lost", "text")
    return (f"{plural(waiting, 'message')} will be lost", "warn")


def restart_type(detail: Detail | None) -> str:
    """`permanent`, `transient` or `temporary`; empty when it is not known."""
    return str(((detail.spec if detail else None) or {}).get("restart", ""))


def names(agents: Sequence[Identity]) -> list[Piece]:
    """Several agents by name, the first few of them."""
    lines: list[Piece] = [(f"  {one_line(agent.label)}", "strong") for agent in agents[:LISTED]]
    if len(agents) > LISTED:
        lines.append((f"  and {len(agents) - LISTED:,} more", "dim"))
    return lines


def summed(details: Sequence[Detail | None]) -> list[Piece]:
    """What goes with several agents that end; None stands for one that could not be asked about."""
    known = [detail for detail in details if detail is not None]
    waiting = sum(detail.mailbox_total for detail in known)
    below = sum(detail.children_total for detail in known)
    forever = sum(restart_type(detail) == "temporary" for detail in known)
    pieces: list[Piece] = [(f"{plural(waiting, 'message')} will be lost", "warn" if waiting else "text")]
    if below:
        pieces.append((f"{plural(below, 'agent')} below them will end with them", "bad"))
    if forever:
        pieces.append((f"{forever:,} will NOT be restarted", "bad"))
    unknown = len(details) - len(known)
    if unknown:
        pieces.append((f"of {unknown:,} nothing is known: ended, or not to be asked now", "warn"))
    return pieces
