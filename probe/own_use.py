"""What the probe itself takes of the machine: the other half of what observation costs."""

from __future__ import annotations

import time


class OwnUse:
    """The probe's processor time: of its process, or of its thread where it is one of the service's."""

    def __init__(self, *, is_thread: bool) -> None:
        self._clock = time.thread_time if is_thread else time.process_time
        self._at = time.monotonic()
        self._used = self._clock()

    def measure(self, now: float) -> float:
        """Share of a core since the last call; call it in the probe's thread, with the monotonic time."""
        used, passed_s = self._clock(), now - self._at
        share = (used - self._used) / passed_s if passed_s > 0 else 0.0
        self._at, self._used = now, used
        return max(share, 0.0)
