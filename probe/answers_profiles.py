"""The service's side of profiles: begun and told in the control thread, so also while a step holds the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.tracing.profiling import Profile

MOST: Final = 4
"""Profiles of one node at one time."""

PIECE: Final = 300
"""Stacks in one answer, so that it stays under a megabyte or so."""

KEPT_S: Final = 30.0
"""How long a result waits for somebody who takes it."""

Fail = Callable[[str, str, str], None]


class Profiles:
    """All profiles. In the control thread; what has been asked for is answered by the one that samples."""

    OPS: Final = ("profile", "profiled")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._profiles: dict[int, Profile] = {}

    def take(self, request: dict[str, Any], done: Callable[[dict[str, Any]], None], fail: Fail) -> None:
        """Carry out one op."""
        session = request.get("session")
        number = session if type(session) is int else 0
        if request.get("op") == "profile":
            self._begin(number, request, done, fail)
            return
        profile = self._profiles.get(number)
        if profile is None:
            fail("bad_request", "there is no such profile, or it was taken already", "")
            return
        first = request.get("from")
        start = first if type(first) is int and first >= 0 else 0

        def over(events: list[dict[str, Any]]) -> None:
            piece = events[start : start + PIECE]
            left = len(events) - start - len(piece)
            if not left:
                self._profiles.pop(number, None)
            done({"events": piece, "left": left})

        profile.when_over(over)

    def _begin(
        self, number: int, request: dict[str, Any], done: Callable[[dict[str, Any]], None], fail: Fail
    ) -> None:
        now = time.monotonic()
        for known, one in list(self._profiles.items()):
            if one.over_at is not None and now - one.over_at > KEPT_S:
                del self._profiles[known]
        if len(self._profiles) >= MOST:
            fail("busy", f"{MOST} profiles of this node are under way", "wait for the end of one")
            return
        # Imported by the first: a service that is never looked into does without.
        from observe.tracing.errors import TracingFault
        from observe.tracing.profiling import Profile

        profile = Profile(
            self._node, pid=int(request["pid"]), for_s=float(request["for_s"]), rate=float(request["rate"])
        )
        try:
            profile.start()
        except TracingFault as fault:
            fail("bad_request", str(fault), "")
            return
        self._profiles[number] = profile
        done({"place": ""})

    def stop(self, number: int) -> bool:
        """Whoever watched is gone. False: it is no profile."""
        profile = self._profiles.pop(number, None)
        if profile is not None:
            profile.stop("whoever watched is gone")
        return profile is not None

    def end(self) -> None:
        """The node stops."""
        for profile in list(self._profiles.values()):
            profile.stop("the node stops")
