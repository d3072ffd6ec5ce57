"""The demo's bug, mended in a shop that is open: as the tutorial does it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from observe.examples.shop import refunds
from observe.probe import connect
from observe.probe.client import NodeClient

OBSERVE: Final = str(Path(sys.executable).with_name("observe"))
AS_SHIPPED: Final = Path(refunds.__file__).read_text()
RIGHT: Final = AS_SHIPPED.replace("SHARES = {", 'SHARES = {\n    "storage jars": 1.0,')
WORSE: Final = re.sub(r'    "\w+ ?\w*": 1.0,\n', "", AS_SHIPPED)
"""More goods without a share, so that somebody meets one soon."""


class Open:
    """The shop, open, with impatient customers."""

    def __init__(self, directory: str) -> None:
        self.env = {**os.environ, "OBSERVE_RUNTIME_DIR": directory, "TMPDIR": directory}
        self.rules = Path(directory) / "code" / "refunds.py"
        self.rules.parent.mkdir()
        self.rules.write_text(WORSE)
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "observe.examples.shop", "--tethered", "--sessions=40", "--think=0.02",
                "--schedule=healthy:3600", f"--code={self.rules.parent}",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.env,
        )  # fmt: skip
        assert self.process.stdout is not None
        opened = json.loads(self.process.stdout.readline())
        assert opened["code"] == str(self.rules.parent)
        self.ledger = Path(opened["directory"]) / "ledger.db"

    def failures(self, session: str) -> int:
        """How often the session has tried its step in vain."""
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as ledger:
            query = "SELECT failures FROM sessions WHERE name = ?"
            return int(ledger.execute(query, (session,)).fetchone()[0])

    def reload(self, *options: str) -> tuple[int, str, str]:
        run = subprocess.run(
            [OBSERVE, "reload", "shop", "refunds", "--timeout", "20", *options],
            env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return run.returncode, run.stdout, run.stderr

    def until_done(self, session: str) -> None:
        """Wait until the session has done the step that it was stuck at."""
        while self.failures(session):
            time.sleep(0.05)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    # Not below pytest's directory: the path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="obs-") as directory:
        monkeypatch.setenv("OBSERVE_RUNTIME_DIR", directory)
        shop = Open(directory)
        try:
            yield shop
        finally:
            shop.close()


async def stuck(node: NodeClient) -> str:
    """The name of a session that crashes for want of a rule, when there is one."""
    while True:
        for crash in (await node.crashes(limit=100)).crashes:
            if crash.reason.startswith("KeyError: "):
                assert crash.name is not None
                return crash.name
        await asyncio.sleep(0.05)


async def test_a_bug_is_mended_while_the_sessions_run(shop: Open) -> None:
    """A file is edited and reloaded; who was stuck goes on with the step that failed, and nobody else has noticed."""
    async with asyncio.timeout(90), connect("shop", timeout_s=20.0) as node:
        name = await stuck(node)
        assert shop.failures(name) > 0
        shop.rules.write_text(RIGHT)
        status, said, _ = await asyncio.to_thread(shop.reload, "--dry-run")
        assert status == 0
        assert '+    "storage jars": 1.0,' in said
        assert shop.failures(name) > 0
        status, said, _ = await asyncio.to_thread(shop.reload, "--reason", "storage jars come back as well")
        assert status == 0
        assert "now refunds 2" in said
        await asyncio.to_thread(shop.until_done, name)
        assert (await node.agents(filter="class=Session")).matched == 40
