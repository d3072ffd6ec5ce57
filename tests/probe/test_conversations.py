"""The conversations that agents keep, in the forms in which chat models take messages, as one reads them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.client import connect
from observe.probe.conversations import NEWEST, TEXT_CHARACTERS, conversations_of
from observe.runtime import Agent, Node
from tests.probe.live import private_runtime

Thing = SimpleNamespace

OPENAI = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": [{"type": "text", "text": "Where is it?"}, {"type": "image_url", "image_url": {"url": "data:"}}]},
    {
        "role": "assistant", "content": None, "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "orders", "arguments": '{"number": 7}'}}],
    },
    {"role": "tool", "tool_call_id": "1", "content": "on its way"},
]  # fmt: skip
RESPONSES = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": [{"type": "input_text", "text": "Where is it?"}, {"type": "input_image", "image_url": "data:"}]},
    {"type": "function_call", "name": "orders", "arguments": '{"number": 7}', "call_id": "1"},
    {"type": "function_call_output", "call_id": "1", "output": "on its way"},
]  # fmt: skip
ANTHROPIC = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": [{"type": "text", "text": "Where is it?"}, {"type": "image", "source": {"data": "…"}}]},
    {
        "role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "orders", "input": {"number": 7}}],
        "usage": {"input_tokens": 10, "output_tokens": 3},
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "on its way"}]},
]  # fmt: skip
GEMINI = [
    {"role": "system", "parts": [{"text": "You help."}]},
    {"role": "user", "parts": [{"text": "Where is it?"}, {"inline_data": {"data": "…"}, "type": "image"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "orders", "args": {"number": 7}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "orders", "response": "on its way"}}]},
]
LANGCHAIN = [
    Thing(type="system", content="You help."),
    Thing(type="human", content=[{"type": "text", "text": "Where is it?"}, {"type": "image_url", "image_url": "…"}]),
    Thing(
        type="ai", content="", tool_calls=[{"name": "orders", "args": {"number": 7}, "id": "1"}],
        usage_metadata={"input_tokens": 10, "output_tokens": 3},
    ),
    Thing(type="tool", content="on its way", tool_call_id="1"),
]  # fmt: skip
PYDANTIC_AI = [
    Thing(role="system", kind="request", parts=[Thing(part_kind="system-prompt", content="You help.")]),
    Thing(kind="request", parts=[Thing(part_kind="user-prompt", content="Where is it?"), Thing(part_kind="image")]),
    Thing(
        kind="response", parts=[Thing(part_kind="tool-call", tool_name="orders", args={"number": 7})],
        usage=Thing(input_tokens=10, output_tokens=3),
    ),
    Thing(kind="request", parts=[Thing(part_kind="tool-return", tool_name="orders", content="on its way")]),
]  # fmt: skip


@pytest.mark.parametrize("messages", [OPENAI, RESPONSES, ANTHROPIC, GEMINI, LANGCHAIN, PYDANTIC_AI])
def test_the_same_conversation_reads_alike_in_every_form(messages: list[Any]) -> None:
    [found] = conversations_of([("progress", Thing(turns=messages))])
    assert (found["name"], found["total"]) == ("progress.turns", 4)
    system, user, assistant, tool = found["said"]
    assert (system["role"], system["text"]) == ("system", "You help.")
    assert user["role"] == "user"
    assert user["text"].splitlines()[0] == "Where is it?"
    assert "image" in user["text"]
    assert assistant["role"] == "assistant"
    [call] = assistant["calls"]
    assert call["name"] == "orders"
    assert call["arguments"].replace("'", '"') == '{"number": 7}'
    assert (tool["role"], tool["text"], tool["calls"]) == ("tool", "on its way", [])


@pytest.mark.parametrize("messages", [OPENAI, ANTHROPIC, LANGCHAIN, PYDANTIC_AI])
def test_tokens_are_told_where_the_agent_keeps_them(messages: list[Any]) -> None:
    [found] = conversations_of([("turns", messages)])
    told = list(found["said"][2]["uses"].values())
    assert told[:2] == [10, 3]
    assert not any(one["uses"] for one in found["said"] if one["number"] != 2)


@pytest.mark.parametrize("kind", [list, tuple, deque])
def test_of_a_long_one_the_newest_messages_are_told(kind: Any) -> None:
    turns = kind({"role": "user", "content": f"word {number}"} for number in range(1000))
    [found] = conversations_of([("turns", turns)])
    assert found["total"] == 1000
    assert [one["number"] for one in found["said"]] == list(range(1000 - NEWEST, 1000))
    assert found["said"][-1]["text"] == "word 999"


def test_long_texts_are_cut_in_their_middle() -> None:
    [found] = conversations_of([("turns", [{"role": "user", "content": "a" * 100_000}])])
    assert len(found["said"][0]["text"]) < TEXT_CHARACTERS + 100


def test_secrets_are_masked_and_what_is_called_one_is_not_looked_into() -> None:
    turns = [
        {"role": "user", "content": "my password: hunter2hunter2"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "name": "login", "input": {"api_key": "abc123"}}],
        },
    ]
    [found] = conversations_of(
        [("turns", turns), ("credentials", [{"role": "user", "content": "open sesame"}])]
    )
    assert "hunter2" not in str(found)
    assert "abc123" not in str(found)
    assert found["name"] == "turns"


class Hostile:
    """Whoever looks must not make it act."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)

    def __repr__(self) -> str:
        raise ValueError("no")

    def __len__(self) -> int:
        raise AssertionError("len")


