"""Kills a writer again and again, and looks at what it leaves: `python -m tests.audit.crashing 1000`.

Each writer is a child that appends and tells, after each record, that it was acknowledged; it is ended by SIGKILL at any
moment, opening and closing a segment among them. Nothing acknowledged may be missing, and the log must be as signed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from observe.audit.faults import Kind
from observe.audit.log import AuditLog
from observe.audit.reading import read_all
from observe.audit.record import Who
from observe.audit.verify import verify

WHO = Who(key="", name="child", role="operator", user="")


def write(directory: Path, told: int) -> None:
    """What the child does until it is killed."""
    log = AuditLog(directory, node="crash@host", segment_bytes=20_000)
    while True:
        record = log.append(
            "requested",
            command_id="c",
            who=WHO,
            what="kill",
            target={"pid": 1},
            reason="x" * random.randrange(300),
            incarnation="i",
            control=random.random() < 0.8,
        )
        os.write(told, b"%12d" % record.seq)


def crash(directory: Path, times: int, seed: int = 1) -> dict[str, int]:
    """Kill so many writers of one log. Raises AssertionError when something acknowledged was lost."""
    chance = random.Random(seed)
    acknowledged = repaired = empty = 0
    for number in range(times):
        readable, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(readable)
            random.seed(number)
            try:
                write(directory, told)
            finally:
                os._exit(1)
        os.close(told)
        wanted, seen = chance.randrange(6), b""
        while len(seen) < 12 * wanted and (more := os.read(readable, 4096)):
            seen += more
        for _ in range(chance.randrange(3000)):
            pass  # anywhere between one acknowledgement and the next
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        while more := os.read(readable, 4096):
            seen += more
        os.close(readable)
        newest = int(seen[-12:]) if seen else 0
        acknowledged = max(acknowledged, newest)
        empty += not seen
        report = verify(directory) if (directory / "log.vkey").exists() else None
        if report is not None:
            assert report.records >= acknowledged, (report, acknowledged)
            assert all(not one.kind.is_tampering for one in report.faults), report
            repaired += report.verdict is Kind.TORN
    AuditLog(directory, node="crash@host").close()
    records, damaged = read_all(directory)
    assert damaged == 0
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert len(records) >= acknowledged
    return {
        "killed": times,
        "records": len(records),
        "acknowledged": acknowledged,
        "torn": repaired,
        "early": empty,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(crash(Path(place) / "audit", int(sys.argv[1])))  # noqa: T201 - a program
