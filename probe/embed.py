"""Makes a node observable: two lines in a service.

    async with Node("shop") as node, Probe(node):
        ...

The probe is a process beside the service (or a thread of it, where no child is allowed). It cannot hurt the service: it
is fed without waiting, its death goes unnoticed, and when the service ends it ends too.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from observe.probe.addresses import parse_listen
from observe.probe.errors import NameTaken, ProbeError
from observe.probe.escalation import Anchor, Escalation
from observe.probe.finding_names import check_entries
from observe.probe.metrics import Metrics
from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.probe.service import Service

logger = logging.getLogger("observe.probe")

START_TIMEOUT_S: Final = 15.0
"""How long a probe may take to be ready. It takes half a second; a machine that is swapping takes longer."""

Placement = Literal["process", "thread"]

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class ProbeNotStarted(ProbeError):
    """The probe could not be started, so nobody can attach. The service itself is unharmed."""


class NodeNameTaken(ProbeNotStarted, NameTaken):
    """Another live node has this name on this machine. Give one of them another name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a probe is run. `Probe` says what each means."""

    listen: str
    placement: Placement
    linger_s: float
    budget: float
    tick_s: float
    record: str = ""
    keep_bytes: int = 200_000_000
    keys: str = ""
    audit: str = ""
    findings_allow: tuple[str, ...] = ()
    metrics: Metrics | None = None
    escalations: tuple[Escalation, ...] = ()
    anchor: Anchor | None = None
    reason_for: tuple[str, ...] = ()
    log_keep: int = 2000
    log_level: str = "debug"
    audit_keeps_personal: bool = False
    audit_keep_days: float = 400.0

    def check(self) -> None:
        """Raise ValueError for what makes no sense."""
        parse_listen(self.listen)
        if self.placement not in ("process", "thread"):
            raise ValueError(f'placement must be "process" or "thread", not {self.placement!r}')
        if not 0 < self.budget <= 1:
            raise ValueError(f"budget is a share of one core, above 0 and at most 1, not {self.budget!r}")
        if not 0.01 <= self.tick_s <= 10:
            raise ValueError(f"tick_s must be between 0.01 and 10 seconds, not {self.tick_s!r}")
        check_entries(self.findings_allow)
        if not all(isinstance(one, Escalation) for one in self.escalations):
            raise ValueError(f"escalation is an Escalation, or several, not {self.escalations!r}")
        if type(self.log_keep) is not int or not 0 <= self.log_keep <= 100_000:
            raise ValueError(f"log_keep is a number of records, at most 100,000, not {self.log_keep!r}")
        if self.log_level not in LOG_LEVELS:
            raise ValueError(f"log_level must be one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}")
        if not 1 <= self.audit_keep_days <= 36_525:
            raise ValueError(
                f"audit_keep_days must be between 1 and 36,525 days, not {self.audit_keep_days!r}"
            )
        if not 0 <= self.linger_s <= 86_400:
            raise ValueError(f"linger_s must be between 0 and 86,400 seconds, not {self.linger_s!r}")


def read_size(size: str | int) -> int:
    """Bytes from `200MB`, `2 GB`, `500kB` or a number. Raises ValueError."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B)?", str(size).strip().upper())
    if parts is None or float(parts[1]) * units[parts[2] or ""] < 1_000_000:
        raise ValueError(f'keep must be a size of at least 1 MB, such as "200MB", not {size!r}')
    return int(float(parts[1]) * units[parts[2] or ""])


