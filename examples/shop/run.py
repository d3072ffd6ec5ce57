"""Runs the whole demo: the model server and the service, each in a process of its own, and clears up after them.

    python -m observe.examples.shop                              until a signal comes
    python -m observe.examples.shop --headless --seconds 20      for a while, then say what happened

Says on stdout when the shop is open: one JSON document with `node`, `directory`, `code` and `model_url`. Everything that it
starts holds a pipe to it and goes when that pipe closes, so nothing is left behind whichever way this process ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observe.examples.shop.lifetime import until_told

if TYPE_CHECKING:
    from observe.examples.shop.report import Report

START_S: Final = 30.0
"""The longest that a part may take to be ready."""
FAREWELL_S: Final = 10.0
"""The longest that a part may take to end, before it is ended."""

SCHEDULE: Final = "healthy:45,bad:30"
"""Time enough to look around before the trouble starts, and to see it pass."""
HEALTHY_SHARE: Final = 0.35
BAD_SHARE: Final = 0.30
"""Of a headless run: healthy, bad, healthy again."""


class CannotStart(Exception):
    """A part of the demo did not come up; the text is for a person."""


class CannotMeasure(Exception):
    """The node did not answer at the end of the run; the text is for a person."""


@asynccontextmanager
async def part(module: str, *arguments: str, log: Path) -> AsyncIterator[dict[str, Any]]:
    """Run a module as a child process; yields what it says when it is ready, ends it afterwards.

    Raises:
        CannotStart: it ended or was silent instead.
    """
    with log.open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"observe.examples.shop.{module}", "--until-stdin-closes", *arguments,
            stdin=PIPE, stdout=PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        assert child.stdout is not None
        try:
            # Not `wait_for`: in 3.11 it swallows a cancellation that comes in the moment of the line, and the demo of a
            # parent that was killed just then would run on.
            async with asyncio.timeout(START_S):
                line = await child.stdout.readline()
        except TimeoutError:
            raise CannotStart(f"the {module} was not ready within {START_S:g} s") from None
        if not line:
            await child.wait()
            raise CannotStart(_last_words(log) or f"the {module} ended with status {child.returncode}")
        yield json.loads(line)
    finally:
        await _end(child)


def _last_words(log: Path) -> str:
    """The last line that a part has written to its stderr."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


async def _end(child: Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        async with asyncio.timeout(FAREWELL_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


@asynccontextmanager
async def opened(arguments: argparse.Namespace, schedule: str) -> AsyncIterator[dict[str, Any]]:
    """The shop, open: `node`, `directory`, `code` and `model_url` (None for a real endpoint)."""
    async with AsyncExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="observe-demo-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        model_url = None
        options: list[str] = []
        if has_real_endpoint():
            print(f"The sessions talk to {os.environ['OPENAI_BASE_URL']}.", file=sys.stderr)
        else:
            server = await stack.enter_async_context(
                part(
                    "model_server",
                    f"--seed={arguments.seed}",
                    f"--schedule={schedule}",
                    log=directory / "model_server.err",
                )
            )
            model_url = server["url"]
            options.append(f"--model-url={model_url}")
        code = arguments.code or directory / "code"
        service = await stack.enter_async_context(
            part(
                "service",
                f"--directory={directory}",
                f"--code={code}",
                f"--sessions={arguments.sessions}",
                f"--name={arguments.name}",
                f"--seed={arguments.seed}",
                f"--think={arguments.think}",
                *options,
                log=directory / "service.err",
            )
        )
        yield {
            "node": service["node"],
            "directory": str(directory),
            "code": str(code),
            "model_url": model_url,
        }


def has_real_endpoint() -> bool:
    """Whether the environment names an endpoint and a key for it; one without the other is somebody else's."""
    return bool(os.environ.get("OPENAI_BASE_URL") and os.environ.get("OPENAI_API_KEY"))


async def keep_open(arguments: argparse.Namespace) -> int:
    """Open the shop, say so, and close it when told."""
    async with opened(arguments, arguments.schedule) as shop:
        print(json.dumps(shop), flush=True)
        await until_told(arguments.tethered)
    return 0


async def headless(arguments: argparse.Namespace) -> int:
    """Open the shop for a while, with a bad spell in the middle, and say what happened."""
    told = asyncio.create_task(until_told(arguments.tethered))
    run = asyncio.create_task(_run_for(arguments))
    try:
        await asyncio.wait({told, run}, return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            return 130
        report = run.result()
    finally:
        for task in (told, run):
            task.cancel()
        await asyncio.gather(told, run, return_exceptions=True)
    _tell(report, arguments.json)
    return 0 if report.is_good else 1


async def _run_for(arguments: argparse.Namespace) -> Report:
    async with opened(arguments, "healthy:1") as shop:
        # While the sessions get going: a demo that is to be looked at starts faster without these.
        from observe.examples.shop.report import measure, steps_done
        from observe.probe.errors import AttachError

        directory = Path(shop["directory"])
        began = time.monotonic()
        recovered_at = None
        if shop["model_url"] is None:
            await asyncio.sleep(arguments.seconds)
        else:
            await asyncio.sleep(arguments.seconds * HEALTHY_SHARE)
            await set_mood(shop["model_url"], "bad")
            await asyncio.sleep(arguments.seconds * BAD_SHARE)
            await set_mood(shop["model_url"], None)
            recovered_at = steps_done(directory)
            await asyncio.sleep(max(0.0, began + arguments.seconds - time.monotonic()))
        try:
            return await measure(directory, shop["node"], time.monotonic() - began, recovered_at)
        except AttachError as error:
            raise CannotMeasure(f"the shop does not answer at the end: {error}") from error


async def set_mood(model_url: str, mood: str | None) -> None:
    """Tell the model server how to feel; None takes it back to its schedule."""
    import httpx

    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
        (await client.post(model_url.removesuffix("/v1") + "/mood", json={"mood": mood})).raise_for_status()


def _tell(report: Report, as_json: bool) -> None:
    content = report.to_json()
    if as_json:
        print(json.dumps(content, indent=2), flush=True)
        return
    width = max(map(len, content))
    for name, value in content.items():
        print(f"{name.replace('_', ' '):<{width}}  {value:>10,}")
    if not report.is_good:
        print("Something was lost, or the work did not go on; this should not be.", file=sys.stderr)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shop", description="The support desk of `observe demo`.")
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--name", default="shop", help="of the node")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--think", type=float, default=8.0, help="mean seconds between two steps of a session"
    )
    parser.add_argument(
        "--code", type=Path, help="where to put the code that may be edited [a directory that goes]"
    )
    parser.add_argument("--schedule", default=SCHEDULE, help="of the model's moods")
    parser.add_argument("--headless", action="store_true", help="run for a while and say what happened")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long, with --headless")
    parser.add_argument("--json", action="store_true", help="say it as one JSON document")
    parser.add_argument(
        "--tethered", action="store_true", help="end when stdin closes, as when the parent ends"
    )
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    status = 130
    try:
        with contextlib.suppress(KeyboardInterrupt):
            status = asyncio.run(headless(arguments) if arguments.headless else keep_open(arguments))
    except (CannotStart, CannotMeasure) as error:
        sys.exit(f"Error: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the last flush fails once more
        status = 141
    sys.exit(status)
