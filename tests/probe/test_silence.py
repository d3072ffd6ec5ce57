"""A process in which nothing runs: whose fault that is."""

from __future__ import annotations

import signal

import psutil
import pytest

from observe.probe.client import connect
from observe.probe.silence import LOOKED_S, Silence
from tests.probe.live import LiveService, eventually, private_runtime


def test_a_process_that_is_ready_and_gets_no_processor_is_starved() -> None:
    silence = Silence()
    assert silence.why(1, 10.0, psutil.STATUS_RUNNING, 5.0) == "c"
    assert silence.why(1, 10.0 + LOOKED_S / 2, psutil.STATUS_RUNNING, 5.0) == "c"  # too early to tell
    assert silence.why(1, 10.0 + LOOKED_S, psutil.STATUS_RUNNING, 5.0) == "starved"
    assert silence.why(1, 12.0, psutil.STATUS_RUNNING, 7.0) == "c"  # it computes
    assert silence.why(2, 12.0, psutil.STATUS_RUNNING, 7.0) == "c"  # another silence


def test_c_code_that_waits_is_not_starved() -> None:
    silence = Silence()
    assert [silence.why(1, at, psutil.STATUS_SLEEPING, 5.0) for at in (10.0, 11.0, 12.0)] == ["c"] * 3


@pytest.mark.parametrize("status", [psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP])
def test_a_stopped_process_is_seen_at_once(status: str) -> None:
    assert Silence().why(1, 10.0, status, 5.0) == "stopped"


async def test_no_agent_is_blamed_for_a_process_that_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with private_runtime(monkeypatch) as runtime, LiveService(runtime) as service:
        async with connect("shop", timeout_s=20.0) as node:
            service.process.send_signal(signal.SIGSTOP)
            try:
                vitals = await eventually(node.vitals, lambda found: found.held is not None)
                assert vitals.held is not None
                assert (vitals.held.where, vitals.held.pid) == ("stopped", 0)
                assert vitals.held.class_name == "the operating system"
                found = await eventually(node.findings, lambda found: found.findings)
                assert "the operating system holds the scheduler" in found.findings[0].text
                assert "has stopped the process" in found.findings[0].text
                assert "kill -CONT" in found.findings[0].advice
            finally:
                service.process.send_signal(signal.SIGCONT)
            await eventually(node.vitals, lambda found: found.state == "up")
