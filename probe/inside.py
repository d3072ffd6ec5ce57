"""A probe as a thread of its service, for places that allow no child process.

The same server, reached the same way. What is lost: it is silent while C code holds the interpreter lock, it takes its
share of that lock, and it ends with the service, so that nobody is there to show the last picture.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import zmq

from observe.probe.cards import private_directory
from observe.probe.codec import encode
from observe.probe.config import Config
from observe.probe.errors import NameTaken, UnsafeDirectory
from observe.probe.launch import DECLINED_STATUS
from observe.probe.place import claim
from observe.probe.server import Server

logger = logging.getLogger("observe.probe")


class ThreadLauncher:
    """Starts probes as threads. What `Launcher` is for processes."""

    def __init__(self) -> None:
        self.started_at = 0.0
        self._thread: threading.Thread | None = None
        self._server: Server | None = None
        self._status = 0

    @property
    def pid(self) -> int | None:
        """Our own while a probe runs, else None."""
        return os.getpid() if self._thread is not None else None

    def launch(self, config: str) -> None:
        """Start a probe."""
        self._thread = threading.Thread(target=self._serve, args=(config,), name="observe:probe", daemon=True)
        self.started_at = time.monotonic()
        self._thread.start()

    def exited(self) -> int | None:
        """The status of a probe that has ended, once; None while it runs or when there is none."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._status

    def terminate(self) -> None:
        """Ask it to end."""
        if self._server is not None:
            self._server.stop()

    def kill(self) -> None:
        """Ask it to end, and wait a second. A thread cannot be made to."""
        self.terminate()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def disown(self) -> None:
        """Forget it: in a forked child there is no such thread."""
        self._thread = None

    def tail(self) -> str:
        """Empty: a thread of the service logs where the service does."""
        return ""

    def _serve(self, text: str) -> None:
        self._status = 1
        try:
            config = Config.model_validate_json(text)
            try:
                lock = claim(config.node, private_directory(Path(config.directory)))
                server = Server(config, lock)
            except NameTaken as error:
                self._decline(config, "name_taken", str(error))
                return
            except (UnsafeDirectory, OSError) as error:
                self._decline(config, "unsafe_directory", str(error))
                return
            try:
                server.open()
            except (zmq.ZMQError, OSError) as error:
                server.close()
                self._decline(config, "cannot_serve", f"cannot listen on {config.listen}: {error}")
                return
            self._server = server
            try:
                server.run()
            finally:
                self._server = None
                server.close()
            self._status = 0
        except Exception:  # the edge of the thread
            logger.exception("the probe has failed")

    def _decline(self, config: Config, code: str, message: str) -> None:
        self._status = DECLINED_STATUS
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 1000
            socket.connect(config.control)
            socket.send(encode({"id": 1, "op": "ready", "error": {"code": code, "message": message}}))
