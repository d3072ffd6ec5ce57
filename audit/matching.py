"""Which records somebody wants to see."""

from __future__ import annotations

from dataclasses import dataclass

from observe.audit.record import Record


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that is given must hold. What is empty counts as not given."""

    text: tuple[str, ...] = ()
    """Parts that stand anywhere in the record, whatever their case."""
    what: str = ""
    phase: str = ""
    who: str = ""
    """Name or fingerprint."""
    agent: str = ""
    """Pid or name."""
    trace: str = ""
    """Trace id, or how it begins."""
    commands: frozenset[tuple[str, str]] = frozenset()
    """Incarnation and `command_id` of what belongs to that trace as a whole, also the record of what was asked."""
    since: float = 0.0
    until: float = float("inf")
    """Unix time."""
    notes: bool = True
    """Whether what the log says of itself is wanted."""

    def has(self, record: Record) -> bool:
        """Whether the record is one of them."""
        if record.phase == "noted" and not self.notes:
            return False
        if not self.since <= record.wall <= self.until:
            return False
        if (self.what and record.what != self.what) or (self.phase and record.phase != self.phase):
            return False
        if self.who and self.who not in (record.who.name, record.who.key):
            return False
        if self.trace and not self._is_of_trace(record):
            return False
        target = record.target
        if self.agent and self.agent not in {str(target.get(key)) for key in ("agent", "pid", "name")}:
            return False
        if self.text:
            line = record.line().decode().casefold()
            return all(part.casefold() in line for part in self.text)
        return True

    def _is_of_trace(self, record: Record) -> bool:
        if record.trace.startswith(self.trace):
            return True
        return bool(record.command_id) and (record.incarnation, record.command_id) in self.commands
