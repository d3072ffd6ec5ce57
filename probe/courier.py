"""Couriers: take short texts out of the probe, each on a thread of its own, so that nobody waits for them.

```
probe's loop --> [ at most MOST_WAITING ] --> thread: deliver; again after 1, 2, 4, 8 s --> given up: counted, and told
```

What goes out are alarms and checkpoints, to a webhook, a command, a file or a collector. The newest are the ones that matter: when
too many wait, the oldest is dropped.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from observe.audit.export import logs_url
from observe.probe.anchoring import NotAnchored, WitnessOfLog, otlp_of, to_command, to_file
from observe.probe.escalation import Anchor, Escalation

logger = logging.getLogger("observe.probe")

MOST_WAITING: Final = 200
"""Texts that wait for one courier."""

TRIES: Final = 5
FIRST_S: Final = 1.0
"""Before the second try; twice as long before each further one. Who does not answer for a quarter of a minute gets the next."""

TIMEOUT_S: Final = 10.0
"""How long a webhook may take."""

Deliver = Callable[[str], None]
"""Takes one text where it belongs, or raises NotAnchored."""


class Courier:
    """Delivers texts to one place, in their order. `send` and `troubles` may be used from any thread."""

    def __init__(self, where: str, deliver: Deliver, *, first_s: float = FIRST_S) -> None:
        """`where`: for people."""
        self._where = where
        self._deliver = deliver
        self._first_s = first_s
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self.delivered = 0
        self.failed = 0
        """Given up after `TRIES`."""
        self.dropped = 0
        """Left out because too many waited."""
        self.troubles: deque[str] = deque(maxlen=10)
        """What went wrong and was not told yet, for people."""
        self._is_failing = False

    def statistics(self) -> dict[str, int]:
        """What was delivered, what was not, and what waits."""
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "dropped": self.dropped,
            "waiting": len(self._waiting),
        }

    def send(self, text: str) -> None:
        """Have it delivered, when its turn comes."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(text)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="observe:courier", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Deliver what waits, each once, for no longer than that."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                text = self._waiting.popleft()
            self._take(text)

    def _take(self, text: str) -> None:
        pause_s = self._first_s
        for number in range(TRIES):
            try:
                self._deliver(text)
            except NotAnchored as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001  # the edge of the thread: the next one has its chance
                why = f"{type(error).__name__}: {error}"
            else:
                self.delivered += 1
                self._is_failing = False
                return
            with self._changed:
                if number + 1 < TRIES and not self._is_closed:
                    self._changed.wait_for(lambda: self._is_closed, timeout=pause_s)
                elif self._is_closed:
                    break
            pause_s *= 2
        self.failed += 1
        if not self._is_failing:  # once, and not for each that follows
            self.troubles.append(f"what was to be told to {self._where} did not get there: {why}")
            logger.error("what was to be told to %s did not get there: %s", self._where, why)
        self._is_failing = True


class Alarms:
    """Tells one `Escalation` what it is about, and not too often. Belongs to the probe's loop."""

    def __init__(self, escalation: Escalation) -> None:
        self.escalation = escalation
        self.couriers = _places(escalation.webhook, escalation.command, "", _JSON)
        self._minute = 0
        self._count = 0
        self._left_out = 0

    def tell(self, document: dict[str, Any]) -> None:
        """Have it told, or counted where there was too much within this minute."""
        minute = int(time.monotonic() / 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count > self.escalation.a_minute:
            self._left_out += 1
            return
        if self._left_out:
            document = document | {"left_out": self._left_out}
            self._left_out = 0
        text = json.dumps(document, ensure_ascii=False)
        for courier in self.couriers:
            courier.send(text)


class Outward:
    """All that a probe takes out by itself: events to people, checkpoints to where nobody can change them. Belongs to its loop."""

    def __init__(
        self,
        node: str,
        incarnation: str,
        escalations: Sequence[Escalation],
        anchor: Anchor | None,
        tell: Callable[[str], None],
        log: Path | None = None,
    ) -> None:
        """`tell` takes a line about what went wrong, for people; `log` is the directory of the audit log."""
        self._about = {"node": node, "incarnation": incarnation}
        self._tell = tell
        self._anchor = anchor
        self._alarms = [Alarms(one) for one in escalations]
        self._anchors = [] if anchor is None else _places(anchor.webhook, anchor.command, anchor.file, _TEXT)
        if anchor is not None and anchor.otlp:
            where = logs_url(anchor.otlp)
            self._anchors.append(Courier(where, lambda note: post(where, otlp_of(note), _JSON)))
        if anchor is not None and anchor.witness and log is not None:
            self._anchors.append(Courier(anchor.witness, WitnessOfLog(anchor.witness, log).take))
        self._due = 0.0
        self._before = ""
        self._is_telling = False

    @property
    def _couriers(self) -> list[Courier]:
        return [courier for alarms in self._alarms for courier in alarms.couriers] + self._anchors

    def statistics(self) -> dict[str, int]:
        """What all couriers together have done."""
        found = [one.statistics() for one in self._couriers]
        return {f"outward_{name}": sum(one[name] for one in found) for name in (found[0] if found else ())}

    def take(self, items: Sequence[dict[str, Any]]) -> None:
        """Events of the node: tell those that are to be told."""
        if self._is_telling:
            return  # what went wrong with telling is not told in the same way
        for alarms in self._alarms:
            for item in items:
                if alarms.escalation.is_about(item):
                    alarms.tell(self._about | {name: part for name, part in item.items() if name != "seq"})

    def look(self, checkpoint: str, now: float) -> None:
        """Take the newest checkpoint away when it is time, and tell what went wrong. Call it often."""
        for courier in self._couriers:
            while courier.troubles:
                self._is_telling = True
                try:
                    self._tell(courier.troubles.popleft())
                finally:
                    self._is_telling = False
        if self._anchor is not None and now >= self._due and checkpoint and checkpoint != self._before:
            self._due = now + self._anchor.every_s
            self._take_away(checkpoint)

    def _take_away(self, checkpoint: str) -> None:
        self._before = checkpoint
        for courier in self._anchors:
            courier.send(checkpoint)

    def close(self, checkpoint: str = "") -> None:
        """The probe ends: the last checkpoint and what waits still go, for a second."""
        if self._anchor is not None and checkpoint and checkpoint != self._before:
            self._take_away(checkpoint)
        for courier in self._couriers:
            courier.close()


_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


def _places(webhook: str, command: str, file: str, kind: str) -> list[Courier]:
    """A courier for each place, so that one that hangs does not keep the others waiting."""
    made = []
    if webhook:
        made.append(Courier(webhook, lambda text: post(webhook, text, kind)))
    if command:
        made.append(Courier(f"`{command}`", lambda text: to_command(command, text)))
    if file:
        made.append(Courier(file, lambda text: to_file(Path(file), text)))
    return made


def post(url: str, text: str, kind: str) -> None:
    """POST a text.

    Raises:
        NotAnchored: nobody answers, or the answer is no success.
    """
    import httpx

    try:
        answer = httpx.post(url, content=text.encode(), headers={"content-type": kind}, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotAnchored(f"{url} cannot be reached: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise NotAnchored(f"{url} answered {answer.status_code}: {answer.text.strip()[:200]}")
