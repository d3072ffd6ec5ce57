"""Profiles in worker processes: each samples itself, asked through its control thread, which answers also while its loop is stuck."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from observe.runtime.node import Node
    from observe.runtime.workers.process import WorkerProcess
    from observe.tracing.profiling import Profile

PIECE: Final = 10
"""Stacks in one datagram of the control link: in the worst case 120 kB."""

FAR_STACKS: Final = 500
"""Of one worker, the most frequent."""

LATE_S: Final = 2.0
"""How long a worker may be late with its end."""
LOOK_S: Final = 0.02

Event = dict[str, Any]

_profiles: dict[int, Profile] = {}
"""Those of this worker, by session. In its control thread."""


def begin(node: Node, session: int, pid: int, for_s: float, rate: float) -> str:
    """In the worker."""
    from observe.tracing.profiling import Profile

    for known, one in list(_profiles.items()):
        if one.over_at is not None:
            del _profiles[known]
    _profiles[session] = profile = Profile(node, pid=pid, for_s=for_s, rate=rate)
    profile.start()
    return "begun"


def take(node: Node, session: int, first: int, why: str) -> tuple[list[Event], bool] | None:
    """In the worker: some of what was seen, and whether there is more; None while it goes on. With a reason it is ended."""
    profile = _profiles.get(session)
    if profile is None:
        return [], False
    if why:
        profile.stop(why)
    found = profile.result
    if found is None:
        return None
    events = [one for one in found if one["kind"] != "end"]
    # The sums come last and must not be cut off.
    events = events[:-1][:FAR_STACKS] + events[-1:]
    return events[first : first + PIECE], first + PIECE < len(events)


class FarProfile:
    """One worker's part, as the node's process has it. In the thread that samples there."""

    def __init__(self, process: WorkerProcess, session: int) -> None:
        self.process = process
        self._session = session
        self.why_not = ""
        """Why nothing came."""

    def begin(self, pid: int, for_s: float, rate: float) -> None:
        """Start it. A worker that is slow to answer has begun all the same, as its end will show."""
        self.process.control("call", begin, self._session, pid, for_s, rate)

    def take(self, why: str) -> list[Event]:
        """All that it saw. Waits until it has ended; `why` ends it now."""
        until = time.monotonic() + LATE_S
        found: list[Event] = []
        while time.monotonic() < until:
            answer = self.process.control("call", take, self._session, len(found), why)
            if isinstance(answer, str):
                self.why_not = answer
                return found
            if answer is None:
                time.sleep(LOOK_S)
                continue
            piece, more = answer
            found += piece
            if not more:
                return found
            until = time.monotonic() + LATE_S
        self.why_not = "it did not end in time"
        return found
