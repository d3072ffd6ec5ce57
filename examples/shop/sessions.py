"""The support sessions: one agent for each, working off one customer's question after the other.

A round is a chain of small steps, each a message of the session to itself:

    ask the model -> do a tool call that it wants (-> the next one) -> ask again -> ... -> its answer -> next round

After each step the result is in the ledger. A step that fails crashes the session; its supervisor starts it again,
`init` reads the ledger, and the step is tried once more. Tool calls carry a key made of session, round and call, so a
call that was done and not recorded is answered from the tool's journal: never lost, never done twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from observe.examples.shop.chat import ChatModel, ModelFault, ModelLimited
from observe.examples.shop.ledger import Ledger, Message
from observe.examples.shop.questions import HURRY, TOOLS, question
from observe.examples.shop.tools import MayI, Told, ToolCall
from observe.runtime import Agent, Contained, Denied, ExitReason

logger = logging.getLogger(__name__)

STEP: Final = "step"
LONGEST_ROUND: Final = 24
"""Messages of a round after which it is closed: a model that only ever calls tools must not go on for good."""

FIRST_PAUSE_S: Final = 1.0
"""After a failure, at least. The restart itself is immediate; this is politeness towards a model in trouble, and it
bounds how often a session can fail, from which the supervisors' intensity follows."""
LONGEST_PAUSE_S: Final = 8.0

DESKS: Final = {"lookup_order": "orders", "open_return": "orders", "search_documents": "search"}


@dataclass(frozen=True, slots=True)
class Team:
    """What all sessions share."""

    ledger: Ledger
    model: ChatModel
    refund: Callable[[str, float], float]
    """What comes back for an item of a price."""
    seed: int = 1
    think_s: float = 8.0
    """Mean pause between two steps of a session: customers and colleagues take their time."""
    gates: int = 4
    orders: int = 2
    search: int = 2


