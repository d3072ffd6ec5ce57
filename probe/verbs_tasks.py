"""The desk's side of the verbs about asyncio tasks: read the filter, ask the service, record what is cancelled."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.filters import Comparison, Language, parse
from observe.probe.retelling import retold
from observe.probe.wire_actions import Acted
from observe.probe.wire_tasks import (
    TASK_COLUMNS,
    TASK_STATES,
    TASK_TEXT_COLUMNS,
    CancelTaskArgs,
    TaskArgs,
    TaskDetail,
    TasksArgs,
    TasksPage,
)

TASKS: Final = Language(
    "table of tasks", TASK_COLUMNS, TASK_TEXT_COLUMNS, {"age_s": "seconds"}, {"state": TASK_STATES}
)


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {
        "tasks": partial(_tasks, hands),
        "task": partial(_task, hands),
        "cancel_task": partial(_cancel_task, hands),
    }


def _tasks(hands: Hands, _client: Client, args: TasksArgs, reply: Reply, now: float) -> None:
    if args.sort not in TASK_COLUMNS:
        raise Refusal(
            "no_such_column",
            f"the table of tasks has no column {args.sort!r}",
            f"it has {', '.join(TASK_COLUMNS)}",
        )
    fields = args.to_wire() | {"terms": terms_of(args.filter)}
    del fields["filter"]
    hands.asks.ask("tasks", fields, retold(hands, "tasks", TasksPage, reply), now)


def _task(hands: Hands, _client: Client, args: TaskArgs, reply: Reply, now: float) -> None:
    hands.asks.ask("task", {"task": args.task}, retold(hands, "task", TaskDetail, reply), now)


def _cancel_task(hands: Hands, client: Client, args: CancelTaskArgs, reply: Reply, now: float) -> None:
    def carry_out(done: Reply) -> None:
        answered = retold(hands, "cancel_task", Acted, done)
        hands.asks.ask(
            "cancel_task", {"task": args.task, "reason": args.reason}, answered, now, late=answered
        )

    hands.commands.submit(
        "cancel_task", args, client.holder, {"task": args.task}, time.time(), carry_out, reply
    )


def terms_of(text: str) -> list[list[Any]]:
    """A filter as `observe.probe.task_filters` applies it.

    Raises:
        FilterError: it cannot be read.
    """
    terms: list[list[Any]] = []
    for term in parse(text, TASKS):
        if isinstance(term, Comparison):
            terms.append(["is", term.negated, term.column, term.operator, list(term.values)])
        else:
            terms.append(["text", term.negated, term.text])
    return terms
