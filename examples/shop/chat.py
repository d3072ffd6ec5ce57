"""A client for the chat-completions API, streaming, over httpx. Every way in which a model fails has its own error.

ModelFault
 +-- ModelSilent     no answer, or no further piece of it, in time
 +-- ModelLimited    429: come back later; `.retry_after_s` says when
 +-- ModelRefused    another status than 200
 +-- ModelGarbled    the answer is no JSON, or not shaped as the API has it
 +-- ModelCut        the connection ended in the middle of the answer
"""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

Message = dict[str, Any]

RETRY_AFTER_S: Final = 1.0
"""For a 429 that does not say how long."""
RETRY_AFTER_LIMIT_S: Final = 60.0


class ModelFault(Exception):
    """The model did not do what it should. What the step was about to do is not done and can be tried again."""


class ModelSilent(ModelFault):
    """No answer in time."""


class ModelLimited(ModelFault):
    """Too many requests."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the model takes no more requests for {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class ModelRefused(ModelFault):
    """An error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the model answered with status {status}: {text[:200]}")
        self.status = status


class ModelGarbled(ModelFault):
    """An answer that cannot be read."""


class ModelCut(ModelFault):
    """Half an answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is."""

    url: str
    """Base URL of the API, such as `http://127.0.0.1:8099/v1`."""
    model: str
    api_key: str = field(default="none", repr=False)
    """Named so that it is masked wherever the state is shown."""
    timeout_s: float = 3.0
    """For one whole answer."""
    price: tuple[float, float] = (0.0, 0.0)
    """Of a token that is sent, and of one that comes; 0 where we do not know."""


class ChatModel:
    """Asks one endpoint. Shared by all sessions of a process: they share its connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {endpoint.api_key}"},
            # Each session waits for one answer at most; no session should wait for another's connection.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0),
            timeout=endpoint.timeout_s,
            trust_env=not endpoint.url.startswith("http://127.0.0.1"),
        )
        self._url = endpoint.url.rstrip("/") + "/chat/completions"

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def answer(
        self, messages: list[Message], tools: list[Message], used: Callable[..., None] | None = None
    ) -> Message:
        """The model's next message: `content`, `tool_calls` or both. `used` is told what it took, as `Activity.usage` is.

        Raises:
            ModelFault: there is none; the subclass says why.
        """
        body = {"model": self.endpoint.model, "messages": messages, "tools": tools, "stream": True}
        body["stream_options"] = {"include_usage": True}
        limit = self.endpoint.timeout_s
        try:
            async with asyncio.timeout(limit), self._client.stream("POST", self._url, json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _refusal(response)
                message, tokens = await _assemble(response)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ModelSilent(f"the model gave no whole answer within {limit:g} s") from error
        except (httpx.NetworkError, httpx.ProtocolError) as error:
            raise ModelCut(f"the connection to the model ended: {error or type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise ModelGarbled(f"the model's answer cannot be read: {error}") from error
        if used is not None:
            cost = sum(map(operator.mul, tokens, self.endpoint.price))
            used(input_tokens=tokens[0], output_tokens=tokens[1], cost=cost)
        return message


def _refusal(response: httpx.Response) -> ModelFault:
    if response.status_code != 429:
        return ModelRefused(response.status_code, response.text)
    try:
        wait_s = float(response.headers.get("retry-after", RETRY_AFTER_S))
    except ValueError:  # the header may also hold a date; nobody's chat API sends one
        wait_s = RETRY_AFTER_S
    return ModelLimited(min(max(0.0, wait_s), RETRY_AFTER_LIMIT_S))


async def _assemble(response: httpx.Response) -> tuple[Message, tuple[int, int]]:
    """Put the pieces of a stream together: the message, and the tokens that went there and came, as far as they are told."""
    tokens = (0, 0)
    text: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return _message("".join(text), [calls[index] for index in sorted(calls)]), tokens
        try:
            # The last piece may hold the usage alone, and no choice.
            piece = json.loads(data)
            usage = piece.get("usage") or {}
            tokens = (
                int(usage.get("prompt_tokens", tokens[0])), int(usage.get("completion_tokens", tokens[1]))
            )  # fmt: skip
            for choice in piece["choices"][:1]:
                delta = choice["delta"]
                text.append(delta.get("content") or "")
                for part in delta.get("tool_calls") or ():
                    call = calls.setdefault(part.get("index", 0), {"id": "", "name": "", "arguments": ""})
                    call["id"] = part.get("id") or call["id"]
                    call["name"] += part.get("function", {}).get("name") or ""
                    call["arguments"] += part.get("function", {}).get("arguments") or ""
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelGarbled(f"a piece of the answer is malformed: {data[:80]}") from error
    raise ModelCut("the answer ended without its last line")


def _message(text: str, calls: list[dict[str, str]]) -> Message:
    if not text and not calls:
        raise ModelGarbled("the model said nothing")
    message: Message = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {
                "id": call["id"] or f"call_{place}",
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for place, call in enumerate(calls)
        ]
    return message
