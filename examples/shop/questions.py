"""What customers ask: a function of the seed, the session and the round."""

from __future__ import annotations

import random
from typing import Any, Final

from observe.examples.shop.orders import FIRST_ORDER, MACHINES, ORDERS

QUESTIONS: Final = (
    "Where is my order {order}? It should have been here days ago.",
    "I want to return order {order}. What do I have to do?",
    "My order {order} arrived damaged, one piece is broken.",
    "Can I still change the delivery address of order {order}?",
    "When does the refund for order {order} arrive on my card?",
    "A piece of order {order} is missing from the parcel.",
    "I would like to send back the things from order {order}.",
    "The kettle from order {order} clicks off before it boils. Is that a warranty case?",
    "I need the invoice for order {order} with our tax number.",
    "My card was declined for order {order}. Will it be charged twice?",
    "What can I buy with a gift card, and how long is it valid?",
    "My coffee grinder hums and does not turn. What can I do?",
    "Please cancel order {order}.",
)

DEAR: Final = "I want to return order {order}, the espresso machine, and I need the money back today."
"""A refund that a person is asked about."""
DEAR_SESSION: Final = "session-7"
"""Where the first of them comes in, right at the start."""
DEAR_EVERY: Final = 600
"""One in so many later questions: of 400 sessions about one a minute."""

HURRY: Final = "today"
"""Who writes this gets their steps sooner."""

INSTRUCTIONS: Final = (
    "You are on the night shift of a kitchen shop's support desk. Look orders up before you speak about them, open a "
    "return when the customer wants to send something back, search the handbook for our rules, then write one short "
    "and friendly answer."
)

TOOLS: Final[list[dict[str, Any]]] = [
    {
        "type": "function",
        "function": {
            "name": "lookup_order",
            "description": "What an order holds, where it is and its tracking number.",
            "parameters": {
                "type": "object",
                "properties": {"order_number": {"type": "integer"}},
                "required": ["order_number"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "open_return",
            "description": "Open a return for a delivered order and mail the label.",
            "parameters": {
                "type": "object",
                "properties": {"order_number": {"type": "integer"}},
                "required": ["order_number"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "search_documents",
            "description": "Search the support handbook.",
            "parameters": {
                "type": "object",
                "properties": {"query": {"type": "string"}},
                "required": ["query"],
            },
        },
    },
]


def question(seed: int, session: str, round_number: int) -> list[dict[str, Any]]:
    """The messages with which a round begins."""
    chance = random.Random(f"{seed} {session} {round_number}")
    is_dear = session == DEAR_SESSION if round_number == 0 else chance.randrange(DEAR_EVERY) == 0
    if is_dear:
        number = FIRST_ORDER + ORDERS + chance.randrange(MACHINES)
        return [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": DEAR.format(order=number)},
        ]
    text = chance.choice(QUESTIONS).format(order=chance.randrange(FIRST_ORDER, FIRST_ORDER + ORDERS))
    return [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}]
