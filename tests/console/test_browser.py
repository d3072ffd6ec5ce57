"""The console in a real browser: its page opens, draws, and takes keys. Skipped where no Chromium is installed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_serve import Served, browser_node, served

aiohttp = pytest.importorskip("aiohttp", reason="the extra `serve` is not installed")

__all__ = ["browser_node", "served"]
"""The fixtures of the page's other tests."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 60.0

EMPTY_BYTES = 40_000
"""A picture of the page before it draws has 10,000, one with the console on it 100,000."""


class Browser:
    """One page, by the DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.drawn = ""
        """All that came over the page's web socket, as base64 or text."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one request, and read until it is answered."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            told = await self._next()
            if told.get("id") == number:
                assert "error" not in told, told
                return dict(told["result"])

    async def _next(self) -> dict[str, Any]:
        told: dict[str, Any] = await self._socket.receive_json()
        if told.get("method") == "Network.webSocketFrameReceived":
            frame = told["params"]["response"]
            data = frame["payloadData"]
            self.drawn += base64.b64decode(data).decode(errors="replace") if frame["opcode"] == 2 else data
        return told

    async def until_drawn(self, text: str) -> None:
        """Wait until the console has sent a text to the page."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.drawn:
                await self._next()

    async def press(self, key: str) -> None:
        """A key, as from the keyboard."""
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def click(self) -> None:
        """In the middle of the page, so that it has the keyboard."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=kind, x=600, y=350, button="left", clickCount=1)

    async def picture(self) -> bytes:
        """What is on the screen, as PNG."""
        return base64.b64decode((await self.ask("Page.captureScreenshot"))["data"])


@asynccontextmanager
async def browser(url: str, directory: Path) -> AsyncIterator[Browser]:
    """Chromium on a page, in a directory of its own."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is installed here (looked for {', '.join(NAMES)})")
    command = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--no-proxy-server", "--disable-background-networking", "--window-size=1200,700", "--remote-debugging-port=0",
        f"--user-data-dir={directory}", "about:blank",
    ]  # fmt: skip
    with subprocess.Popen(  # noqa: ASYNC220  it takes no time
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            port = await _port(directory / "DevToolsActivePort", process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    [page] = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    shown = Browser(socket)
                    await shown.ask("Network.enable")
                    await shown.ask("Page.enable")
                    await shown.ask("Page.navigate", url=url)
                    yield shown
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with all its processes


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def _port(path: Path, process: subprocess.Popen[bytes]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while process.poll() is None:
                if lines := _lines(path):
                    return lines[0]
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    pytest.skip("the browser that is installed here does not start")


async def test_a_browser_shows_the_console_and_its_keys_reach_it(served: Served, tmp_path: Path) -> None:
    """The page as a person opens it: address with token, script, terminal, session, first picture, help."""
    async with browser(f"{served.base}/?token={served.token}", tmp_path) as shown:
        await shown.until_drawn("browsed")
        await shown.until_drawn("read-only")
        async with asyncio.timeout(PATIENCE_S):
            while len(await shown.picture()) < EMPTY_BYTES:  # noqa: ASYNC110  the page tells nobody
                await asyncio.sleep(0.2)
        await shown.click()
        await shown.press("?")
        await shown.until_drawn("Esc leaves")
