"""A model server: the OpenAI chat-completions API over HTTP/1.1, with streaming and tool calls, and with moods.

    python -m observe.examples.shop.model_server --port 8099 --schedule healthy:40,bad:25

    POST /v1/chat/completions   the API, with "stream": true or false
    GET  /v1/models             the one model that there is
    GET  /mood                  its mood and what it has done so far
    POST /mood                  {"mood": "hang"} fixes the mood, {"mood": null} goes back to the schedule from its start

Standard library only, and one process of its own: what goes wrong here goes wrong over a real socket.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from observe.examples.shop import moods
from observe.examples.shop.brain import Call, Said, decide
from observe.examples.shop.lifetime import until_told

MODEL: Final = "night-shift-1"
BODY_LIMIT_BYTES: Final = 4 * 1024 * 1024
HEAD_LIMIT_BYTES: Final = 64 * 1024
HANG_S: Final = 120.0
"""How long a hung request is kept when its client does not give up."""
REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
                  413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error"}  # fmt: skip


class BadRequest(Exception):
    """The client sent something that this server cannot take."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            content = json.loads(self.body)
        except ValueError as error:
            raise BadRequest(400, f"the body is no JSON: {error}") from None
        if not isinstance(content, dict):
            raise BadRequest(400, "the body is no JSON object")
        return content


