"""The console in a browser: the page, the session behind it, and everybody who must not get in."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.console.test_cli_data import Running, service

aiohttp = pytest.importorskip("aiohttp", reason="the extra `serve` is not installed")
pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")


@dataclass
class Served:
    base: str
    token: str

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.base + path, timeout=30, trust_env=False, **options)  # type: ignore[arg-type]  # options by name

    def cookie(self) -> dict[str, str]:
        answer = self.get(f"/?token={self.token}")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        header = answer.headers["set-cookie"]
        assert "HttpOnly" in header
        assert "SameSite=Strict" in header
        return dict(answer.cookies)


@pytest.fixture(scope="module")
def browser_node() -> Iterator[Running]:
    with service("browsed") as running:
        yield running


@pytest.fixture(scope="module")
def served(browser_node: Running) -> Iterator[Served]:
    command = [
        sys.executable,
        "-c",
        "from observe.console.cli import main; main()",
        "serve",
        "browsed",
        "--read-only",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=browser_node.env) as process:
        assert process.stdout is not None
        base, _, token = process.stdout.readline().strip().partition("/?token=")
        served = Served(base, token)
        for _ in range(300):
            try:
                served.get("/")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        try:
            yield served
        finally:
            process.terminate()
            process.wait(30)


def test_without_the_token_nothing_is_shown(served: Served) -> None:
    """Not the page, not what it is made of."""
    for path in ("/", "/?token=wrong", "/ws", "/static/js/textual.js"):
        assert served.get(path).status_code == 403


def test_the_token_is_taken_once_and_leaves_the_address(served: Served) -> None:
    """What stays in the history of a browser is no key."""
    page = served.get("/", cookies=served.cookie())
    assert page.status_code == 200
    assert served.token not in page.text
    assert "ws://127.0.0.1:" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"


def test_another_name_for_the_same_address_is_not_answered(served: Served) -> None:
    """A page of somebody else's can have its name lead here."""
    answer = served.get("/", cookies=served.cookie(), headers={"Host": "evil.example"})
    assert answer.status_code == 421


async def test_a_session_draws_the_console_and_only_for_our_own_page(served: Served) -> None:
    """One process a session; another site's script gets none."""
    cookies = served.cookie()
    async with aiohttp.ClientSession(cookies=cookies) as browser:
        url = f"{served.base}/ws?width=100&height=30"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await browser.ws_connect(url, headers={"Origin": "http://evil.example"})
        async with browser.ws_connect(url, headers={"Origin": served.base}) as socket:
            drawn = b""
            async with asyncio.timeout(60):
                while b"browsed" not in drawn or b"read-only" not in drawn:
                    message = await socket.receive()
                    assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
                    drawn += message.data if isinstance(message.data, bytes) else message.data.encode()


def test_others_are_not_served(browser_node: Running) -> None:
    """Plain HTTP is for this machine alone."""
    status, _, err = browser_node.observe("serve", "browsed", "--host", "0.0.0.0")
    assert status == 2
    assert "use ssh -L instead" in err
