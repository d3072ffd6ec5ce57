"""Erlang beside us: `erlang_peer.erl` compiled and run on one scheduler, where Erlang is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("erlang_peer.erl")
TIMEOUT_S = 120.0

INSTALL = "not here: apt-get install erlang-base"


def is_installed() -> bool:
    """Whether there is an Erlang to compare with."""
    return bool(shutil.which("erl") and shutil.which("erlc"))


@cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="observe-benchmark-")
    subprocess.run(["erlc", "-o", folder.name, str(SOURCE)], check=True, timeout=TIMEOUT_S)
    return folder


def figures(what: str, count: int) -> dict[str, float]:
    """What `erlang_peer:main` measures: `messages`, `one_for_one`, `simple_one_for_one` or `restarts`."""
    done = subprocess.run(
        [
            *("erl", "-noshell", "+S", "1:1", "+SDcpu", "1:1", "+sbwt", "none", "+P", "2000000"),
            *("-kernel", "logger_level", "none", "-pa", _compiled().name),
            *("-s", "erlang_peer", "main", what, str(count)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
