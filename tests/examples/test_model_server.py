"""The demo's model server, over real sockets, by a client that is not ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from observe.examples.shop import moods
from observe.examples.shop.brain import decide
from observe.examples.shop.model_server import ModelServer
from observe.examples.shop.questions import TOOLS

QUESTION = {"role": "user", "content": "I want to return order 10042. What do I have to do?"}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    server = ModelServer(moods.Schedule.parse("healthy:3600"), seed=7, pause_s=0.0)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[httpx.AsyncClient]:
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=5.0) as client:
        yield client


async def ask(client: httpx.AsyncClient, *messages: dict[str, Any], stream: bool = False) -> httpx.Response:
    body = {"model": "any", "messages": [QUESTION, *messages], "tools": TOOLS, "stream": stream}
    return await client.post("/v1/chat/completions", json=body)


async def test_it_lists_its_model(client: httpx.AsyncClient) -> None:
    """Tools that speak the API look there first."""
    answer = (await client.get("/v1/models")).json()
    assert [model["id"] for model in answer["data"]] == ["night-shift-1"]


async def test_it_wants_a_tool_before_it_answers(client: httpx.AsyncClient) -> None:
    """A model that answers without looking anything up would leave the tools of the demo idle."""
    choice = (await ask(client)).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    function = choice["message"]["tool_calls"][0]["function"]
    assert function["name"] == "lookup_order"
    assert json.loads(function["arguments"]) == {"order_number": 10042}


async def test_a_stream_says_the_same_as_a_whole_answer(client: httpx.AsyncClient) -> None:
    """Clients may choose; the pieces put together are the answer."""
    whole = (await ask(client)).json()["choices"][0]["message"]
    lines = [line[6:] for line in (await ask(client, stream=True)).text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    wanted = whole["tool_calls"][0]["function"]
    first = [part for part in parts if part["index"] == 0]
    assert first[0]["function"]["name"] == wanted["name"]
    assert "".join(part["function"]["arguments"] for part in first) == wanted["arguments"]


async def test_it_ends_with_an_answer_that_uses_what_the_tools_said(client: httpx.AsyncClient) -> None:
    """The answers must depend on the database, or the demo proves nothing about tool calls."""
    said = {
        "lookup_order": {"number": 10042, "item": "teapot", "status": "delivered", "tracking": "TR1"},
        "open_return": {"return_number": "R77"},
        "search_documents": {"documents": [{"title": "Returning an order", "text": "30 days"}]},
    }
    messages: list[dict[str, Any]] = []
    for _ in range(4):
        message = (await ask(client, *messages)).json()["choices"][0]["message"]
        messages.append(message)
        for call in message.get("tool_calls", ()):
            content = json.dumps(said[call["function"]["name"]])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        if message["content"]:
            break
    assert "teapot" in messages[-1]["content"]
    assert "R77" in messages[-1]["content"]


def test_the_same_seed_says_the_same() -> None:
    """A demo that goes wrong must go wrong again."""
    assert decide([QUESTION], TOOLS, 3) == decide([QUESTION], TOOLS, 3)


async def test_a_limited_model_says_when_to_come_back(server: ModelServer, client: httpx.AsyncClient) -> None:
    """Retry-After is what a polite client goes by."""
    server.fixed_mood = moods.LIMITED
    answer = await ask(client)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


async def test_an_error_is_a_status_with_a_json_body(server: ModelServer, client: httpx.AsyncClient) -> None:
    """As the real API has it."""
    server.fixed_mood = moods.ERROR
    answer = await ask(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")


async def test_a_malformed_stream_has_a_line_that_is_no_json(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    """Status 200 and half a document: the fault that clients forget."""
    server.fixed_mood = moods.MALFORMED
    answer = await ask(client, stream=True)
    assert answer.status_code == 200
    lines = [line[6:] for line in answer.text.splitlines() if line and not line.endswith("[DONE]")]
    with pytest.raises(ValueError):
        [json.loads(line) for line in lines]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_answer_ends_the_connection(
    server: ModelServer, client: httpx.AsyncClient, stream: bool
) -> None:
    """Proxies and restarts do this to long answers."""
    server.fixed_mood = moods.CUT
    with pytest.raises(httpx.TransportError):
        await ask(client, stream=stream)


async def test_a_hung_request_is_never_answered_and_ends_with_its_client(
    server: ModelServer, client: httpx.AsyncClient
) -> None:
    """A client without a time-out would wait for good; one with a time-out frees the server's connection."""
    server.fixed_mood = moods.HANG
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/v1/chat/completions", json={"messages": [QUESTION]}, timeout=0.1)
    server.fixed_mood = None
    assert (await ask(client)).status_code == 200


async def test_the_mood_can_be_set_and_taken_back(client: httpx.AsyncClient) -> None:
    """The headless demo decides itself when the trouble starts and ends."""
    assert (await client.post("/mood", json={"mood": "error"})).json()["mood"] == "error"
    assert (await ask(client)).status_code == 500
    assert (await client.post("/mood", json={"mood": None})).json()["mood"] == "healthy"
    seen = (await client.get("/mood")).json()
    assert (seen["requests"], seen["faults"]) == (1, {"error": 1})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"messages": 3}', 400),
        ("/v1/chat/completions", b'{"messages": [{"role": "assistant", "tool_calls": [{}]}]}', 400),
        ("/mood", b'{"mood": "furious"}', 400),
        ("/nowhere", b"{}", 404),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    client: httpx.AsyncClient, path: str, body: bytes, status: int
) -> None:
    """Whoever writes a client of their own against the demo learns something."""
    answer = await client.post(path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_schedule_goes_through_its_spells_and_starts_again() -> None:
    """The demo lives on: after each outage comes a calm."""
    schedule = moods.Schedule.parse("healthy:40, bad:20")
    assert [schedule.mood_at(at) for at in (0, 39.9, 40, 59.9, 60, 101)] == [
        "healthy", "healthy", "bad", "bad", "healthy", "bad",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "healthy", "healthy:0", "healthy:-1", "furious:3", "bad:soon", "bad:inf"]
)
def test_a_schedule_that_makes_no_sense_is_refused(text: str) -> None:
    """At the start, not at three in the morning."""
    with pytest.raises(ValueError, match=r"mood|seconds"):
        moods.Schedule.parse(text)
