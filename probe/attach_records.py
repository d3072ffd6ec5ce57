"""Attaches, in the audit log: each is on record, and what attaches over and over is counted.

    hello --> few of this source lately?  --yes--> a record of its own
                      |no
                      +--> counted --> one record for all of them, ten minutes after the first, or when the probe ends

A source is a key, an address, and what the client says of itself (user, program). What it says decides only which attaches are
counted together: whoever makes up names shares one source with all others that do, after some. So a console that reconnects
every second, or a script that calls `observe ps` as often, writes a record in ten minutes; and whoever uses the same key as that
script under the same name is counted with it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from observe.audit.errors import AuditDelayed, AuditUnavailable
from observe.audit.record import Who
from observe.probe.keys import KeyHolder
from observe.probe.scribe import Scribe
from observe.probe.wire import HelloArgs

logger = logging.getLogger("observe.probe")

PERIOD_S: Final = 600.0
"""A source's attaches are counted for so long, then it begins anew."""

EACH: Final = 10
"""Attaches of one source that have a record each, in one period. One after a period with more has none: that source is a script,
and its count says more than ten further lines."""

MOST_SOURCES: Final = 32
"""Of one key that are told apart. The others are one source."""

OTHERS: Final = ("", "", "")

LOOK_S: Final = 5.0
"""Between two looks for periods that are over."""


@dataclass(slots=True)
class Source:
    """Attaches that are counted together."""

    until: float
    """When its period is over."""
    each: int
    """How many more have a record of their own."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the newest that was counted."""
    counted: int = 0
    first: float = 0.0
    """Unix time of the first that was counted in this period, and of the last."""
    last: float = 0.0


class AttachRecords:
    """Writes them. Belongs to the probe's loop. Nobody waits for it, and nobody is kept out when it cannot write."""

    def __init__(self, scribe: Scribe, incarnation: str, wall: Callable[[], float] = time.time) -> None:
        self._scribe = scribe
        self._incarnation = incarnation
        self._wall = wall
        self._sources: dict[str, dict[tuple[str, str, str], Source]] = {}
        """By key: there are as many as the node accepts."""
        self._look_at = 0.0
        self._is_failing = False
        self.unrecorded = 0
        """Records that could not be written, since the probe began."""

    def statistics(self) -> dict[str, int]:
        """How many are counted that no record tells of yet, and how many records could not be written."""
        counted = sum(one.counted for sources in self._sources.values() for one in sources.values())
        return {"attaches_counted": counted, "attaches_unrecorded": self.unrecorded}

    def take(self, holder: KeyHolder, who: Who, args: HelloArgs, by_card: bool, now: float) -> None:
        """Somebody has attached. `by_card`: with the key on the node's card, so from this machine and this user's account."""
        source = self._source(holder.key, (who.address, args.user, _program(args.client)), now)
        said = {"client": args.client, "version": args.version, "user": args.user}
        target = {name: part for name, part in said.items() if part} | {"card": by_card}
        fields = {"who": who, "target": target}
        if source.each > 0:
            source.each -= 1
            self._write(fields, None)
            return
        wall = self._wall()
        source.fields, source.last = fields, wall
        source.first = source.first if source.counted else wall
        source.counted += 1

    def tick(self, now: float) -> None:
        """Tell the counts of periods that are over. Call it often."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for key, sources in list(self._sources.items()):
            for name, source in list(sources.items()):
                if now >= source.until:
                    self._end_period(sources, name, source, now)
            if not sources:
                del self._sources[key]

    def close(self) -> None:
        """The probe ends: tell all counts."""
        for sources in self._sources.values():
            for source in sources.values():
                self._tell(source)
        self._sources.clear()

    def _source(self, key: str, name: tuple[str, str, str], now: float) -> Source:
        sources = self._sources.setdefault(key, {})
        if name not in sources and len(sources) >= MOST_SOURCES:
            name = OTHERS
        source = sources.get(name)
        if source is not None and now >= source.until:
            self._end_period(sources, name, source, now)
            source = sources.get(name)
        if source is None:
            source = sources[name] = Source(now + PERIOD_S, EACH)
        return source

    def _end_period(
        self,
        sources: dict[tuple[str, str, str], Source],
        name: tuple[str, str, str],
        source: Source,
        now: float,
    ) -> None:
        """What was attached as often as that goes on being counted; others are forgotten."""
        is_script = source.counted > 0
        self._tell(source)
        if is_script:
            sources[name] = Source(now + PERIOD_S, 0)
        else:
            del sources[name]

    def _tell(self, source: Source) -> None:
        if source.counted:
            outcome = {"counted": source.counted, "first": source.first, "last": source.last}
            self._write(source.fields, outcome)
            source.counted = 0

    def _write(self, fields: dict[str, Any], outcome: dict[str, Any] | None) -> None:
        self._scribe.write(
            "completed",
            self._written,
            owed=True,
            command_id="",
            what="attach",
            reason="",
            incarnation=self._incarnation,
            outcome=outcome,
            **fields,
        )

    def _written(self, written: object) -> None:
        if isinstance(written, AuditUnavailable) and not isinstance(written, AuditDelayed):
            self.unrecorded += 1
            if not self._is_failing:  # once, and not with every attach to a node whose disk is full
                logger.error("an attach could not be recorded: %s", written)
        self._is_failing = isinstance(written, AuditUnavailable)


def _program(client: str) -> str:
    """What calls itself so, without its process id: a script that is started anew each second is one source."""
    return re.sub(r"[\s\d]+$", "", client)
