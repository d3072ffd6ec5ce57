"""Pictures of single agents, for the control link: from the runtime's objects to the maps of docs/protocol.md 1.4."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from observe.probe.conversations import conversations_of
from observe.probe.describe_names import line, named
from observe.probe.describe_standing import (
    budget_map,
    budgets_above_map,
    checkpoint_map,
    ladder_map,
    ties_map,
)
from observe.probe.pasts import pasts_of
from observe.runtime.agent import Agent
from observe.runtime.exits import Crash
from observe.runtime.node import Node
from observe.runtime.snapshot import STATUS_NAMES, row_values
from observe.runtime.stacks import Stack
from observe.runtime.supervisor import Supervisor
from observe.tracing.by_risk import share_traced
from observe.tracing.kinds import fields_of
from observe.tracing.payload import MESSAGE, STATE, Limits, Value, clean_block, encode, encode_fields

MAILBOX_SECONDS: Final = 0.02
"""Time for the messages of a mailbox; what is left then is counted and not shown."""

MAX_CHILDREN: Final = 100


def crash_map(crash: Crash, in_full: bool = True) -> dict[str, Any]:
    """A **crash**, in full or without what costs most of the time: its traceback and its message."""
    traceback = clean_block(crash.traceback) if in_full else "(left out: there were many crashes at once)"
    return {
        "at": crash.at,
        "pid": crash.pid,
        "name": None if crash.name is None else line(crash.name),
        "class": line(crash.class_name),
        "child": line(crash.child_id),
        "supervisor": crash.supervisor_pid,
        "reason": line(crash.reason),
        "kind": line(crash.kind),
        "traceback": traceback,
        "message": encode(crash.message, MESSAGE) if crash.has_message and in_full else None,
        "fingerprint": crash.fingerprint,
    }


def stack_map(agent: Agent, stack: Stack) -> dict[str, Any]:
    """A **stack**."""
    return {
        "pid": agent.ref.pid,
        "status": stack.status,
        "frames": [
            {
                "file": line(frame.file, 1000),
                "line": frame.line or 0,
                "function": line(frame.function),
                "source": line(frame.source),
            }
            for frame in stack.frames
        ],
        "waiting_on": None if stack.waiting_on is None else line(stack.waiting_on),
        "note": stack.note,
    }


HERE: Final = frozenset({"mailbox", "relations", "last crash", "ties", "ladder", "budgets above"})
"""Parts of a picture that the node's own process has, also of an agent in another process."""

ELSEWHERE: Final = frozenset(
    {"state", "stack", "activities", "past", "checkpoint", "budget", "risk", "conversations"}
)
"""Parts that only the agent's process has."""


def detail_map(
    node: Node, agent: Agent, max_items: int, only: frozenset[str] = HERE | ELSEWHERE
) -> dict[str, Any]:
    """What **detail** needs from the live agent; the probe adds the agent's row. On the scheduler's thread.

    A part that cannot be had is left out, and `note` says why: half a picture helps, none does not.
    """
    detail: dict[str, Any] = {"module": line(type(agent).__module__), "doc": _first_line(agent)}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "state": lambda: {"state": _state(agent, max_items)},
        "mailbox": lambda: _mailbox(node, agent, max_items),
        "stack": lambda: {"stack": stack_map(agent, node.control.stack(agent))},
        "relations": lambda: _relations(node, agent),
        "last crash": lambda: _last_crash(node, agent),
        "activities": lambda: {"activities": _activities(agent)},
        "past": lambda: pasts_of(node).look(agent),
        "ties": lambda: {"ties": ties_map(agent)},
        "ladder": lambda: {"ladder": ladder_map(agent)},
        "checkpoint": lambda: {"checkpoint": checkpoint_map(agent)},
        "budget": lambda: {"budget": budget_map(agent)},
        "budgets above": lambda: {"budgets_above": budgets_above_map(agent)},
        "conversations": lambda: {"conversations": conversations_of(_fields(agent))},
        "risk": lambda: {"risk_traced": share_traced(node, agent._o_pid)},
    }
    notes = []
    for name, part in parts.items():
        if name not in only:
            continue
        try:
            detail |= part()
        except Exception as error:  # noqa: BLE001  # an agent may be as broken as it likes: the note says so
            notes.append(f"{name} cannot be shown: {type(error).__name__}")
    detail["note"] = "; ".join(notes)
    return detail


def _first_line(agent: Agent) -> str:
    doc = type(agent).__dict__.get("__doc__")
    return line(inspect.cleandoc(doc).partition("\n")[0]) if isinstance(doc, str) else ""


def _state(agent: Agent, max_items: int) -> Value:
    limits = (
        STATE if max_items == STATE.items else Limits(items=max_items, nodes=max(STATE.nodes, 2 * max_items))
    )
    return encode_fields(line(type(agent).__name__), _fields(agent), limits)


def _fields(agent: Agent) -> list[tuple[str, object]]:
    """The fields that are its author's."""
    return [field for field in fields_of(agent, (Agent, Supervisor)) if not field[0].startswith("_o_")]


def _mailbox(node: Node, agent: Agent, max_items: int) -> dict[str, Any]:
    messages, total = node.control.mailbox(agent, max_items)
    return {"mailbox": _encoded(messages), "mailbox_total": total}


def _encoded(messages: Iterable[object]) -> list[Value]:
    deadline = time.perf_counter() + MAILBOX_SECONDS
    shown: list[Value] = []
    for message in messages:
        shown.append(encode(message, MESSAGE))
        if time.perf_counter() > deadline:
            break
    return shown


def _relations(node: Node, agent: Agent) -> dict[str, Any]:
    relations = node.control.relations(agent, MAX_CHILDREN)
    supervisor = relations.supervisor
    return {
        "supervisor": None if supervisor is None else named(supervisor),
        "children": [
            {
                **named(child.agent),
                "status": STATUS_NAMES[row_values([child.agent], lambda _: 0)[1]],
                "child": line(str(child.id)),
                "restarts": child.restarts,
            }
            for child in relations.children
            if child.agent is not None
        ],
        "children_total": relations.children_total,
        "spec": {
            str(name): part if isinstance(part, bool | int | float) or part is None else line(part)
            for name, part in (relations.spec or {}).items()
        },
    }


def _last_crash(node: Node, agent: Agent) -> dict[str, Any]:
    crash = node.control.last_crash(agent)
    return {"last_crash": None if crash is None else crash_map(crash)}


def _activities(agent: Agent) -> list[dict[str, Any]]:
    now_us = time.monotonic_ns() // 1000
    shown = []
    for activity in list(agent._o_activities or ())[:MAX_CHILDREN]:
        attributes = encode(activity.attributes, MESSAGE).get("items", [])
        shown.append(
            {
                "name": line(activity.name),
                "since_s": max(0.0, (now_us - activity.since_us) / 1e6),
                "attributes": {key: value["text"] for key, value in attributes},
            }
        )
    return shown
