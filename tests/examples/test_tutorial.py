"""The tutorial's sections on the demo, in a shop that is open: a bug is mended, a refund approved, a runaway let out, the record read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from observe.console.cli import main
from observe.examples.shop import refunds
from observe.probe import connect
from observe.probe.client import NodeClient

OBSERVE: Final = str(Path(sys.executable).with_name("observe"))
AS_SHIPPED: Final = Path(refunds.__file__).read_text()
RIGHT: Final = AS_SHIPPED.replace("SHARES = {", 'SHARES = {\n    "storage jars": 1.0,')
WORSE: Final = re.sub(r'    "(?!espresso)\w+ ?\w*": 1.0,\n', "", AS_SHIPPED)
"""More goods without a share, so that somebody meets one soon."""
TUTORIAL: Final = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")


class Open:
    """The shop, open, with impatient customers."""

    def __init__(self, directory: str) -> None:
        self.env = {
            **os.environ,
            "OBSERVE_RUNTIME_DIR": directory,
            "OBSERVE_STATE_DIR": directory,
            "TMPDIR": directory,
        }
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

    def run(self, line: str) -> tuple[int, str]:
        """A command of the tutorial: exit status, and what it has said."""
        result = CliRunner(env=self.env).invoke(main, shlex.split(line)[1:], prog_name="observe")
        return result.exit_code, result.stdout + result.stderr

    def observe(self, line: str) -> str:
        """The same; it must succeed."""
        status, said = self.run(line)
        assert status == 0, f"{line}\n{said}"
        return said

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something, generously."""
        deadline = time.monotonic() + 60
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.05)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Open]:
    """One for all sections, in their order."""
    # Not below pytest's directory: the path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="obs-") as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OBSERVE_RUNTIME_DIR", directory)
        shop = Open(directory)
        try:
            yield shop
        finally:
            shop.close()


def commands(section: int) -> list[str]:
    """The commands of a section, without their comments."""
    text = re.split(r"^## \d+\. ", TUTORIAL, flags=re.MULTILINE)[section]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("observe ")]
    assert lines
    return [re.sub(r"\s{2,}#.*", "", line) for line in lines]


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


def test_a_refund_is_approved_a_runaway_let_out_and_all_of_it_is_on_record(shop: Open) -> None:
    """Sections 6, 7 and 8, one after the other: the last tells of what was done in the others."""
    shop.until(lambda: "session-7 " in shop.observe("observe approvals shop"))
    listed, approved, past = [shop.observe(line) for line in commands(6)]
    assert "more than 100 goes back" in listed
    assert "'amount': 640.0" in listed
    assert "was granted" in approved
    assert "the customer has sent a photo" in past

    looked, acted = commands(7)[:3], commands(7)[3:]
    shop.until(lambda: "isolated" in shop.observe(looked[1]))
    shop.until(lambda: "left-handed teapots" in shop.observe(looked[0]))
    assert "isolated by budget same_call" in shop.observe(looked[2])
    assert "is 'gift card'" in shop.observe(acted[0])
    assert "begins anew" in shop.observe(acted[1])
    assert "was isolated and is none" in shop.observe(acted[2])
    shop.until(lambda: "CONTAINED" not in shop.observe("observe ps shop --filter name=scout"))

    of_scout, of_refund = [shop.observe(line) for line in commands(8)[:2]]
    for said in ("governed_containment", "the handbook knows no such teapots", "it has another topic now"):
        assert said in of_scout
    assert "session-7" in of_refund

    def is_verified() -> bool:
        """What agents did meanwhile is signed with the next command at the latest."""
        shop.observe("observe resume shop scout")
        status, said = shop.run(commands(8)[2])
        assert status == 0 or "UNSIGNED_TAIL" in said, said
        return status == 0

    shop.until(is_verified)
