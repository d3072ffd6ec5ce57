"""Activities in the words of OpenTelemetry's GenAI conventions, as of v1.41.1 (the last text in the main repository,
2026-05-11, and what backends understand). The names are our own constants: the package of constants marks its as moved.

    model:NAME  -> span `chat {model}`, CLIENT          tool:NAME -> span `execute_tool {tool}`, INTERNAL
    other:NAME  -> span `other:NAME`, INTERNAL          a message with activities -> `invoke_agent {class}`, INTERNAL
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanKind

from observe.runtime import Activity, Agent
from observe.tracing.masking import MASK, mask_text, secrecy

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_ID: Final = "gen_ai.agent.id"
CONVERSATION: Final = "gen_ai.conversation.id"
SESSION: Final = "session.id"
"""Beside the conversation: Phoenix groups by it."""
MODEL: Final = "gen_ai.request.model"
TOOL: Final = "gen_ai.tool.name"
CALL_ID: Final = "gen_ai.tool.call.id"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"
PID: Final = "observe.pid"
NAME: Final = "observe.name"
END_REASON: Final = "observe.end_reason"
COST: Final = "observe.usage.cost"

TEXT: Final = 1000
"""Characters of one attribute."""

ATTRIBUTES: Final = 32
"""Attributes of one activity that are taken over."""

_SAID: Final = {
    "model": MODEL,
    "provider": PROVIDER,
    "conversation": CONVERSATION,
    "conversation_id": CONVERSATION,
    "call": CALL_ID,
    "call_id": CALL_ID,
    "tool": TOOL,
}
"""What an activity may say about itself in short, and the convention's name for it."""


class Shape(NamedTuple):
    """How an activity looks as a span."""

    operation: str
    """`chat`, `execute_tool`, or `activity` for what the conventions have no word for."""
    name: str
    kind: SpanKind
    attributes: dict[str, Any]


def shape_of(agent: Agent, activity: Activity, content: bool) -> Shape:
    """The span of an activity that begins."""
    group, _, rest = activity.name.partition(":")
    attributes = whose(agent)
    for name, value in list(activity.attributes.items())[:ATTRIBUTES]:
        key = _SAID.get(name) or (name if name.startswith("gen_ai.") else "")
        if key:
            attributes[key] = _plain(value)
        elif isinstance(value, bool | int | float):
            attributes[f"observe.activity.{name}"] = value
        elif content:
            attributes[f"observe.activity.{name}"] = MASK if secrecy(name) else _plain(value)
    if CONVERSATION in attributes:
        attributes[SESSION] = attributes[CONVERSATION]
    if group == "model":
        attributes[OPERATION] = operation = rest or "chat"
        attributes.setdefault(PROVIDER, "unknown")
        model = attributes.get(MODEL)
        return Shape(operation, f"{operation} {model}" if model else operation, SpanKind.CLIENT, attributes)
    if group == "tool":
        attributes[OPERATION] = "execute_tool"
        tool = attributes.setdefault(TOOL, rest or "tool")
        return Shape("execute_tool", f"execute_tool {tool}", SpanKind.INTERNAL, attributes)
    attributes["openinference.span.kind"] = "CHAIN"
    return Shape("activity", activity.name[:TEXT], SpanKind.INTERNAL, attributes)


def whose(agent: Agent) -> dict[str, Any]:
    """The attributes that say which agent it was. The pid is never in a span's name: there are too many."""
    pid, name = agent.ref.pid, agent.ref.name
    attributes: dict[str, Any] = {AGENT_NAME: type(agent).__name__, AGENT_ID: name or str(pid), PID: pid}
    if name is not None:
        attributes[NAME] = name
    conversation = vars(agent).get("conversation_id")
    if isinstance(conversation, str):
        attributes[CONVERSATION] = attributes[SESSION] = conversation[:TEXT]
    return attributes


def run_of(agent: Agent) -> Shape:
    """The span of one message of an agent that does something slow."""
    attributes = whose(agent) | {OPERATION: "invoke_agent", PROVIDER: "observe"}
    return Shape("invoke_agent", f"invoke_agent {type(agent).__name__}", SpanKind.INTERNAL, attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else f"<{type(value).__name__}>"
    return mask_text(text[: TEXT + 256])[0][:TEXT]
