"""The control thread: the service's end of the control link, and the keeper of the probe's process.

    probe --ops--> [ ROUTER | control thread ] --call_soon_threadsafe--> scheduler: inspect, kill, tree
                              |  ^                                            |
                     `stack` answered here                               results + wake-up

It sleeps in one poll and stirs at least every 100 ms, which word 5 shows: while Python code holds the scheduler it still
runs (and can read that agent's stack), while C code holds the interpreter lock it does not. A probe that has ended is
started again; no agent notices.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import zmq

from observe.probe.answers import Answers, Job, Problem
from observe.probe.codec import REQUEST_LIMIT_BYTES, decode, encode
from observe.probe.errors import BadFrame, TooLarge
from observe.probe.launch import DECLINED_STATUS, CannotLaunch, Launches
from observe.probe.words import WORD_THREAD_NS, Words

logger = logging.getLogger("observe.probe")

BEAT_MS: Final = 100
"""The probe takes 300 ms of silence as a held interpreter lock."""

BACKOFF_S: Final = (0.2, 10.0)
"""First and longest pause before an ended probe is started again; doubles each time."""

STEADY_S: Final = 30.0
"""A probe that has run for so long begins with the first pause again."""

DECLINED_PAUSE_S: Final = 30.0
"""Pause after a probe that cannot serve this node here (its name is taken, say): soon nothing will have changed."""

FAREWELL_S: Final = 2.0
"""How long a probe may take to end after `bye`; then it is told to, and a second later killed."""

Ready = Callable[[str, str, str], None]
"""Called in the control thread with endpoint, error code and message; one of endpoint and code is empty."""


class ControlLink:
    """Serves the control link in a thread of its own, from `start` to `finish`. Made by the loop's thread."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        words: Words,
        answers: Answers,
        launcher: Launches,
        config: Callable[[int | None], str],
        on_ready: Ready,
    ) -> None:
        """
        Args:
            launcher: starts the probe.
            config: makes the probe's configuration, given the port that it had before.

        Raises:
            zmq.ZMQError: the address cannot be bound.
        """
        self._thread = threading.Thread(target=self._run, name="observe:control", daemon=True)
        self._words = words
        self._answers = answers
        self._launcher = launcher
        self._config = config
        self._on_ready = on_ready
        self._port: int | None = None
        self._launch_at = time.monotonic()
        self._pause_s = BACKOFF_S[0]
        self._finish_by: float | None = None
        self._is_terminated = False
        self._done: deque[tuple[bytes, dict[str, Any]]] = deque()
        self.restarts = 0
        """Probes started in the place of one that had ended."""
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_LIMIT_BYTES)
        try:
            self._socket.bind(address)
        except BaseException:
            self._socket.close(linger=0)
            raise
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    # -- for other threads ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, which starts the probe."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, if it was started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def finish(self, patience_s: float = FAREWELL_S) -> None:
        """Let the thread end, and the probe with it: by itself within the time, else by force. Does not wait."""
        if self._finish_by is None:
            self._finish_by = time.monotonic() + patience_s
        if self._thread.ident is None:
            self._close()  # it was never started
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"!")
        except OSError:
            pass  # full: it will wake up anyway; closed: it has ended

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_out, zmq.POLLIN)
        try:
            while self._goes_on():
                ready = dict(poller.poll(BEAT_MS))
                self._words.view[WORD_THREAD_NS] = time.monotonic_ns()
                if self._wake_out.fileno() in ready:
                    self._drain_wake()
                if self._socket in ready:
                    self._receive()
                self._answers.expire(time.monotonic())
                while self._done:
                    self._send(*self._done.popleft())
        except Exception:  # the edge of the thread: the service goes on without a probe
            logger.exception("the control thread has failed; this node can no longer be attached to")
        finally:
            self._launcher.kill()
            self._close()

    def _close(self) -> None:
        self._socket.close(linger=0)
        self._wake_in.close()
        self._wake_out.close()

    def _goes_on(self) -> bool:
        """Look after the probe's process. False when all is over."""
        now = time.monotonic()
        launcher = self._launcher
        status = launcher.exited()
        if status is not None and self._finish_by is None:
            self._was_lost(status, now)
        if launcher.pid is None:
            if self._finish_by is not None:
                return False
            if now >= self._launch_at:
                self._launch(launcher, now)
        elif self._finish_by is not None and now > self._finish_by:
            if self._is_terminated:
                return False  # and is killed on the way out
            self._is_terminated = True
            self._finish_by = now + 1.0
            launcher.terminate()
        return True

    def _launch(self, launcher: Launches, now: float) -> None:
        try:
            launcher.launch(self._config(self._port))
        except CannotLaunch as error:
            self._on_ready("", "cannot_launch", str(error))
            self._retry_later(now)

    def _was_lost(self, status: int, now: float) -> None:
        self._receive()  # it may have said why
        if now - self._launcher.started_at > STEADY_S:
            self._pause_s = BACKOFF_S[0]
        if status == DECLINED_STATUS:
            self._launch_at = now + DECLINED_PAUSE_S
            return
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        logger.warning("the probe ended %s; it is started again in %.1f s", how, self._pause_s)
        self._on_ready("", "ended", f"the probe ended {how} before it was ready")
        self.restarts += 1
        self._retry_later(now)

    def _retry_later(self, now: float) -> None:
        self._launch_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, BACKOFF_S[1])

    def _drain_wake(self) -> None:
        try:
            while self._wake_out.recv(1024):
                pass
        except BlockingIOError:
            pass

    # -- messages ---------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        for _ in range(100):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) != 2:
                continue
            peer, frame = parts
            try:
                request = decode(frame, limit_bytes=REQUEST_LIMIT_BYTES)
            except BadFrame as error:
                logger.warning("the probe sent something on the control link that cannot be read: %s", error)
                continue
            number = request.get("id")
            if type(number) is int:
                self._handle(peer, number, request)

    def _handle(self, peer: bytes, number: int, request: dict[str, Any]) -> None:
        if request.get("op") == "ready":
            self._ready(request)
            self._send(peer, {"id": number, "ok": True, "result": {}})
            return

        def done(answer: dict[str, Any] | Problem) -> None:  # in whichever thread has the answer
            if isinstance(answer, Problem):
                self._done.append((peer, {"id": number, "ok": False, "error": answer.to_map()}))
            else:
                self._done.append((peer, {"id": number, "ok": True, "result": answer}))
            self._wake()

        self._answers.take(Job(request, done), time.monotonic())

    def _ready(self, request: dict[str, Any]) -> None:
        error = request.get("error")
        if isinstance(error, dict):
            self._on_ready("", str(error.get("code")), str(error.get("message")))
            return
        endpoint = str(request.get("endpoint"))
        port = endpoint.rpartition(":")[2]
        self._port = int(port) if port.isdigit() else None
        self._on_ready(endpoint, "", "")

    def _send(self, peer: bytes, message: dict[str, Any]) -> None:
        try:
            frame = encode(message)
        except (TooLarge, ValueError) as error:
            problem = Problem("internal", f"the answer cannot be sent: {error}")
            frame = encode({"id": message["id"], "ok": False, "error": problem.to_map()})
        try:
            self._socket.send_multipart([peer, frame], zmq.NOBLOCK)
        except zmq.ZMQError:
            pass  # the probe is gone or does not read; it asks again when it wants to know