@dataclass
class ModelServer:
    """One server on one port. `start` it, `close` it."""

    schedule: moods.Schedule
    seed: int = 1
    pause_s: float = 0.05
    """Between the pieces of a streamed answer: the pace of a model that thinks."""
    fixed_mood: str | None = None
    port: int = 0
    """0 until it listens."""
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    _server: asyncio.Server | None = None
    _began: float = 0.0
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, port: int = 0) -> int:
        """Listen on the loopback address and return the port. Raises OSError when it is taken."""
        self._chance = random.Random(self.seed)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=HEAD_LIMIT_BYTES)
        self._began = time.monotonic()
        address = self._server.sockets[0].getsockname()
        self.port = int(address[1])
        return self.port

    async def close(self) -> None:
        """Stop listening and hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def mood(self) -> str:
        return self.fixed_mood or self.schedule.mood_at(time.monotonic() - self._began)

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client went away, or is none: nobody is left to be told
        except asyncio.CancelledError:
            pass  # the server closes; asyncio's streams would report the cancellation as an error
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; False when the connection has ended."""
        try:
            request = await _read(reader)
        except BadRequest as error:
            await _reply(writer, error.status, {"error": {"message": str(error)}}, close=True)
            return False
        if request is None:
            return False
        try:
            return await self._route(request, reader, writer)
        except BadRequest as error:
            body = {"error": {"message": str(error), "type": "invalid_request_error"}}
            return await _reply(writer, error.status, body)

    async def _route(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                return await self._complete(request.json(), reader, writer)
            case "GET", "/v1/models":
                return await _reply(
                    writer, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
                )
            case "POST", "/mood":
                mood = request.json().get("mood")
                if mood is not None and mood not in moods.MOODS:
                    raise BadRequest(400, f"{mood!r} is no mood; there are {', '.join(moods.MOODS)}")
                self.fixed_mood = mood
                self._began = time.monotonic()
                return await _reply(writer, 200, self._described())
            case "GET", "/mood":
                return await _reply(writer, 200, self._described())
        raise BadRequest(404, f"there is no {request.method} {request.path} here")

    def _described(self) -> dict[str, Any]:
        return {"mood": self.mood, "requests": self.requests, "faults": dict(self.faults)}

    # -- the API -------------------------------------------------------------------------------------------------------

    async def _complete(
        self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        messages = asked.get("messages")
        tools = asked.get("tools") or []
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise BadRequest(400, "messages must be a list of objects")
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise BadRequest(400, "tools must be a list of objects")
        try:
            said = decide(messages, tools, self.seed)
        except (KeyError, TypeError, AttributeError) as error:
            raise BadRequest(400, f"the messages are not shaped as the API has them: {error!r}") from None
        self.requests += 1
        fault = moods.fault_of(self.mood, self._chance)
        if fault is not None:
            self.faults[fault] += 1
        if fault == moods.LIMITED:
            body = {
                "error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}
            }
            return await _reply(writer, 429, body, headers={"Retry-After": str(self._chance.randint(1, 2))})
        if fault == moods.ERROR:
            body = {"error": {"message": "The server had an error", "type": "server_error"}}
            return await _reply(writer, 500, body)
        if fault == moods.HANG:
            # Until the client gives up; what it sends meanwhile is of no interest.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HANG_S):
                    while await reader.read(65_536):
                        pass
            return False
        completion_id = f"chatcmpl-{self.seed}-{self.requests}"
        usage = _usage(messages, said)
        if asked.get("stream"):
            wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
            return await self._stream(writer, said, completion_id, fault, usage if wants_usage else None)
        await asyncio.sleep(self.pause_s)
        if fault == moods.CUT:
            writer.transport.abort()
            return False
        body = _completion(said, completion_id) | {"usage": usage}
        if fault == moods.MALFORMED:
            return await _reply(writer, 200, json.dumps(body)[:-20].encode())
        return await _reply(writer, 200, body)

    async def _stream(
        self,
        writer: asyncio.StreamWriter,
        said: Said,
        completion_id: str,
        fault: str | None,
        usage: dict[str, int] | None,
    ) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        pieces = _pieces(said, completion_id)
        if usage is not None:
            pieces.append({**pieces[-1], "choices": [], "usage": usage})
        for place, piece in enumerate(pieces):
            if place and fault == moods.CUT and place >= len(pieces) // 2:
                writer.transport.abort()
                return False
            text = json.dumps(piece)
            if place and fault == moods.MALFORMED and place >= len(pieces) // 2:
                text = text[: len(text) // 2]
            _write_chunk(writer, f"data: {text}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(self.pause_s)
        _write_chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadRequest(400, "the request ends in its head") from None
        return None
    lines = head.decode("latin-1").split("\r\n")
    first = lines[0].split(" ")
    if len(first) != 3 or not first[2].startswith("HTTP/1."):
        raise BadRequest(400, "this is no HTTP/1.1")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        raise BadRequest(400, "a body needs a Content-Length here")
    if int(length) > BODY_LIMIT_BYTES:
        raise BadRequest(413, f"a body holds at most {BODY_LIMIT_BYTES} bytes here")
    body = await reader.readexactly(int(length)) if int(length) else b""
    return Request(first[0], first[1].partition("?")[0], headers, body)


async def _reply(
    writer: asyncio.StreamWriter,
    status: int,
    body: dict[str, Any] | bytes,
    *,
    headers: dict[str, str] | None = None,
    close: bool = False,
) -> bool:
    """Send a JSON reply; True when the connection stays open."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(content)}", *(["Connection: close"] if close else []), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + content)
    await writer.drain()
    return not close


def _write_chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(content), content))


def _completion(said: Said, completion_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.calls:
        message["tool_calls"] = [_call(call) for call in said.calls]
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(said)}],
    }


def _pieces(said: Said, completion_id: str) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, without the last line `[DONE]`."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for index, call in enumerate(said.calls):
        half = len(call.arguments) // 2
        deltas.append({"tool_calls": [{"index": index, **_call(call, call.arguments[:half])}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": call.arguments[half:]}}]})
    words = said.text.split(" ") if said.text else []
    for at in range(0, len(words), 16):
        blank = " " if at else ""
        deltas.append({"content": blank + " ".join(words[at : at + 16])})
    common = {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
    }
    pieces = [
        {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    pieces.append({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(said)}]})
    return pieces


def _usage(messages: list[dict[str, Any]], said: Said) -> dict[str, int]:
    """Tokens, at four characters each as a rule of thumb has it."""
    sent = sum(len(str(message.get("content") or "")) for message in messages) // 4
    came = (len(said.text) + sum(len(call.arguments) + len(call.name) for call in said.calls)) // 4
    return {"prompt_tokens": sent, "completion_tokens": came, "total_tokens": sent + came}


def _call(call: Call, arguments: str | None = None) -> dict[str, Any]:
    text = call.arguments if arguments is None else arguments
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}


def _finish(said: Said) -> str:
    return "tool_calls" if said.calls else "stop"


# -- the process -------------------------------------------------------------------------------------------------------


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until told to stop; say on stdout where."""
    server = ModelServer(arguments.schedule, seed=arguments.seed, pause_s=arguments.pause)
    port = await server.start(arguments.port)
    print(json.dumps({"url": f"http://127.0.0.1:{port}/v1"}), flush=True)
    try:
        await until_told(arguments.until_stdin_closes)
    finally:
        await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="model_server", description="A chat-completions server with moods.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, said on stdout")
    parser.add_argument(
        "--schedule", type=moods.Schedule.parse, default=moods.Schedule.parse("healthy:45,bad:30")
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between the pieces of an answer")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the parent does")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments))
    except OSError as error:
        sys.exit(f"the model server cannot listen on port {arguments.port}: {error.strerror or error}")


if __name__ == "__main__":
    main()
