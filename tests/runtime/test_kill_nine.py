"""`kill -9` of the whole service, at random moments: what was acknowledged is there after the next start.

`OBSERVE_KILLS=200 pytest tests/runtime/test_kill_nine.py` does it more often than a daily run has time for.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
AGENTS = 6


def run_and_kill(store: Path, after_s: float, after_ready: bool) -> dict[str, list[tuple[bool, int]]]:
    """Start the service, kill it, and return what it said of each agent: (at its return?, count)."""
    service = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.kill_me", str(store), str(AGENTS)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert service.stdout is not None
    lines: list[bytes] = []
    try:
        if after_ready:
            lines = list(iter(service.stdout.readline, b"ready\n"))
        time.sleep(after_s)  # the random moment itself; nothing is waited for
        assert service.poll() is None, "the service ended by itself"
    finally:
        service.send_signal(signal.SIGKILL)
        rest, _ = service.communicate(timeout=60)
    said: dict[str, list[tuple[bool, int]]] = {}
    for line in (*lines, *rest.splitlines()):
        words = line.decode().split()
        if words and words[0] != "ready":
            said.setdefault(words[-2], []).append((words[0] == "back", int(words[-1])))
    return said


def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    """Each agent comes back at least as far as it had said, and at most one message further; no state is torn."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    known: dict[str, int] = {}
    for kill in range(int(os.environ.get("OBSERVE_KILLS", "8"))):
        # A service that is killed while it starts is killed in the middle of its restoring.
        early = kill % 4 == 3
        said = run_and_kill(
            tmp_path / "s.db", dice.uniform(0.15, 0.45) if early else dice.uniform(0, 0.15), not early
        )
        if not early:
            assert set(said) == {
                *(f"hand-{n}" for n in range(1, AGENTS, 2)),
                *(f"policy-{n}" for n in range(0, AGENTS, 2)),
                *(f"dynamic-{n}" for n in range(AGENTS)),
            }, f"not all came back (seed {seed}, kill {kill})"
        for name, counts in said.items():
            for is_back, count in counts:
                if is_back:
                    assert known.get(name, 0) <= count <= known.get(name, 0) + 1, (
                        f"{name} came back at {count} after it had said {known.get(name, 0)} (seed {seed}, kill {kill})"
                    )
                known[name] = count
    assert min(known.values()) > 0
    with sqlite3.connect(tmp_path / "s.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
