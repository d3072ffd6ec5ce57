"""Fields whose changes are on record: what an agent class declares as `audited`, compared after each message.

    class Account(Agent):
        audited = ("balance",)

    message --> handle --> Fields.on_end: another value than before? --> feed: `audited` --> the audit log

Whoever does not declare any costs one look at its class when it starts. Of those that do, each message costs the writing
down of these fields, as `inspect` shows them; what is called like a secret is compared and not shown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from observe.probe.describe_names import line
from observe.runtime.agent import Agent
from observe.runtime.errors import ActionRefused
from observe.runtime.node import Node
from observe.runtime.taps import Handled, Tap, tap, untap
from observe.tracing.masking import MASK, secrecy
from observe.tracing.payload import MESSAGE, encode
from observe.tracing.references import reference

logger = logging.getLogger("observe.probe")

ABSENT: Final = "(absent)"
"""The agent has no such attribute, or none yet."""

MOST_FIELDS: Final = 50
"""Of one class; further ones are not compared, and the log says so."""

Report = Callable[[tuple[str, dict[str, Any]]], None]


class Fields(Tap):
    """Listens to the agents of one node that have audited fields. Belongs to the scheduler's thread."""

    def __init__(self, node: Node, report: Report) -> None:
        self._node = node
        self._report = report
        self._known: dict[int, dict[str, str]] = {}
        """By pid: the newest value of each field, as text."""
        self._told: set[type[Agent]] = set()

    def statistics(self) -> dict[str, int]:
        """How many agents are followed."""
        return {"audited": len(self._known)}

    def spawned(self, agent: Agent) -> None:
        """An agent that has audited fields has started."""
        if len(agent.audited) > MOST_FIELDS and type(agent) not in self._told:
            self._told.add(type(agent))
            logger.warning("of %s only the first %d audited fields are compared", type(agent), MOST_FIELDS)
        try:
            tap(agent, self)
        except ActionRefused as refused:  # it runs in a worker, or is a supervisor
            if type(agent) not in self._told:
                self._told.add(type(agent))
                logger.warning("changes of its audited fields are not on record: %s", refused)

    def end(self) -> None:
        """Follow nobody any more."""
        for pid in list(self._known):
            agent = self._node.agents.get(pid)
            if agent is not None:
                untap(agent, self)
        self._known.clear()

    def ended(self, pid: int) -> None:
        """It is gone."""
        self._known.pop(pid, None)

    def on_begin(self, agent: Agent, message: Any) -> None:
        """Before a message: what has changed since the last one, an operator or a task of the agent's has changed."""
        known = self._known.get(agent._o_pid)
        if known is None:
            self._known[agent._o_pid] = _texts(agent)
        else:
            self._compare(agent, known, "outside of a message")

    def on_end(self, agent: Agent, handled: Handled) -> None:
        """After one, however it went."""
        known = self._known.get(agent._o_pid)
        if known is not None:
            self._compare(agent, known, "")

    def _compare(self, agent: Agent, known: dict[str, str], how: str) -> None:
        now = _texts(agent)
        if now == known:
            return
        self._known[agent._o_pid] = now
        name = agent._o_child.name
        diff = [
            {"path": f"/{field}", "old": _shown(field, known.get(field, ABSENT)), "new": _shown(field, new)}
            for field, new in now.items()
            if known.get(field, ABSENT) != new
        ]
        facts = {"pid": agent._o_pid, "name": None if name is None else line(name)}
        about = {"at": time.time(), "class": line(type(agent).__name__), "how": how, "diff": diff}
        about |= reference(self._node, agent._o_pid)
        self._report(("audited", facts | about))


def _texts(agent: Agent) -> dict[str, str]:
    return {field: _text(agent, field) for field in agent.audited[:MOST_FIELDS]}


def _text(agent: Agent, field: str) -> str:
    try:
        value = getattr(agent, field)
    except AttributeError:
        return ABSENT
    except Exception as error:  # noqa: BLE001  # a property of a stranger: what it raises is what there is to see
        return f"({type(error).__name__})"
    return str(encode(value, MESSAGE)["text"])


def _shown(field: str, text: str) -> str:
    return MASK if text != ABSENT and secrecy(field) else text
