"""What the node tells of its agents for the audit log, by itself and not because somebody asked: so many a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from observe.audit.errors import AuditDelayed, AuditUnavailable
from observe.probe.scribe import Scribe

logger: Final = logging.getLogger("observe.probe")


class AgentRecords:
    """What all writers of such records share. Belongs to the probe's loop."""

    most_a_second: int
    """An agent in a loop must not fill the disk; the log takes some 20,000 records a second."""

    complaint: str
    """What is logged when the log cannot be written."""

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

    def _has_room(self) -> bool:
        """Whether one more may be written in this second; counts those that may not."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count <= self.most_a_second:
            return True
        self._left_out += 1
        self.unrecorded += 1
        return False

    def _about(self, **target: Any) -> dict[str, Any]:
        """The target of a record, and how many were left out before it."""
        if self._left_out:
            target["more_left_out"] = self._left_out
            self._left_out = 0
        return target

    def _written(self, written: object) -> None:
        if isinstance(written, AuditUnavailable) and not isinstance(written, AuditDelayed):
            self.unrecorded += 1
            if not self._is_failing:  # once, and not with every message of a monitored agent
                logger.error("%s: %s", self.complaint, written)
        self._is_failing = isinstance(written, AuditUnavailable)