NO_CONVERSATIONS: dict[str, Any] = {
    "numbers": [1, 2, 3],
    "texts": ["hello"],
    "nothing": [],
    "other maps": [{"x": 1}],
    "a role of another kind": [{"role": "admin"}],
    "descriptions of tools": [{"name": "search", "type": "tool"}],
    "one message": {"role": "user", "content": "x"},
    "a text": "role content",
    "hostile elements": [Hostile()],
    "a hostile object": Hostile(),
    "a hostile value": {"a": Hostile()},
    "a hostile role": [{"role": Hostile(), "content": "x"}],
    "mostly other things": [{"role": "user", "content": "hi"}, 1, 2, 3, 4],
    "under a number": {1: [{"role": "user", "content": "x"}]},
}


@pytest.mark.parametrize("what", NO_CONVERSATIONS)
def test_what_is_no_conversation_is_not_taken_for_one(what: str) -> None:
    assert conversations_of([("field", NO_CONVERSATIONS[what])]) == []


def test_a_message_that_holds_what_it_should_not_is_told_nevertheless() -> None:
    loop: list[Any] = []
    loop.append({"type": "text", "content": loop})
    turns = [
        {"role": "user", "content": Hostile()},
        {"role": "user", "content": loop},
        {"role": "assistant", "content": "x", "tool_calls": [None, 3, {"function": None}]},
        {"role": "assistant", "content": b"\xff"},
    ]
    [found] = conversations_of([("turns", turns)])
    assert [one["number"] for one in found["said"]] == [0, 1, 2, 3]


class Chatting(Agent):
    """Keeps what was said."""

    def init(self) -> None:
        self.turns = OPENAI * 30

    async def handle(self, message: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize("worker", [False, True])
async def test_a_console_is_told_the_conversation_of_one_agent(
    monkeypatch: pytest.MonkeyPatch, worker: bool
) -> None:
    """Whether it lives in the node's own process or in another."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))  # where a worker finds the class
    with private_runtime(monkeypatch):
        async with Node("talking") as node, Probe(node):
            await node.spawn(Chatting, name="chatting", isolation="process" if worker else "none")
            async with connect("talking", timeout_s=10.0) as client:
                detail = await client.inspect("chatting")
        [found] = detail.conversations
        assert (found.name, found.total, len(found.said)) == ("turns", 120, NEWEST)
        assert found.said[-1].text == "on its way"
        assert found.said[-2].calls[0].name == "orders"
