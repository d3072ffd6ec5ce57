"""Who asks the emitter to be told of what has just happened. `observe.probe.greetings` is the probe's end."""

from __future__ import annotations

from collections.abc import Callable

FRESH_S = 0.5
"""How long an attach waits for what has just happened. After as long it is known who holds the scheduler."""

Tell = Callable[[int], None]


class Askers:
    """Those who wait. Belongs to the scheduler's thread."""

    def __init__(self) -> None:
        self._waiting: list[Tell] = []
        self._being_told: list[Tell] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, tell: Tell) -> None:
        """`tell` is called with the number of the last frame of all that has happened until now."""
        self._waiting.append(tell)

    def begin(self) -> None:
        """What has happened is being told from here on: to all who have asked."""
        self._being_told += self._waiting
        self._waiting = []

    def told(self, seq: int) -> None:
        """All of it has been sent, up to this frame."""
        told, self._being_told = self._being_told, []
        for tell in told:
            tell(seq)
