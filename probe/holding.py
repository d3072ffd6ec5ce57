"""Sentences about whoever holds the scheduler, for people who wait for an answer that cannot come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observe.probe.errors import Refusal
from observe.probe.held_where import SYSTEM, WHERE
from observe.probe.node_watch import Holding
from observe.probe.wire import Held
from observe.probe.wire_base import Frame

if TYPE_CHECKING:
    from observe.probe.picture import Picture


def held_by(holding: Holding, frames: list[Frame], picture: Picture, now_us: int, who: str = "") -> Held:
    """The **held** of the protocol. `who`: what the service calls it, when it is no agent."""
    since_s = max(now_us - holding.since_ns // 1000, 0) / 1e6
    if holding.where in SYSTEM:
        return Held(pid=0, class_name="the operating system", since_s=since_s, where=holding.where)
    row = picture.table.row_of(holding.pid) if holding.pid else None
    if row is not None:
        name, class_name = picture.table.text("name", row), picture.table.text("class", row) or ""
    elif holding.pid:
        name, class_name = None, ""
    else:
        name, class_name = None, "the runtime itself" if holding.running else who or "code outside of agents"
    return Held(
        pid=holding.pid, name=name, class_name=class_name, since_s=since_s, where=holding.where, stack=frames
    )


def describe_holder(held: Held, verb: str = "") -> str:
    """Who, since when, where: `session-3 (pid 17) for 12.3 s, in Python code, at spin.py:12 in spin`; with a verb as a sentence,
    `session-3 (pid 17) holds the scheduler: for 12.3 s, ...`."""
    who = f"{held.name or held.class_name or 'an agent'} (pid {held.pid})" if held.pid else held.class_name
    if verb and held.where in SYSTEM:
        return f"{who} {verb} for {held.since_s:.1f} s: it {WHERE[held.where].removeprefix('which ')}"
    if verb:
        who += f" {verb}:"
    text = f"{who} for {held.since_s:.1f} s, {WHERE.get(held.where, held.where)}"
    if held.stack:
        inner = held.stack[-1]
        text += f", at {inner.file}:{inner.line} in {inner.function}"
        if inner.source:
            text += f": {inner.source}"
    return text


def stack_lines(held: Held) -> list[str]:
    """The inner frames of its stack, a line each, as findings have them."""
    return [
        f"{frame.function} {frame.file}:{frame.line} {frame.source}".strip() for frame in held.stack[-10:]
    ]


def explain(refusal: Refusal, picture: Picture, op: str = "") -> Refusal:
    """Why the node did not answer, when the words can tell; else the refusal as it is."""
    held = picture.held
    if refusal.code not in ("node_timeout", "scheduler_held") or held is None:
        return refusal
    if op == "kill" and held.where == "c":
        return Refusal(
            "scheduler_held",
            f"the node cannot answer: its scheduler is held by {describe_holder(held)}",
            "a call of C code cannot be interrupted; look again when it has returned",
        )
    return Refusal(
        "scheduler_held",
        f"the node cannot answer: its scheduler is held by {describe_holder(held)}",
        "the table, the tree and the vital signs can still be read; nothing else runs until it lets go",
    )
