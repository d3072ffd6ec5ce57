"""Changes of audited fields, from the feed to the audit log.

They have happened when they are told, so nobody waits for their record; what cannot be written is counted and told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from observe.audit.log import AuditUnavailable
from observe.audit.record import Who
from observe.probe.frames import AuditedFrame
from observe.probe.scribe import Scribe

logger = logging.getLogger("observe.probe")

MOST_A_SECOND: Final = 1000
"""An agent that changes a field with each of 10,000 messages a second must not fill the disk."""


class AuditedRecords:
    """Writes them. Belongs to the probe's loop."""

    def __init__(self, scribe: Scribe, incarnation: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._scribe = scribe
        self._incarnation = incarnation
        self._clock = clock
        self._second = 0
        self._count = 0
        self._left_out = 0
        self._is_failing = False
        self.unrecorded = 0
        """Left out since the probe began: too many at once, or the log could not be written."""

    def statistics(self) -> dict[str, int]:
        """How many changes are not on record."""
        return {"audited_unrecorded": self.unrecorded}

    def take(self, frame: AuditedFrame) -> None:
        """Have it written, if there is room."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > MOST_A_SECOND:
            self._left_out += 1
            self.unrecorded += 1
            return
        target: dict[str, Any] = {"pid": frame.pid, "name": frame.name, "class": frame.class_name}
        if self._left_out:
            target["more_left_out"] = self._left_out
            self._left_out = 0
        self._scribe.write(
            "completed",
            self._written,
            command_id="",
            who=Who(
                key="", name=f"{frame.name or frame.class_name} (pid {frame.pid})", role="agent", user=""
            ),
            what="state",
            target=target,
            reason=frame.how,
            incarnation=self._incarnation,
            outcome={"diff": frame.diff},
            control=False,
        )

    def _written(self, written: object) -> None:
        if isinstance(written, AuditUnavailable):
            self.unrecorded += 1
            if not self._is_failing:
                logger.error("a change of an audited field could not be recorded: %s", written)
        self._is_failing = isinstance(written, AuditUnavailable)
