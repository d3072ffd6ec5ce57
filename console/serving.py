"""The console in a browser: Textual's server, behind a token, for this machine alone.

    browser --> 127.0.0.1:port --> gate (host, token, origin, number of sessions) --> textual-serve --> one console a session

A page in the same browser must not be able to reach it: the name in the address must be ours (no DNS rebinding), the
token is asked for once and then kept in a cookie that other sites' pages do not send, and a WebSocket must come from our
own page. Other machines reach it through ssh, which proves who they are: `ssh -L 8800:127.0.0.1:8800 host`.
"""

from __future__ import annotations

import hmac
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from textual_serve.server import Server

COOKIE: Final = "observe"
SESSIONS: Final = 8
"""Open at once: each is a process of some forty megabytes."""

WEB_DRIVER: Final = "textual.drivers.web_driver:WebDriver"
"""What Textual calls the driver of a console in a browser, in TEXTUAL_DRIVER."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])


class ConsoleServer(Server):
    """See the module's docstring."""

    def __init__(self, arguments: list[str], host: str, port: int, title: str) -> None:
        """`arguments` are those of `observe`, run anew for each session."""
        program = [sys.executable, "-c", "from observe.console.cli import main; main()", *arguments]
        super().__init__(shlex.join(program), host=host, port=port, title=title)
        self.token = secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)
        """Not the token: that stands in the address bar for a moment, and in somebody's shell."""
        self._sessions = 0

    @property
    def url(self) -> str:
        """Where to go, token included."""
        return f"{self.public_url}/?token={self.token}"

    def initialize_logging(self) -> None:
        """Nothing: what there is to say is said by the command."""

    async def on_startup(self, app: web.Application) -> None:
        """Nothing, for the same reason."""

    async def _make_app(self) -> web.Application:
        app: web.Application = await super()._make_app()
        app.middlewares.append(self._gate())
        return app

    async def handle_websocket(self, request: web.Request) -> Any:
        """One session, if there is room."""
        if self._sessions >= SESSIONS:
            raise web.HTTPServiceUnavailable(text=f"{SESSIONS} consoles are open already; close one")
        self._sessions += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._sessions -= 1

    def _gate(self) -> Any:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            own = self.public_url.removeprefix("http://")
            if request.host != own:
                raise web.HTTPMisdirectedRequest(text=f"this is {own}, and no other name is answered")
            given = request.query.get("token", "")
            if request.path == "/" and given and hmac.compare_digest(given.encode(), self.token.encode()):
                answer = web.HTTPSeeOther("/")
                answer.set_cookie(COOKIE, self._cookie, httponly=True, samesite="Strict")
                raise answer
            cookie = request.cookies.get(COOKIE, "")
            if not hmac.compare_digest(cookie.encode(), self._cookie.encode()):
                raise web.HTTPForbidden(text="open the address that `observe serve` printed, with its token")
            if request.path == "/ws" and request.headers.get("Origin") != self.public_url:
                raise web.HTTPForbidden(text="only our own page may open a console")
            response = await handler(request)
            if not response.prepared:
                response.headers["Referrer-Policy"] = "no-referrer"
                response.headers["X-Frame-Options"] = "DENY"
            return response

        return gate
