"""What the model server's model says. A function of the conversation and the seed: no luck, no learning.

It works a question off as a real model would: looks the order up, opens a return when that is asked for, searches the
handbook, and writes an answer from what the tools said.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]

ORDER_NUMBER = re.compile(r"\b\d{5}\b")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model wants run."""

    id: str
    name: str
    arguments: str
    """JSON text, as the API has it."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of the model: words, or calls."""

    text: str
    calls: tuple[Call, ...] = ()


def decide(messages: Sequence[Message], tools: Sequence[Message], seed: int) -> Said:
    """The model's next turn."""
    start = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    question = _text(messages[start]) if start >= 0 else ""
    called: list[str] = []
    answers: dict[str, Any] = {}
    names: dict[str, str] = {}
    for message in messages[start + 1 :]:
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
            called.append(call["function"]["name"])
        if message.get("role") == "tool":
            answers[names.get(str(message.get("tool_call_id")), "")] = _json(_text(message))
    offered = {tool.get("function", {}).get("name") for tool in tools}
    wanted = [
        (name, arguments) for name, arguments in _plan(question) if name in offered and name not in called
    ]
    dice = hashlib.sha256(f"{seed} {len(messages)} {question}".encode()).digest()
    if wanted:
        # Now and then two calls at once, as real models make them.
        several = 2 if dice[0] < 64 else 1
        return Said(
            "",
            tuple(
                Call(f"call_{dice.hex()[:16]}{place}", name, json.dumps(arguments))
                for place, (name, arguments) in enumerate(wanted[:several])
            ),
        )
    return Said(_answer(answers, dice[1]))


def _plan(question: str) -> list[tuple[str, dict[str, Any]]]:
    plan: list[tuple[str, dict[str, Any]]] = []
    number = ORDER_NUMBER.search(question)
    if number:
        plan.append(("lookup_order", {"order_number": int(number.group())}))
        if re.search(r"\b(return|send back)\b", question, re.IGNORECASE):
            plan.append(("open_return", {"order_number": int(number.group())}))
    plan.append(("search_documents", {"query": ORDER_NUMBER.sub("", question).strip() or "answer"}))
    return plan


def _answer(answers: dict[str, Any], dice: int) -> str:
    parts = [("Hello,", "Good evening,", "Thank you for writing.")[dice % 3]]
    order = answers.get("lookup_order", {})
    if "item" in order:
        parts.append(
            f"your {order['item']} (order {order['number']}) is {order['status']}, tracking {order['tracking']}."
        )
    elif "error" in order:
        parts.append(f"I am sorry: {order['error']}.")
    opened = answers.get("open_return", {})
    if "return_number" in opened:
        parts.append(
            f"I have opened return {opened['return_number']}; the label is on its way to you by mail."
        )
        if "refund" in opened:
            parts.append(f"{opened['refund']:.2f} are on their way back to you.")
        elif "refund_refused" in opened:
            parts.append("About the money a colleague writes to you.")
    elif "error" in opened:
        parts.append(f"A return is not possible yet: {opened['error']}.")
    for document in answers.get("search_documents", {}).get("documents", ())[:1]:
        parts.append(f"From our handbook, {document['title']}: {document['text']}")
    parts.append(("Kind regards, Mara", "Best wishes, Tom", "Yours, Noor")[dice // 3 % 3])
    return " ".join(parts)


def _text(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
