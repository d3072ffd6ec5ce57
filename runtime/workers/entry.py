"""The main program of a worker: `python -m observe.runtime.workers.entry LINK CONTROL LIFELINE TRACE ALARM`, five descriptors."""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from typing import Any

PARENT_LOOK_S = 1.0
"""Seconds between two looks whether the node's process is still our parent: where the lifeline is not enough, because a fork
of it holds its other end."""


BEAT_S = 0.1
"""Seconds between two signs of life of the control thread, where somebody wants them: its probe takes 0.3 s of silence as a
held interpreter lock."""


def hold_lifeline(lifeline: int) -> None:
    """Let the kernel kill this process and all that it has started when the other end closes, whatever runs here."""
    group = os.getpgrp()
    if hasattr(fcntl, "F_SETSIG") and group == os.getpid():
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -group)
        fcntl.fcntl(
            lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK
        )
    try:
        if os.read(lifeline, 1) == b"":
            die()  # it has closed before we looked
    except BlockingIOError:
        pass


def die() -> None:
    """The node is gone: so are we, and what we have started."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def read_boot(link: socket.socket) -> dict[str, Any]:
    """The first thing that is sent."""

    def exactly(count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = link.recv(count - len(parts))
            if not part:
                die()
            parts += part
        return parts

    boot: dict[str, Any] = pickle.loads(exactly(int.from_bytes(exactly(4), "little")))
    return boot


def serve_control(control: socket.socket, parent: int, inside: Any) -> None:
    """The control thread: answers while the event loop is stuck."""
    while True:
        if os.getppid() != parent:
            die()
        beat = inside.beat
        control.settimeout(PARENT_LOOK_S if beat is None else BEAT_S)
        if beat is not None:
            beat()
        try:
            request = control.recv(2**20)
        except TimeoutError:
            continue
        except OSError:
            return
        try:
            number, what, args = pickle.loads(request)
            answer = inside.control(what, *args)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        try:
            control.send(pickle.dumps((number, answer)))
        except OSError:
            pass


def main() -> None:
    """Run a worker until it is told to end."""
    link_fd, control_fd, lifeline, trace, alarm = map(int, sys.argv[1:6])
    hold_lifeline(lifeline)
    for descriptor in (link_fd, control_fd, lifeline, trace, alarm):
        os.set_inheritable(descriptor, False)
    faulthandler.enable(file=trace)
    link = socket.socket(fileno=link_fd)
    control = socket.socket(fileno=control_fd)
    boot = read_boot(link)
    if boot["limits"] is not None:
        boot["limits"].apply()
    sys.path[:] = boot["sys_path"]
    sys.argv = boot["sys_argv"]
    logging.basicConfig(level=boot["log_level"])

    from observe.runtime.workers import packing
    from observe.runtime.workers.boot import MainFinder
    from observe.runtime.workers.inside import Inside

    packing.find_main = MainFinder(boot["main"])
    factory: Any = None
    if boot["uvloop"]:
        import uvloop  # the node runs on it

        factory = uvloop.new_event_loop
    link.setblocking(False)
    with asyncio.Runner(loop_factory=factory) as runner:
        loop = runner.get_loop()
        inside = Inside(loop, boot, socket.socket(fileno=alarm))
        threading.Thread(
            target=serve_control, args=(control, boot["parent"], inside), name="observe:control", daemon=True
        ).start()
        try:
            runner.run(inside.serve(link))
        finally:
            inside.link.flush()  # the last words: why an agent has taken the process along


if __name__ == "__main__":
    main()