class Session(Agent):
    """Works for one customer after the other."""

    def init(self, number: int, team: Team) -> None:
        self.number = number
        self.name = f"session-{number}"
        self._team = team
        self._chance = random.Random(f"{team.seed} {number} {time.monotonic_ns()}")
        self._timer: asyncio.TimerHandle | None = None
        self.progress = team.ledger.begin(self.name)
        self.waits_for = ""
        if self.progress.failures:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self.progress.failures - 1))
            pause_s += max(0.0, min(LONGEST_PAUSE_S, self.progress.not_before - time.time()))
            self._next_in(pause_s * self._chance.uniform(1.0, 1.5))
        else:
            # Not all at once at the start: customers do not write in chorus.
            self._next_in(self._chance.uniform(0.0, team.think_s))

    async def handle(self, message: str) -> None:
        if message != STEP:
            raise ValueError(f"a session takes no message but {STEP!r}")
        began = time.monotonic()
        self.conversation_id = f"{self.name}/{self.progress.round}"
        turns = self.progress.turns
        self.goal = "return" if _wants_return(turns) else "answer"
        call = _open_call(turns)
        if not turns:
            first = question(self._team.seed, self.name, 0)
            self._team.ledger.next_round(self.name, self.progress, first, time.monotonic() - began)
        elif call is not None:
            answer = await self._use_tool(call)
            if "return_number" in answer:
                answer |= await self._pay_back(call, answer)
            self._record(
                {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(answer)}, "tool", began
            )
        elif turns[-1]["role"] == "assistant" or len(turns) >= LONGEST_ROUND:
            following = question(self._team.seed, self.name, self.progress.round + 1)
            logger.info("answered", extra={"round": self.progress.round, "turns": len(turns)})
            self._team.ledger.next_round(self.name, self.progress, following, time.monotonic() - began)
        else:
            wait_s = await self._ask_gate()
            if wait_s > 0:
                self.waits_for = "the model's gate"
                # Spread out: all who wait at the gate would come at once when it opens.
                self._next_in(wait_s + self._chance.uniform(0.0, self._team.think_s))
                return
            self._record(await self._ask_model(turns), "model", began)
        self.waits_for = ""
        # Exponential pauses: many short ones, some long, as people have them.
        pause_s = min(self._chance.expovariate(1.0), 4.0) * self._team.think_s
        self._next_in(pause_s / 8 if self._is_in_a_hurry else pause_s)

    def terminate(self, reason: ExitReason) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _ask_model(self, turns: list[Message]) -> Message:
        gate = self.node.ref(self._gate)
        model = self._team.model.endpoint.model
        async with self.activity("model:chat", model=model, provider="openai", messages=len(turns)) as chat:
            try:
                message = await self._team.model.answer(turns, TOOLS, chat.usage)
            except ModelFault as fault:
                logger.warning("the model failed: %s", fault, extra={"fault": type(fault).__name__})
                retry_after_s = fault.retry_after_s if isinstance(fault, ModelLimited) else 0.0
                gate.cast(Told(type(fault).__name__, retry_after_s))
                if retry_after_s:
                    self._team.ledger.postpone(self.name, retry_after_s)
                raise
        gate.cast(Told("ok"))
        return message

    async def _ask_gate(self) -> float:
        wait_s = await self.node.ref(self._gate).call(MayI(), timeout=5.0)
        return float(wait_s)

    async def _use_tool(self, call: Message) -> dict[str, Any]:
        tool = str(call["function"]["name"])
        desk = DESKS.get(tool, "orders")
        agents = self._team.search if desk == "search" else self._team.orders
        try:
            arguments = json.loads(call["function"]["arguments"] or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return {"error": "the arguments are no JSON object"}
        key = self._key(call)
        async with self.activity(f"tool:{desk}", tool=tool, call=key):
            answer = await self.node.ref(f"{desk}-{self.number % agents + 1}").call(
                ToolCall(key, tool, arguments), timeout=5.0
            )
        assert isinstance(answer, dict)
        return answer

    async def _pay_back(self, call: Message, returned: dict[str, Any]) -> dict[str, Any]:
        """Pay a return back, if the shop's policies allow it: some refunds wait for a person."""
        amount = self._team.refund(returned["item"], returned["price"])
        order = returned["order_number"]
        desk = self.node.ref(f"orders-{self.number % self._team.orders + 1}")
        payment = ToolCall(
            f"{self._key(call)}/refund", "pay_refund", {"order_number": order, "amount": amount}
        )
        try:
            async with self.activity("tool:refund", order=order, item=returned["item"], amount=amount):
                paid = await desk.call(payment, timeout=5.0)
        except Contained:
            raise  # not about the refund: about this session
        except Denied as error:
            return {"refund_refused": error.why}
        return {"refund": amount, **paid}

    def _key(self, call: Message) -> str:
        return f"{self.name}/{self.progress.round}/{_place(self.progress.turns, call)}"

    @property
    def _is_in_a_hurry(self) -> bool:
        asked = next((turn for turn in self.progress.turns if turn["role"] == "user"), {})
        return HURRY in str(asked.get("content", ""))

    def _record(self, message: Message, kind: str, began: float) -> None:
        self._team.ledger.add_turn(self.name, self.progress, message, kind, time.monotonic() - began)

    @property
    def _gate(self) -> str:
        return f"model-{self.number % self._team.gates + 1}"

    def _next_in(self, seconds: float) -> None:
        ref = self.ref

        def wake() -> None:
            # A killed session runs no `terminate`, and its last timer must not become a dead letter.
            if ref.is_alive:
                ref.cast(STEP)

        self._timer = self.node.loop.call_later(seconds, wake)


def _wants_return(turns: list[Message]) -> bool:
    """Whether something goes back to the shop in this round: then money is at stake, and other tools are usual."""
    asked = next((turn for turn in turns if turn["role"] == "user"), {})
    return re.search(r"\b(return|send back)\b", str(asked.get("content", "")), re.IGNORECASE) is not None


def _open_call(turns: list[Message]) -> Message | None:
    """The first tool call that the model wanted and that has no answer yet."""
    answered = 0
    for message in reversed(turns):
        if message["role"] == "tool":
            answered += 1
            continue
        calls: list[Message] = message.get("tool_calls") or []
        # Answers are recorded in the order of the calls, so their number says where to go on.
        return calls[answered] if answered < len(calls) else None
    return None


def _place(turns: list[Message], call: Message) -> str:
    """What tells this call from all others of its round: the model's own ids may repeat."""
    answered = 0
    for message in reversed(turns):
        if message["role"] != "tool":
            break
        answered += 1
    return f"{len(turns) - answered - 1}.{answered}"
