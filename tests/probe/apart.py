"""Processes on machines apart: network namespaces with a network between them that can be made to fail."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

PROBLEM = "network namespaces cannot be made here"


@functools.cache
def how_to_unshare() -> tuple[list[str], str]:
    """The command that makes the namespaces, or why there is none."""
    if not sys.platform.startswith("linux"):
        return [], f"{PROBLEM}: they are Linux's"
    if any(shutil.which(tool) is None for tool in ("unshare", "nsenter", "ip", "mount")):
        return [], f"{PROBLEM}: unshare, nsenter, ip or mount is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return [], f"{PROBLEM}: there is no /dev/net/tun"
    why = ""
    for options in (["-n", "-m"], ["-U", "-r", "-n", "-m"]):
        command = ["unshare", *options]
        found = subprocess.run(
            [*command, "ip", "tuntap", "add", "mode", "tun"], check=False, capture_output=True, text=True
        )
        if found.returncode == 0:
            return command, ""
        why = found.stderr.strip()
    return [], f"{PROBLEM}: {why}"


class Apart:
    """Machines by their addresses (IPv4, one network). A context manager: nothing of them is left behind."""

    def __init__(self, directory: Path, *addresses: str, names: dict[str, list[str]] | None = None) -> None:
        """
        Args:
            names: what the name server of the machines tells, if they are to have one.
        """
        unshare, problem = how_to_unshare()
        if problem:
            pytest.skip(problem)
        self._with_user = "-U" in unshare
        self._process = subprocess.Popen(
            [
                *unshare, "--kill-child", "--fork", sys.executable, str(Path(__file__).with_name("machines.py")),
                json.dumps(addresses), json.dumps(names or {}), str(directory),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise AssertionError(f"there are no machines: {said}")
        self._pids = json.loads(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def on(self, address: str) -> list[str]:
        """What stands before a command for it to run on this machine."""
        user = ["-U", "--preserve-credentials"] if self._with_user else []
        return ["nsenter", "-t", str(self._pids[address]), *user, "-n", "-m", "--"]

    def let(self, **conditions: Any) -> None:
        """From now on the network is so: `delay_s`, `loss` (a share of packets), `cut` (addresses that nothing reaches)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(conditions) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the network has ended"
