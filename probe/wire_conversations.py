"""The chat messages that an agent keeps, as a detail of it tells them. No input, no output."""

from __future__ import annotations

from pydantic import Field

from observe.probe.wire_base import Told


class ToolCall(Told):
    """A tool that a model's message calls."""

    name: str
    arguments: str
    """In one line, at most some 200 characters."""


class SaidLine(Told):
    """One message of a conversation."""

    number: int
    """Its place in the list, from 0."""
    role: str
    """`system`, `user`, `assistant`, `tool`, or what the agent calls it."""
    text: str
    calls: list[ToolCall] = Field(default_factory=list)
    uses: dict[str, int] = Field(default_factory=dict)
    """Tokens, where the agent keeps them with the message."""


class ConversationLine(Told):
    """A list of chat messages in an agent's state."""

    name: str
    """The path of the field that holds it."""
    total: int
    said: list[SaidLine]
    """The newest, the newest last."""
