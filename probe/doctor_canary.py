"""The end of `observe doctor`: a canary is spawned, messaged, traced and killed, and must be seen doing so.

Each step acts on the node by one command, and is over when what was done is seen by the way by which a person sees it:
the agents table and the events. Each is bounded in time; whatever happens, the canary is killed, and if that cannot be, it
ends by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, get_args

from observe.probe import wire_watches
from observe.probe.client import NodeClient
from observe.probe.errors import AttachError, RemoteError
from observe.probe.keys import RANK
from observe.probe.watching import Watch

CanaryStep = Literal["spawned", "messaged", "traced", "killed"]
CANARY_STEPS: Final[tuple[CanaryStep, ...]] = get_args(CanaryStep)

NEEDS: Final = "operator"
"""The role that all of its commands take."""

REASON: Final = "the canary of observe doctor"

LOOK_S: Final = 0.05
SEEN_S: Final = 12.0
"""How long a step may take to be seen at least: on a node that is too large for its budget telemetry comes each 10 s."""

ACTIVITY: Final = "canary:sing"
SING: Final = "sing"
"""What the canary does, and the message that begins it (`observe.probe.canary`, which a client does not load)."""

Told = Callable[[CanaryStep, Literal["ok", "failed", "omitted"], str, str], None]


def omit(tell: Told, why: str) -> None:
    """Take no step."""
    for step in CANARY_STEPS:
        tell(step, "omitted", why, "")


class NotSeen(Exception):
    """What was done did not show."""


async def try_canary(client: NodeClient, timeout_s: float, tell: Told) -> None:
    """Take the steps one by one and tell of each; the first that fails is the last."""
    if RANK.get(client.role, 0) < RANK[NEEDS]:
        omit(tell, f"needs the role {NEEDS}; this key's is {client.role}")
        return
    trial = _Trial(client, max(timeout_s, SEEN_S), tell)
    try:
        await trial.run()
    finally:
        await trial.clean_up()


class _Trial:
    def __init__(self, client: NodeClient, seen_s: float, tell: Told) -> None:
        self._client = client
        self._seen_s = seen_s
        self._tell = tell
        self._pid = 0
        self._events: Watch[wire_watches.Events] | None = None

    async def run(self) -> None:
        client = self._client
        steps: dict[CanaryStep, Callable[[], Awaitable[str]]] = {
            "spawned": self._spawned,
            "messaged": self._messaged,
            "traced": self._traced,
            "killed": self._killed,
        }
        try:
            self._events = await client.watch_events(interval_s=0.05)
        except AttachError as error:
            self._tell("spawned", "failed", f"the events cannot be watched: {error}", error.hint)
            return
        for step, take in steps.items():
            began = time.monotonic()
            try:
                text = await take()
            except NotSeen as error:
                self._tell(step, "failed", f"{error} within {self._seen_s:g} s", _ADVICE[step])
                return
            except AttachError as error:
                if isinstance(error, RemoteError) and error.code == "unknown_verb":
                    omit(self._tell, "the node's version of observe has no canary")
                else:
                    self._tell(step, "failed", str(error), error.hint or _ADVICE[step])
                return
            self._tell(step, "ok", f"{text}, after {time.monotonic() - began:.2f} s", "")

    async def clean_up(self) -> None:
        """Leave nothing."""
        try:
            if self._events is not None:
                await self._events.close()
            if self._pid:
                await self._client.kill(self._pid, REASON)
        except AttachError:
            pass  # it is gone already, or ends by itself

    async def _spawned(self) -> str:
        made = await self._client.canary(REASON)
        self._pid = made.pid
        await self._row(lambda row: row["class"] == "Canary", "its row did not come into the table")
        await self._event("spawn")
        return f"agent {made.pid} was made up; its row and its event were seen"

    async def _messaged(self) -> str:
        await self._client.send(self._pid, "count", reason=REASON)
        row = await self._row(lambda row: row["handled"] >= 1, "its message was not counted")
        return f"{row['handled']} message was counted as handled"

    async def _traced(self) -> str:
        await self._client.send(self._pid, SING, reason=REASON)
        row = await self._row(lambda row: row["activity"] == ACTIVITY, "its activity was not shown")
        stack = await self._client.stack(self._pid)
        where = stack.frames[-1].function if stack.frames else "no frame"
        return f"its activity {row['activity']} and its stack (in {where}) were seen"

    async def _killed(self) -> str:
        pid = self._pid
        await self._client.kill(pid, REASON)
        await self._event("exit")
        await self._poll(self._is_gone, "its row is still in the table")
        self._pid = 0
        return "its exit was told and its row is gone"

    async def _row(self, good: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            page = await self._client.agents(filter=f"pid={self._pid}", limit=1)
            rows = page.as_dicts()
            return rows[0] if rows and good(rows[0]) else None

        found: dict[str, Any] = await self._poll(look, what)
        return found

    async def _is_gone(self) -> bool:
        return (await self._client.agents(filter=f"pid={self._pid}", limit=1)).matched == 0

    async def _poll(self, look: Callable[[], Awaitable[Any]], what: str) -> Any:
        until = time.monotonic() + self._seen_s
        while not (found := await look()):
            if time.monotonic() > until:
                raise NotSeen(what)
            await asyncio.sleep(LOOK_S)
        return found

    async def _event(self, kind: str) -> None:
        """Wait for the event of this kind that is about the canary."""
        assert self._events is not None
        try:
            async with asyncio.timeout(self._seen_s):
                async for push in self._events:
                    if any(event.kind == kind and event.pid == self._pid for event in push.data.events):
                        return
        except TimeoutError:
            pass
        raise NotSeen(f"the event of its {kind} did not come")


_ADVICE: Final[dict[CanaryStep, str]] = {
    "spawned": "the runtime made it and nobody saw it: what telemetry lost is in `Probe.statistics()` of the service",
    "messaged": "messages are handled and not counted, or not handled: look at the vitals and at the service's log",
    "traced": "agents are seen and what they do is not: look at the service's log",
    "killed": "it was killed and is shown as alive: do not trust what the console shows of this node; restart it",
}
