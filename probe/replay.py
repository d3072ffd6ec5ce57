"""A recording as a node: the same desk answers the same requests, over the picture of another time.

```
NodeClient --> ReplayExchange --> Desk --> Picture <-- Past <-- segment files
                                                        ^
                                                        Replay: play, pause, seek
```

So every screen and every verb that reads works on the past; what acts is refused. Nothing here opens a socket.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from observe.probe import wire, wire_base, wire_watches
from observe.probe.asks import Asks
from observe.probe.client import NodeClient
from observe.probe.codec import encode
from observe.probe.commands import CommandGate
from observe.probe.deaths import Death, Deaths
from observe.probe.desk import Desk
from observe.probe.errors import AttachError, NodeUnreachable, Refusal, TooLarge
from observe.probe.exchange import Carries, Exchange
from observe.probe.keys import KeyHolder, KeyRing
from observe.probe.past import Mark, Past
from observe.probe.recording import SUFFIX, NotARecording
from observe.probe.remote import RemoteNode
from observe.probe.scribe import Scribe
from observe.probe.streams import EventItem, Streams

TICK_S: Final = 0.1
"""How often time goes on while it plays."""

TURN_S: Final = 0.02
"""For so long records are applied before others have their turn."""

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
NOTHING_IS_DONE: Final = "this is a recording: nothing can be done to the past"
_KEY: Final = "0" * 40
_ASKER: Final = KeyHolder("replay", _KEY, "viewer")


class PastGate(CommandGate):
    """Lets no command through."""

    def __init__(self) -> None:
        super().__init__(Scribe(None), "")

    def attached(self, holder: KeyHolder, args: wire.HelloArgs, by_card: bool, now: float) -> None:
        """Nobody keeps a record of who looks at a recording."""

    def viewed(self, verb: str, holder: KeyHolder, target: dict[str, Any], now: float) -> None:
        """Nor of what they look at."""

    def submit(self, verb: str, command: wire_base.Command, holder: KeyHolder, target: dict[str, Any], now: float,
               carry_out: object, done: Callable[[Any], None]) -> None:  # fmt: skip
        """Refuse it."""
        done(Refusal("refused", NOTHING_IS_DONE, "attach to the node itself"))


class Replay:
    """A recording that plays. A context manager; belongs to the loop on which it was entered."""

    def __init__(self, path: Path, *, at: str = "", speed: float = 1.0, paused: bool = False) -> None:
        """`at`: where to begin, as `moment` reads it; the beginning when it is empty.

        Raises:
            NotARecording: there is none there, or `at` is no time in it.
        """
        self.past = Past(path)
        self.speed = speed
        self.is_paused = paused
        self._streams = Streams()
        self._outlets: dict[bytes, Callable[[bytes], None]] = {}
        asks = Asks(lambda _: False)
        asks.end(Refusal("node_dead", "this is a recording: there is no service to ask"))
        self._gate = PastGate()
        self._desk = Desk(
            self.past.picture, KeyRing([_ASKER]), self._streams, self._gate, asks, self._send, self._deaths
        )
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._begin_at = moment(self.past, at)
        self._at = self._begin_at
        self._clients = 0
        self.past.on_sample = self._sampled
        self.past.wants_events = True
        for _ in self._sought(self._begin_at):
            pass

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._play())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._gate.scribe.close()

    # -- where it is ----------------------------------------------------------------------------------------------------

    @property
    def start(self) -> float:
        """Unix time of its first record."""
        return self.past.start_us / 1e6

    @property
    def end(self) -> float:
        """Unix time of its last record that can be read."""
        return self.past.end_us / 1e6

    @property
    def at(self) -> float:
        """The moment that is shown: Unix time."""
        return self._at

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self._at >= self.end

    # -- going somewhere ------------------------------------------------------------------------------------------------

    async def seek(self, at: float) -> None:
        """Go to a moment."""
        async with self._lock:
            await self._in_turns(self._sought(at))
        for subscription in self._streams:
            subscription.due_at = 0.0
        self._push()

    def _sought(self, at: float) -> Iterator[None]:
        self._at = min(max(at, self.start), self.end)
        self._desk.standing.begin_again()
        self.past.on_events = None  # what happened on the way there is no news
        try:
            yield from self.past.seeking(self._at)
        finally:
            self.past.on_events = self._happened

    def next_crash(self) -> Mark | None:
        """The first crash after this moment."""
        crashes = self.past.crashes
        place = bisect_right(crashes, self._at * 1e6 + 1, key=lambda mark: mark.wall_us)
        return crashes[place] if place < len(crashes) else None

    def crash_before(self) -> Mark | None:
        """The last crash before this moment."""
        crashes = self.past.crashes
        place = bisect_left(crashes, self._at * 1e6 - 1, key=lambda mark: mark.wall_us) - 1
        return crashes[place] if place >= 0 else None

    async def _in_turns(self, steps: Iterator[None]) -> None:
        until = time.monotonic() + TURN_S
        for _ in steps:
            if time.monotonic() > until:
                await asyncio.sleep(0)
                until = time.monotonic() + TURN_S

    async def _play(self) -> None:
        then = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            passed, then = now - then, now
            if not self.is_paused and not self.is_over:
                async with self._lock:
                    self._at = min(self._at + passed * self.speed, self.end)
                    await self._in_turns(self.past.advancing(self._at))
                then = max(then, time.monotonic() - TICK_S)  # a machine that cannot keep up plays slower
            self._push()

    def _push(self) -> None:
        now = time.monotonic()
        for subscription in self._streams.due(now):
            self._desk.push(subscription, now)

    def _sampled(self, mono: float, wall: float) -> None:
        listener, self.past.on_events = (
            self.past.on_events,
            None,
        )  # the node's own findings are in the recording
        try:
            self._desk.standing.look(self.past.picture, mono, wall)
        finally:
            self.past.on_events = listener

    def _happened(self, items: list[EventItem]) -> None:
        self._streams.publish(items)

    def _deaths(self, limit: int) -> Deaths:
        found: list[Death] = [self.past.death] if self.past.death is not None else []
        return Deaths(deaths=found[:limit], total=len(found))

    # -- clients --------------------------------------------------------------------------------------------------------

    def client(self) -> NodeClient:
        """A client for the node as it was. Enter it with `async with`, within that of the replay."""
        return ReplayClient(self)

    def admit(self, on_frame: Callable[[bytes], None]) -> bytes:
        """Let a client in; its frames go to `on_frame`. Returns what it is called."""
        self._clients += 1
        client = str(self._clients).encode()
        self._outlets[client] = on_frame
        return client

    def receive(self, client: bytes, frame: bytes) -> None:
        """A frame of a client."""
        if client in self._outlets:
            self._desk.receive(client, _KEY, frame, time.monotonic())

    def forget(self, client: bytes) -> None:
        """A client is gone."""
        self._outlets.pop(client, None)
        self._desk.forget(client)

    def _send(self, client: bytes, message: dict[str, Any]) -> bool:
        outlet = self._outlets.get(client)
        if outlet is None:
            return False
        try:
            frame = encode(message)
        except (TooLarge, ValueError) as error:
            body = {"code": "refused", "message": str(error), "hint": "ask for less"}
            frame = encode({"id": message.get("id", 0), "ok": False, "error": body})
        asyncio.get_running_loop().call_soon(outlet, frame)
        return True


class _Hand:
    """Brings frames to the desk and back, on one loop."""

    def __init__(self, replay: Replay, on_frame: Callable[[bytes], None]) -> None:
        self._replay = replay
        self._on_frame = on_frame
        self._client = b""

    def open(self) -> None:
        """Be let in."""
        self._client = self._replay.admit(self._on_frame)

    def send(self, frame: bytes) -> None:
        """Hand a frame over, soon."""
        asyncio.get_running_loop().call_soon(self._replay.receive, self._client, frame)

    def close(self) -> None:
        """Be forgotten."""
        self._replay.forget(self._client)


class ReplayExchange(Exchange):
    """Requests and replies without a connection."""

    def __init__(
        self,
        replay: Replay,
        *,
        on_push: Callable[[wire_watches.Push], None],
        on_lost: Callable[[AttachError], None],
    ) -> None:
        self._replay = replay
        card = RemoteNode(replay.past.path.name, "", 0, True, "", "", "")
        super().__init__(card, on_push=on_push, on_lost=on_lost)

    def _connect_to(self, _card: object) -> Carries:
        return _Hand(self._replay, self._on_frame)


class ReplayClient(NodeClient):
    """A client of the past."""

    is_past = True

    def __init__(self, replay: Replay) -> None:
        super().__init__(str(replay.past.path))
        self._replay = replay

    async def _attach(self) -> None:
        exchange = ReplayExchange(self._replay, on_push=self._on_push, on_lost=self._on_lost)
        args = wire.HelloArgs(versions=list(wire.PROTOCOL_VERSIONS), client="replay")
        welcome = wire.Welcome.from_wire(await exchange.send("hello", args))
        self._exchange = exchange
        self.info, self.role, self.endpoint = welcome.node, welcome.role, str(self._replay.past.path)
        self.state = "up"


class PathClient(ReplayClient):
    """A client of a recording that is opened with it, and stands still."""

    def __init__(self, path: Path, at: str) -> None:
        """
        Raises:
            NodeUnreachable: there is no recording, or no such time in it.
        """
        try:
            replay = Replay(path, at=at or "end", paused=True)
        except (NotARecording, OSError) as error:
            raise NodeUnreachable(
                str(error), hint="`observe replay FILE --json` says what is in a recording"
            ) from None
        super().__init__(replay)

    async def open(self) -> Self:
        """Open it."""
        await self._replay.__aenter__()
        return await super().open()

    async def close(self) -> None:
        """Close it."""
        await super().close()
        await self._replay.__aexit__(None, None, None)


def recording_named(text: str) -> tuple[Path, str] | None:
    """Path and moment of `./recordings/` and `shop~….obsrec@14:03:07`; None for what is the name of a node."""
    whole = Path(text)
    if ("/" in text or text.endswith(SUFFIX)) and whole.exists():
        return whole, ""
    left, at, moment_text = text.rpartition("@")
    if at and ("/" in left or left.endswith(SUFFIX)):
        return Path(left), moment_text
    return (whole, "") if "/" in text or text.endswith(SUFFIX) else None


_SPAN: Final = re.compile(r"([+-])(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def moment(past: Past, text: str) -> float:
    """The Unix time that a person means: `start`, `end`, `crash` (the last), `-90s` from the end, `+5m` from the start,
    `14:03:07` or `2026-11-25 14:03:07` in this machine's time zone, or Unix seconds.

    Raises:
        NotARecording: it is none of these, or there is no crash in the recording.
    """
    text = text.strip()
    start, end = past.start_us / 1e6, past.end_us / 1e6
    span = _SPAN.fullmatch(text)
    if text in ("", "start"):
        return start
    if text == "end":
        return end
    if text == "crash":
        if not past.crashes:
            raise NotARecording(f"there is no crash in {past.path}")
        return past.crashes[-1].wall_us / 1e6
    if span is not None:
        length = float(span[2]) * _UNITS[span[3] or "s"]
        return end - length if span[1] == "-" else start + length
    try:
        return float(text)
    except ValueError:
        pass
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", text):
            day = datetime.fromtimestamp(start)
            found = datetime.fromisoformat(f"{day:%Y-%m-%d} {text.zfill(5)}")
            if found.timestamp() < start - 1:  # of a recording over midnight, or a time before it
                later = found + timedelta(days=1)
                found = later if later.timestamp() <= end + 1 else found
            return found.timestamp()
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise NotARecording(
            f"{text!r} is no time: write 14:03:07, 2026-11-25 14:03:07, -90s (from the end), +5m, crash, start or end"
        ) from None
