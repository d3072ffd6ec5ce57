"""The example of workers: all cores for a service, and what dies there takes nobody along."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import psutil

EXPECTED = """\
4 mills in 2 processes, none ours
2,262 primes below 20,000
range(8000, 10000): worker died: exit code 3
mill-0 is back with 303 primes, in another process
"""


def test_the_example_uses_all_its_processes_and_leaves_none() -> None:
    # Not below pytest's directory: the path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="obs-") as directory:
        env = {**os.environ, "OBSERVE_RUNTIME_DIR": directory}
        run = subprocess.run(
            [sys.executable, "-m", "observe.examples.workers"],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (run.returncode, run.stdout) == (0, EXPECTED), run.stderr
        assert "Traceback" not in run.stderr, run.stderr
        left = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("OBSERVE_RUNTIME_DIR") == directory:
                    left.append(process.cmdline())
            except psutil.Error:
                continue
        assert left == []
