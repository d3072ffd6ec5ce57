"""The probe's process, as its service sees it: started, looked at, ended within a bounded time. Never waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO, Final, Protocol

LOG_NAME: Final = "probe.log"
LOG_LIMIT_BYTES: Final = 1 << 20
"""A log that has grown beyond this is emptied before the next probe writes to it."""

LOG_TAIL_CHARACTERS: Final = 2000
"""How much of it an error message quotes."""


DECLINED_STATUS: Final = 3
"""With this a probe ends that cannot serve this node here: its name is taken, say."""


class CannotLaunch(Exception):
    """The system would not start the process."""


class Launches(Protocol):
    """What the control thread needs of whatever starts probes, one at a time."""

    started_at: float

    @property
    def pid(self) -> int | None: ...
    def launch(self, config: str) -> None: ...
    def exited(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def disown(self) -> None: ...
    def tail(self) -> str: ...


class Launcher:
    """Starts probes for one service, one at a time. Belongs to the control thread."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / LOG_NAME
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    @property
    def pid(self) -> int | None:
        """Of the probe that runs, or None."""
        return self._process.pid if self._process is not None else None

    def launch(self, config: str) -> None:
        """Start a probe and hand it its configuration, one line of JSON.

        Raises:
            CannotLaunch: there is no interpreter to start, or no process or memory for it.
        """
        if not sys.executable:
            raise CannotLaunch('this Python does not know its own executable; use placement="thread"')
        try:
            with self._open_log() as log:
                process = subprocess.Popen(  # our own interpreter and module
                    [sys.executable, "-P", "-m", "observe.probe.process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the service's terminal is not for the probe
                )
        except OSError as error:
            raise CannotLaunch(f"{sys.executable} could not be started: {error}") from error
        self._process = process
        self.started_at = time.monotonic()
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                pipe.write(config.encode() + b"\n")  # less than a pipe holds: does not block
        except OSError:
            pass  # it has ended already; `exited` tells

    def exited(self) -> int | None:
        """The exit status of a probe that has ended, once; None while it runs or when there is none."""
        if self._process is None:
            return None
        status = self._process.poll()
        if status is not None:
            self._process = None
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and wait until it is gone, which a killed process is at once."""
        if self._process is not None:
            self._process.kill()
            try:
                self._process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                pass  # in an uninterruptible call of the kernel; nothing more can be done
            self._process = None

    def disown(self) -> None:
        """Forget it without a word: after a fork it is the parent's, not ours."""
        if self._process is not None:
            self._process.returncode = 0
            self._process = None

    def tail(self) -> str:
        """The end of the probe's log, for an error message; empty when there is none."""
        try:
            text = self.log.read_text("utf-8", "replace")
        except OSError:
            return ""
        return text[-LOG_TAIL_CHARACTERS:].strip()

    def _open_log(self) -> BinaryIO:
        try:
            if self.log.stat().st_size > LOG_LIMIT_BYTES:
                os.truncate(self.log, 0)
        except FileNotFoundError:
            pass
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")
