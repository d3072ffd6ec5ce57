"""Troubles that the service has told: its own findings, and what only it can see of agents. No clock, no I/O."""

from __future__ import annotations

from typing import Final, TypeVar

from observe.probe.frames import ConcernFrame, FindingFrame

MOST: Final = 1000
"""Of one kind. A service tells no more."""

KINDS: Final = 16

Kept = TypeVar("Kept", ConcernFrame, FindingFrame)


class Troubles:
    """What stands, by kind and pid."""

    def __init__(self) -> None:
        self._concerns: dict[str, dict[int, ConcernFrame]] = {}
        self._findings: dict[str, dict[int, FindingFrame]] = {}

    def begin_anew(self) -> None:
        """The service tells everything that stands again."""
        self._concerns.clear()

    def concern(self, frame: ConcernFrame) -> None:
        """Something begins, changes or is over."""
        _keep(self._concerns, frame, frame.over)

    def found(self, frame: FindingFrame) -> None:
        """A finding of the runtime begins or is over."""
        _keep(self._findings, frame, frame.cleared)

    def concerns(self, kind: str) -> dict[int, ConcernFrame]:
        """What stands of this kind, by pid."""
        return self._concerns.get(kind, {})

    def findings(self, kind: str) -> dict[int, FindingFrame]:
        """What the runtime has found and not cleared, by pid."""
        return self._findings.get(kind, {})


def _keep(into: dict[str, dict[int, Kept]], frame: Kept, over: bool) -> None:
    if over:
        into.get(frame.kind, {}).pop(frame.pid, None)
    elif frame.kind in into or len(into) < KINDS:
        of_kind = into.setdefault(frame.kind, {})
        if frame.pid in of_kind or len(of_kind) < MOST:
            of_kind[frame.pid] = frame