class Probe:
    """Makes one node observable. A context manager; or call `start` and `stop`.

    Args:
        node: a started node, or a name: then the probe makes, starts and stops a node of that name (`probe.node`).
        listen: where consoles connect; loopback and any free port unless told otherwise. `tcp://0.0.0.0:4370` serves
            other machines, to those whose keys are authorised. Always encrypted.
        placement: `process`, or `thread` where no child process is allowed. A thread cannot be reached while C code
            holds the interpreter lock, and is gone when the service is.
        linger_s: for how long the last picture is shown after the service died without a word.
        record: a directory for the flight recorder (`docs/recording.md`); nothing is recorded without.
        keep: how much of the recording is kept, such as `"200MB"`; the oldest goes first.
        budget: share of one core that telemetry may take from the scheduler.
        tick_s: seconds between two ticks of telemetry, when their cost allows it.
        audit: the directory of the audit log, which must outlive restarts; `docs/audit.md` says where it is otherwise.
        keys: the directory with the node's key and the authorised keys, when it listens to more than this machine;
            that of `observe keys` unless told otherwise.
        findings_allow: what findings are not to be made of: `"stuck"` for one check, `"stuck:Importer*"` for one class,
            name or activity of it. docs/findings.md lists the checks.
        metrics: where the node's figures go, such as `Metrics(otlp="http://127.0.0.1:4318")`; nowhere unless told. docs/metrics.md
            lists them.
        escalation: who is told of findings, limits, approvals and the node's end, such as `Escalation(webhook="https://…")`,
            or several; nobody unless told. docs/escalation.md.
        reason_for: commands that are refused without a reason, such as `("kill", "edit", "reload")`; `("*",)` for all.
        anchor: where the audit log's checkpoints go by themselves, such as `Anchor(file="/mnt/other/shop.notes")`.
        log_keep: how many of the newest log records of the service's process are kept for `observe log`; 0 for none.
        log_level: the least serious that are kept. What the loggers' own levels hold back is never seen: `observe log-level`.
        audit_keeps_personal: whether e-mail addresses, telephone and card numbers and the like stand in the audit log as they are; they
            are masked unless you say so.
        audit_keep_days: for how many days the audit log keeps its records, at least one; whole segments go when their newest record is
            older, and the proof stays.
        required: False lets the service go on without a probe when it cannot start; the reason is logged.

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    def __init__(
        self,
        node: Node | str,
        *,
        listen: str = "tcp://127.0.0.1:*",
        placement: Placement = "process",
        linger_s: float = 60.0,
        record: str | os.PathLike[str] | None = None,
        keep: str | int = "200MB",
        budget: float = 0.02,
        tick_s: float = 0.25,
        keys: str | os.PathLike[str] | None = None,
        audit: str | os.PathLike[str] | None = None,
        findings_allow: Sequence[str] = (),
        metrics: Metrics | None = None,
        escalation: Escalation | Sequence[Escalation] = (),
        anchor: Anchor | None = None,
        reason_for: Sequence[str] = (),
        log_keep: int = 2000,
        log_level: str = "debug",
        audit_keeps_personal: bool = False,
        audit_keep_days: float = 400.0,
        required: bool = True,
    ) -> None:
        self.settings = Settings(
            listen,
            placement,
            linger_s,
            budget,
            tick_s,
            os.fspath(record) if record else "",
            read_size(keep),
            os.fspath(keys or ""),
            os.fspath(audit or ""),
            tuple(findings_allow),
            metrics,
            (escalation,) if isinstance(escalation, Escalation) else tuple(escalation),
            anchor,
            tuple(reason_for),
            log_keep,
            log_level,
            audit_keeps_personal,
            audit_keep_days,
        )
        self.settings.check()
        self._owns_node = isinstance(node, str)
        self.node = Node(node) if isinstance(node, str) else node
        """The node that is observed."""
        self.required = required
        self._service: Service | None = None

    async def start(self) -> Self:
        """Start the probe and wait until consoles can attach.

        Raises:
            NodeNameTaken: a live node on this machine has the name.
            ProbeNotStarted: anything else; the text has the reason and the end of the probe's log.
        """
        if self._service is not None:
            raise ProbeNotStarted("this probe is started already")
        if self._owns_node:
            await self.node.start()
        try:
            await self._start()
        except ProbeNotStarted as error:
            if self.required:
                await self.stop("the probe could not be started")
                raise
            logger.warning("%s; the service goes on unobserved", error)
        except BaseException:
            await self.stop("the probe could not be started")
            raise
        return self

    async def _start(self) -> None:
        if sys.platform == "win32":
            raise ProbeNotStarted("the probe needs Unix sockets and file locks, which Windows does not have")
        # Sockets and codecs: not for a service without a probe. Loading them takes some tenths of a second, in which the
        # event loop would be held, and the node would say so of its own observer.
        await asyncio.to_thread(importlib.import_module, "observe.probe.service")
        from observe.probe.service import Service

        self._service = Service(self.node, self.settings)
        await self._service.start(START_TIMEOUT_S)

    async def stop(self, reason: str = "") -> None:
        """Say good-bye to consoles and end the probe. Stopping twice has no effect."""
        service, self._service = self._service, None
        try:
            if service is not None:
                await service.stop(reason)
        finally:
            if self._owns_node:
                await self.node.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop("" if error is None else f"ended by {type(error).__name__}")

    def statistics(self) -> dict[str, Any]:
        """Where it listens, what was sent, dropped and spent, and how often the probe had to be started again."""
        return {} if self._service is None else self._service.statistics()
