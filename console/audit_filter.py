"""The filter of the page of the audit log: who, what, on whom, what became of it, when, and words. Pure.

who=ann  what=kill,edit  on=session-4  outcome=denied  since=2h  until=2026-11-25T14:30  refund  -attach
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from observe.audit.record import Record
from observe.console.moments import moment

_SAME: Final = {"phase": "outcome", "agent": "on", "target": "on", "action": "what"}
"""Other words for the same, as `observe audit search` and the records have them."""

_FIELDS: Final = ("who", "what", "on", "outcome", "since", "until")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition."""

    field: str
    """One of the fields; empty: the values stand anywhere in the record."""
    values: tuple[str, ...]
    """In small letters; one of them is enough."""
    negated: bool


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """All terms must hold."""

    terms: tuple[Term, ...] = ()
    since: float = 0.0
    until: float = float("inf")

    def has(self, record: Record, line: str) -> bool:
        """Whether a record, which stands so in the log, is one of those wanted."""
        if not self.since <= record.wall <= self.until:
            return False
        return all(_holds(term, record, line) is not term.negated for term in self.terms)


def _holds(term: Term, record: Record, line: str) -> bool:
    match term.field:
        case "who":
            who = record.who
            texts = [who.name, who.role, who.user, who.address]
            return any(
                value in map(str.casefold, texts) or who.key.startswith(value) for value in term.values
            )
        case "what":
            return record.what.casefold() in term.values
        case "outcome":
            return record.phase in term.values
        case "on":
            target = record.target
            names = [str(target.get(key, "")).casefold() for key in ("agent", "name", "class", "task")]
            pid = str(target.get("pid", ""))
            return any(value == pid or any(value in name for name in names) for value in term.values)
        case _:
            text = line.casefold()
            return any(value in text for value in term.values)


def parse(text: str, now: float) -> AuditFilter:
    """Read a filter; `now` is what `2h` counts from.

    Raises:
        ValueError: a time in it is none.
    """
    terms: list[Term] = []
    since, until = 0.0, float("inf")
    for part in text.split():
        negated = part.startswith("-") and len(part) > 1
        name, equals, value = part.removeprefix("-" if negated else "").partition("=")
        name = _SAME.get(name, name)
        if not equals or name not in _FIELDS:
            terms.append(Term("", (part[negated:].casefold(),), negated))
        elif not value:
            continue  # it is being typed
        elif name == "since":
            since = moment(value, now)
        elif name == "until":
            until = moment(value, now)
        else:
            terms.append(Term(name, tuple(value.casefold().split(",")), negated))
    return AuditFilter(tuple(terms), since, until)
