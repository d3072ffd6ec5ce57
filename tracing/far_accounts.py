"""Where the spans and log records of worker processes are, so that the node's account has all of them.

    worker: Tracing --every beat, over its link--> node: FarAccounts: the newest of each that lives, and one sum of those that have ended
                    --at its end, when there is no link any more: in memory that outlives it--^

What a worker that was killed had not sent, and nobody has sent in its place, is dropped by `worker_death`. Loads no OpenTelemetry.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

Account = dict[str, Any]
"""Of spans or log records: `started`, `open`, `waiting`, `exported`, and `dropped` by reason. The first is the sum of the others."""

SIGNALS: Final = ("spans", "logs")

BYTES: Final = 4096
"""Of an account that is left behind."""


class Places(Protocol):
    """An account of `observe.tracing.outbox`."""

    @property
    def put(self) -> int: ...
    @property
    def exported(self) -> int: ...
    @property
    def dropped(self) -> dict[str, int]: ...
    @property
    def queued(self) -> int: ...
    @property
    def in_flight(self) -> int: ...


def account(started: int, places: Places) -> Account:
    """In the words of this module."""
    return {
        "started": started,
        "open": started - places.put,
        "waiting": places.queued + places.in_flight,
        "exported": places.exported,
        "dropped": {why: count for why, count in places.dropped.items() if count},
    }


def summed(*accounts: Account) -> Account:
    """All of them as one."""
    names = ("started", "open", "waiting", "exported")
    dropped: Counter[str] = Counter()
    for one in accounts:
        dropped.update(one["dropped"])
    return {name: sum(one[name] for one in accounts) for name in names} | {"dropped": dict(dropped)}


def nothing() -> Account:
    """The account of one who has done nothing."""
    return summed()


class LastWord:
    """What a worker leaves behind, in memory that its node has open. Where there is no `/proc` nothing is left: what was told last
    counts then."""

    def __init__(self) -> None:
        self.path = ""
        """Where the worker finds it, empty for nowhere."""
        self._descriptor = -1
        try:
            self._descriptor = os.memfd_create("observe-account")
        except (AttributeError, OSError):
            return
        path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        self.path = path if os.path.exists(path) else ""

    def read(self) -> dict[str, Account] | None:
        """What it says, once; None when nothing was written."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return None
        try:
            found = json.loads(os.pread(descriptor, BYTES, 0) or b"null")
        except (OSError, ValueError):
            found = None
        finally:
            os.close(descriptor)
        return found if isinstance(found, dict) else None

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def leave(descriptor: int, accounts: Mapping[str, Account]) -> None:
    """In a worker: its last word."""
    if descriptor >= 0:
        os.pwrite(descriptor, json.dumps(accounts).encode()[:BYTES], 0)


class FarAccounts:
    """In the node's process: those of all its workers, by their serial. On the scheduler's thread, but for `sums`."""

    def __init__(self) -> None:
        self._last_words: dict[int, LastWord] = {}
        self._newest: dict[int, dict[str, Account]] = {}
        self._past = {signal: nothing() for signal in SIGNALS}

    def begin(self, serial: int) -> str:
        """A worker begins; returns where it may leave its last word."""
        made = self._last_words[serial] = LastWord()
        return made.path

    def told(self, serial: int, accounts: dict[str, Account]) -> None:
        """What a worker tells while it lives."""
        if serial in self._last_words:
            self._newest[serial] = accounts

    def over(self, serial: int, adopted: int) -> None:
        """It has ended; so many of its spans were taken into the node's own account."""
        last_word = self._last_words.pop(serial, None)
        newest = self._newest.pop(serial, None)
        accounts = (last_word.read() if last_word is not None else None) or newest
        if accounts is None:
            return
        for signal in SIGNALS:
            one = accounts[signal]
            left = one["open"] + one["waiting"]
            elsewhere = min(left, adopted) if signal == "spans" else 0
            lost = {"worker_death": left - elsewhere} if left > elsewhere else {}
            closed = one | {"started": one["started"] - elsewhere, "open": 0, "waiting": 0}
            self._past[signal] = summed(self._past[signal], closed, nothing() | {"dropped": lost})

    def sums(self) -> dict[str, Account]:
        """Of all, those that have ended included."""
        newest = list(self._newest.values())
        return {signal: summed(self._past[signal], *(one[signal] for one in newest)) for signal in SIGNALS}


def together(all_: Iterable[FarAccounts]) -> dict[str, Account]:
    """Those of several nodes."""
    sums = [one.sums() for one in all_]
    return {signal: summed(*(one[signal] for one in sums)) for signal in SIGNALS}
