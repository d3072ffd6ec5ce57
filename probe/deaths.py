"""Death reports: what is known of a node's end, written to a file at that moment and served to consoles.

```
<node's directory>/deaths/1764086400.123-3f2a….json    0600, the newest `KEPT_REPORTS`
```

The next probe of the same name finds the files of those before it: why a node restarted can be asked after it has.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from observe.probe.cards import NODE_NAME, nodes_directory
from observe.probe.wire import Held, Vitals
from observe.probe.wire_base import Frame, Told
from observe.probe.wire_watches import Event

KEPT_REPORTS: Final = 20
"""Reports in a node's directory, at some 30 kB each. The oldest go first."""

REPORT_LIMIT_BYTES: Final = 4 << 20
"""What is larger is no report of ours."""

READ_BYTES: Final = 4 << 20
"""Reports that are read for one answer, together."""

DEATHS: Final = "deaths"
"""The directory beside the card's other files."""


class BusyAgent(Told):
    """An agent that was in the middle of something."""

    pid: int
    name: str | None = None
    class_name: str = Field(validation_alias="class", serialization_alias="class")
    status: str
    activity: str | None = None
    """The slow thing that was open."""
    for_s: float
    """For how long it had been so."""
    mailbox: int


class OpenSpanTold(Told):
    """A span that was open, by which a backend has the rest of its trace."""

    trace_id: str
    span_id: str
    name: str
    agent: str = ""
    """Its name or pid."""
    pid: int = 0
    worker: int = 0
    """The serial of the worker process in which it was; 0 for the node's own."""
    for_s: float
    """For how long it had been open."""


class ThreadStack(Told):
    """The last stack of one thread of the service."""

    thread: str
    frames: list[Frame]
    """Outermost first."""


class Death(Told):
    """All that is known of a node's end."""

    node: str
    incarnation: str
    pid: int
    """Of the service's process."""
    at: float
    started_at: float
    cause: str
    """One line for people."""
    exit_code: int | None = None
    """When it ended by itself and the status could be known."""
    signal: int | None = None
    signal_name: str | None = None
    out_of_memory: bool = False
    """The kernel has killed for want of memory in the service's group of processes."""
    fatal: str | None = None
    """What `faulthandler` said first, such as `Fatal Python error: Segmentation fault`."""
    stacks: list[ThreadStack] = Field(default_factory=list)
    """The last that `faulthandler` wrote; a SIGKILL leaves no time for it."""
    memory_max: int = 0
    """The most resident bytes that the process has had."""
    running: BusyAgent | None = None
    """The agent whose slice ran at the end."""
    held: Held | None = None
    """Who held the scheduler, if somebody did."""
    open_activities: list[BusyAgent] = Field(default_factory=list)
    """Activities that were under way, the longest first."""
    open_activities_total: int = 0
    open_spans: list[OpenSpanTold] = Field(default_factory=list)
    """Spans that had been open for half a second or longer, the longest first; a node without tracing has none."""
    open_spans_total: int = 0
    agents: int = 0
    by_status: dict[str, int] = Field(default_factory=dict)
    vitals: Vitals | None = None
    """The last, with a minute of history."""
    events: list[Event] = Field(default_factory=list)
    """What happened last, oldest first; spawns and exits left out."""
    crashes_total: int = 0


class Deaths(Told):
    """The result of `deaths`."""

    deaths: list[Death]
    """Newest first: of this node's name, also of incarnations before this one."""
    total: int
    """How many reports are kept."""


class DeathFiles:
    """The reports of one node, in its directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / DEATHS

    def write(self, death: Death) -> Path:
        """Keep a report, and no more than `KEPT_REPORTS`.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{death.at:017.3f}-{_safe(death.incarnation)}.json"
        descriptor, temporary = tempfile.mkstemp(prefix=".death-", dir=self._directory)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(death.model_dump_json(by_alias=True))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for old in self._paths()[KEPT_REPORTS:]:
            with contextlib.suppress(OSError):
                old.unlink()
        return path

    def read(self, limit: int) -> Deaths:
        """The newest reports, no more than fit into a reply. A file that cannot be read is passed over."""
        paths = self._paths()
        found: list[Death] = []
        room = READ_BYTES
        for path in paths:
            with contextlib.suppress(OSError):
                room -= path.stat().st_size
            if len(found) >= limit or (found and room < 0):
                break
            death = read_report(path)
            if death is not None:
                found.append(death)
        return Deaths(deaths=found, total=len(paths))

    def _paths(self) -> list[Path]:
        try:
            return sorted(self._directory.glob("[0-9]*.json"), reverse=True)
        except OSError:
            return []


def read_report(path: Path) -> Death | None:
    """The report in a file; None when it cannot be read or is none."""
    try:
        if path.stat().st_size > REPORT_LIMIT_BYTES:
            return None
        return Death.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _safe(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)[:64]


def reports_of(name: str, limit: int) -> Deaths:
    """The reports that probes of the node `name` have left on this machine.

    Raises:
        UnsafeDirectory: the directory of nodes is not ours alone.
    """
    if not NODE_NAME.fullmatch(name):
        return Deaths(deaths=[], total=0)
    return DeathFiles(nodes_directory() / name).read(limit)
