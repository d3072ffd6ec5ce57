"""The desk's side of what the service alone knows and can be asked to look up: its log, its dead letters, what is spent, its groups and names."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.retelling import retold
from observe.probe.wire_base import Asked, Told
from observe.probe.wire_budgets import BudgetPage
from observe.probe.wire_letters import DeadLetterPage
from observe.probe.wire_log import LogPage
from observe.probe.wire_names import NamesPage

RESULTS: Final[dict[str, type[Told]]] = {
    "log": LogPage,
    "dead_letters": DeadLetterPage,
    "budgets": BudgetPage,
    "names": NamesPage,
}
"""The verbs that are asked of the service as they are, and what it answers."""


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {verb: partial(_look, hands, verb, model) for verb, model in RESULTS.items()}


def _look(
    hands: Hands, verb: str, model: type[Told], _client: Client, args: Asked, reply: Reply, now: float
) -> None:
    told = retold(hands, verb, model, reply)
    fields: dict[str, Any] = args.to_wire()
    hands.asks.ask(verb, fields, told, now)
