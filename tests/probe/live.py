"""What tests of the live pipe share: a private runtime directory, a real service in a process, waiting for conditions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

PATIENCE_S = 30.0
"""How long a test waits for what must come. Reached only by a test that fails."""

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T]], good: Callable[[T], Any] = bool, what: str = "") -> T:
    """The first answer of `look` that is `good`; it is asked again and again."""
    until = time.monotonic() + PATIENCE_S
    while True:
        found = await look()
        if good(found):
            return found
        assert time.monotonic() < until, f"waited in vain for {what or good}; the last was {found!r}"
        await asyncio.sleep(0.02)


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until the condition holds."""

    async def look() -> Any:
        return condition()

    await eventually(look, what=what)


def wait_until(condition: Callable[[], Any], what: str = "") -> None:
    """As `until`, without a loop."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what or condition}"
        time.sleep(0.02)


@contextlib.contextmanager
def private_runtime(monkeypatch: Any) -> Iterator[Path]:
    """A runtime directory of the test's own, with a short name: paths of sockets are limited."""
    path = Path(tempfile.mkdtemp(prefix="obs-"))
    monkeypatch.setenv("OBSERVE_RUNTIME_DIR", str(path))
    monkeypatch.delenv("OBSERVE_STATE_DIR", raising=False)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def probes_of(pid: int | None) -> list[psutil.Process]:
    """The probe processes that a service has started and that still run."""
    if pid is None:
        return []
    with contextlib.suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children() if is_probe(child)]
    return []


def is_probe(process: psutil.Process) -> bool:
    """Whether it is the process of a probe, and not a zombie."""
    with contextlib.suppress(psutil.Error):
        return "observe.probe.process" in process.cmdline()
    return False


def is_gone(pid: int) -> bool:
    """Whether no process of this pid runs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


class LiveService:
    """A service in its own process. A context manager: nothing of it is left behind."""

    def __init__(
        self,
        runtime: Path,
        name: str = "shop",
        *,
        waiters: int = 3,
        script: str = "live_service.py",
        before: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        """`before` stands before the command, as `nsenter` and its options do."""
        path = Path(__file__).with_name(script)
        self.process = subprocess.Popen(
            [*before, sys.executable, str(path), name, str(waiters), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OBSERVE_RUNTIME_DIR": str(runtime)},
        )
        self.probe_pid = 0
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.facts = self.read()
            self.probe_pid = probes_of(self.process.pid)[0].pid
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        probes = probes_of(self.process.pid)
        self.process.kill()
        self.process.communicate()
        for probe in probes:  # one that lingers after its node's death
            with contextlib.suppress(psutil.Error):
                probe.kill()
            wait_until(partial(is_gone, probe.pid))  # not until somebody has reaped it
        if self.probe_pid and not is_gone(self.probe_pid):
            os.kill(self.probe_pid, signal.SIGKILL)
            wait_until(lambda: is_gone(self.probe_pid))

    @property
    def pid(self) -> int:
        """Of the service."""
        return self.process.pid

    def do(self, *command: Any) -> dict[str, Any]:
        """Have the service do something, and its word that it has begun."""
        self.tell(*command)
        return self.read()

    def tell(self, *command: Any) -> None:
        """Have the service do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """The next line that the service says."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.process.kill()
            _, complaints = self.process.communicate()
            raise AssertionError(f"the service said nothing; on stderr:\n{complaints.decode()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def kill(self) -> None:
        """kill -9, as the out-of-memory killer does."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def wait(self) -> tuple[int, str]:
        """Wait for its end: exit status and what it said on stderr."""
        _, complaints = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, complaints.decode()
