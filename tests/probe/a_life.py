"""A recording for tests: of a service that crashed, piled up messages, and was killed; its probe was killed after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from observe.probe.client import connect
from observe.probe.past import Past
from tests.probe.live import LiveService, eventually, is_gone, private_runtime, wait_until


def record_a_life(folder: Path) -> dict[str, Any]:
    """Record it into `folder`; returns what the service said of itself."""
    with (
        pytest.MonkeyPatch.context() as patch,
        private_runtime(patch) as runtime,
        LiveService(runtime, record=str(folder)) as service,
    ):
        service.do("cast", "waiter-0", 1000)

        async def live_through() -> None:
            async with connect("shop", timeout_s=10.0) as node:
                await eventually(node.agents, lambda page: page.total == 7)
                for _ in range(30):
                    service.do("cast", "waiter-0", "count")
                service.do("cast", "waiter-1", "crash")
                await eventually(node.crashes, lambda found: found.total)
                await eventually(
                    node.agents, lambda page: any(row[page.columns.index("mailbox")] == 30 for row in page.rows)
                )  # fmt: skip
                service.process.send_signal(signal.SIGKILL)
                await eventually(node.vitals, lambda vitals: vitals.state == "dead")

        asyncio.run(live_through())
        # Consoles are told first, and the recorder writes a moment later.
        wait_until(
            lambda: any("died" in event.text for event in Past(folder).autopsy().events),
            "the death on record",
        )
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(service.probe_pid, signal.SIGKILL)
        wait_until(lambda: is_gone(service.probe_pid))
        return service.facts
