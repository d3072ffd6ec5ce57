"""The audit log: records a second without a sync for each, what a sync and a checkpoint add, how quickly a log is opened and
verified, and how large a record is. On the disk of the temporary directory, which `TMPDIR` chooses.

By processor time where nothing waits for the disk, by the clock where it does.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, at_least, median
from observe.audit.log import AuditLog
from observe.audit.open_segment import SYNC, no_sync
from observe.audit.record import Who
from observe.audit.verify import verify
from observe.probe.audit_rule import MaskingRule

RECORDS = 20_000
COMMANDS = 2_000
SYNCED = 200
ROUNDS = 5

WHO = Who(key="0123456789abcdef", name="ann", role="operator", user="ann")
TARGET = {"agent": "session-7", "pid": 7, "name": "session-7", "class": "Session", "child": "session-7"}


def append(log: AuditLog, **options: Any) -> None:
    log.append(
        "completed",
        command_id="720afaf534ce33b999dcd6770ad93054",
        who=WHO,
        what="kill",
        target=TARGET,
        reason="hangs in tool:search for ten minutes",
        incarnation="55ac863d019600ce",
        outcome={"done": True, "what": "Session 7 was killed", "pid": 7, "reason": "killed", "took_s": 0.002},
        **options,
    )


def rate(directory: Path, count: int, control: bool, **options: Any) -> float:
    """Records a second of processor time."""
    log = AuditLog(directory, node="shop@host", sync=no_sync, **options)
    append(log)
    began = time.process_time()
    for _ in range(count):
        append(log, control=control)
    took = time.process_time() - began
    log.close()
    return count / took


def synced(directory: Path) -> float:
    """Seconds that a command's record takes until it is on the disk and signed."""
    log = AuditLog(directory, node="shop@host", sync=SYNC)
    append(log)
    took = []
    for _ in range(SYNCED):
        began = time.perf_counter()
        append(log)
        took.append(time.perf_counter() - began)
    log.close()
    return median(took)


def run() -> list[Result]:
    """Entry point for `python -m benchmarks audit`."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        plain = max(rate(root / f"plain-{number}", RECORDS, False) for number in range(ROUNDS))
        masked = max(
            rate(root / f"masked-{number}", RECORDS // 4, False, rule=MaskingRule())
            for number in range(ROUNDS)
        )
        signed = max(rate(root / f"signed-{number}", COMMANDS, True) for number in range(ROUNDS))
        disk = synced(root / "synced")
        began = time.process_time()
        AuditLog(root / "plain-0", node="shop@host").close()
        opening = time.process_time() - began
        began = time.process_time()
        report = verify(root / "plain-0")
        verifying = time.process_time() - began
        size = sum(path.stat().st_size for path in (root / "plain-0").glob("*.jsonl")) / report.records
        assert report.exit_code == 0
    us = 1e6
    return [
        at_least("records without a sync for each", plain, "1/s", 20_000, note=f"{us / plain:.0f} us each"),
        Result("the same, masked by the probe's rule", masked, "1/s", note=f"{us / masked:.0f} us each"),
        Result("a checkpoint for each record", us / signed - us / plain, "us more"),
        Result("a record until it is on the disk and signed", us * disk, "us", note="median, by the clock"),
        Result("opening a log", us * opening / 1000, "ms", note=f"{RECORDS:,} records, one segment"),
        at_least("verifying", report.records / verifying, "records/s", 50_000),
        Result("a record", size, "bytes", note="and 32 for its hash"),
    ]
