"""A service in a process of its own, to be killed, stopped or stuck: `python -m tests.probe.doomed_service DIR HOW`.

Prints its configuration and the probe's address as a line of JSON, waits for a line on standard input, and then does what
HOW says. It ends with its standard input at the latest.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

import msgpack  # type: ignore[import-untyped]  # it ships no types
import zmq

from observe.probe.words import WORD_PID, WORD_SLICE_NS
from tests.probe.fake_service import FakeService

SIGNAL = signal.SIGRTMIN + 5


def stuck_in_c() -> None:
    """A regular expression that takes years and keeps the interpreter lock."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def stuck_in_python() -> None:
    while True:
        pass


def hold(service: FakeService, pid: int) -> None:
    """What the scheduler writes when a slice begins."""
    service.loop_beats = False
    service.words.view[WORD_SLICE_NS] = time.monotonic_ns()
    service.words.view[WORD_PID] = pid


def answer_stacks(service: FakeService, main: int) -> NoReturn:
    """The control thread, which can still read the stack of the one that is stuck."""
    while True:
        if not service.control.poll(50):
            continue
        probe, frame = service.control.recv_multipart()
        question = msgpack.unpackb(frame)
        if question["op"] != "stack":
            continue
        summary = traceback.extract_stack(sys._current_frames()[main])
        frames = [
            {"file": one.filename, "line": one.lineno, "function": one.name, "source": one.line or ""}
            for one in summary
        ]
        result = {"pid": question["pid"], "status": "running", "frames": frames}
        service.control.send_multipart(
            [probe, msgpack.packb({"id": question["id"], "ok": True, "result": result})]
        )


def die_with_parent() -> None:
    """End when whoever started us closes our standard input, stuck or not."""
    sys.stdin.read()
    os._exit(1)


def main(runtime: str, how: str) -> None:
    service = FakeService(
        runtime=Path(runtime), dump_signal=int(SIGNAL), linger_s=float(os.environ["LINGER_S"])
    )
    stacks = open(service.directory / "stacks.txt", "a")  # noqa: SIM115  # for as long as the process lives
    faulthandler.register(SIGNAL, file=stacks, all_threads=True)
    service.start()
    service.shop()
    service.rows({"pid": 2, "mailbox": 5})
    service.crash(9, name="w2", child="c2")
    service.vitals(agents=4)
    sys.stdout.write(json.dumps({"config": service.config, "endpoint": service.ready["endpoint"]}) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    threading.Thread(target=die_with_parent, daemon=True).start()
    if how == "c":
        hold(service, 2)
        stuck_in_c()
    elif how == "python":
        threading.Thread(target=answer_stacks, args=(service, threading.get_ident()), daemon=True).start()
        hold(service, 2)
        stuck_in_python()
    elif how == "exit":
        os._exit(0)
    elif how == "fork":
        if os.fork() == 0:
            time.sleep(5)  # outlives its parent, with everything inherited
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        signal.pause()


if __name__ == "__main__":
    zmq.Context.instance().linger = 0
    main(*sys.argv[1:])
