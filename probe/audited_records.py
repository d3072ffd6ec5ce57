"""Changes of audited fields, from the feed to the audit log.

They have happened when they are told, so nobody waits for their record; what cannot be written is counted and told.
"""

from __future__ import annotations

from typing import Final

from observe.audit.record import Who
from observe.probe.agent_records import AgentRecords
from observe.probe.frames import AuditedFrame

MOST_A_SECOND: Final = 1000
"""An agent that changes a field with each of 10,000 messages a second must not fill the disk."""


class AuditedRecords(AgentRecords):
    """Writes them. Belongs to the probe's loop."""

    most_a_second = MOST_A_SECOND
    complaint = "a change of an audited field could not be recorded"

    def statistics(self) -> dict[str, int]:
        """How many changes are not on record."""
        return {"audited_unrecorded": self.unrecorded}

    def take(self, frame: AuditedFrame) -> None:
        """Have it written, if there is room."""
        if not self._has_room():
            return
        target = self._about(**{"pid": frame.pid, "name": frame.name, "class": frame.class_name})
        self._scribe.write(
            "completed",
            self._written,
            owed=True,
            command_id="",
            who=Who(
                key="", name=f"{frame.name or frame.class_name} (pid {frame.pid})", role="agent", user=""
            ),
            what="state",
            target=target,
            reason=frame.how,
            incarnation=self._incarnation,
            outcome={"diff": frame.diff} | ({"span": frame.span} if frame.span else {}),
            trace=frame.trace,
            control=False,
        )
