"""The service's side of actions on agents: from the op of the control link to the runtime, and what came of it back.

An action that takes time is answered after `PATIENCE_S` at the latest, with `done` false; it goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from observe.probe.actions_elsewhere import (
    EVERYWHERE,
    FORWARDED,
    act_elsewhere,
    also_in_workers,
)
from observe.probe.answers_containment import contain
from observe.probe.canary import Canaries
from observe.probe.describe_names import line
from observe.probe.editing import converted, find
from observe.runtime import actions
from observe.runtime.actions import Acted
from observe.runtime.actions_approvals import ON_APPROVALS
from observe.runtime.actions_letters import ON_LETTERS
from observe.runtime.actions_tasks import ON_TASKS
from observe.runtime.agent import Agent
from observe.runtime.calls import Call
from observe.runtime.errors import ActionRefused, NoSuchAgent, NoSuchTask, RuntimeFault
from observe.runtime.node import Node
from observe.runtime.wording import counted
from observe.tracing.masking import MASK, secrecy
from observe.tracing.payload import MESSAGE, encode

PATIENCE_S: Final = 1.3
"""How long the answer waits for what was begun. The probe itself waits 2 s."""

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]
"""Takes code, message and hint."""


class Actions:
    """Carries out actions. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        canaries = Canaries(node)
        self._under_way: set[asyncio.Task[None]] = set()
        self.ops: dict[str, Callable[[dict[str, Any]], actions.Result]] = {
            **{
                op: partial(self._on_agent, action)
                for op, action in (actions.ON_AGENTS | ON_APPROVALS).items()
            },
            **{
                op: partial(self._on_node, action)
                for op, action in (actions.ON_NODE | ON_TASKS | ON_LETTERS).items()
            },
            "edit": self._edit,
            "mailbox": self._mailbox,
            "contain": partial(contain, node),
            "canary": lambda _request: canaries.release(),
        }

    def take(self, op: str, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        """Carry out one op; exactly one of `tell` and `fail` is called, now or later."""
        pid = request.get("pid")
        agent = self._node.agents.get(pid) if type(pid) is int else None
        away = agent._o_away if agent is not None else None
        if agent is not None and away is not None and op in FORWARDED:
            if request.get("do") == "move":
                self._agent(request.get("to"))  # whoever is to have the messages is there
            self._keep(act_elsewhere(op, request, agent, away, tell, fail), op)
            return
        began = time.monotonic()

        def told(acted: Acted) -> None:
            facts = dict(acted.facts)
            diff, dry_run = facts.pop("diff", []), facts.pop("dry_run", False)
            took_s = time.monotonic() - began
            tell(
                {
                    "done": acted.done,
                    "what": line(acted.what),
                    "pid": acted.pid,
                    "took_s": took_s,
                    "dry_run": dry_run,
                    "diff": diff,
                    "facts": {
                        name: part if type(part) in (int, bool, float) else line(str(part))
                        for name, part in facts.items()
                    },
                }
            )

        try:
            result = self.ops[op](request)
        except (NoSuchAgent, NoSuchTask):
            raise
        except RuntimeFault as fault:
            fail("refused", str(fault), "")
            return
        if op in EVERYWHERE and isinstance(result, Acted):
            others = also_in_workers(self._node, op, request)
            if others:
                result.what += f"; {others} worker processes do the same"
                result.facts["workers"] = others
        if isinstance(result, Acted):
            told(result)
            return
        self._keep(self._follow(op, request, result, told, fail), op)

    def _keep(self, doing: Coroutine[Any, Any, None], op: str) -> None:
        task = self._node.loop.create_task(doing, name=f"observe:{op}")
        self._under_way.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._under_way.discard)

    async def _follow(
        self,
        op: str,
        request: dict[str, Any],
        result: Coroutine[Any, Any, Acted],
        told: Callable[[Acted], None],
        fail: Fail,
    ) -> None:
        doing = asyncio.ensure_future(result)
        done, _ = await asyncio.wait([doing], timeout=PATIENCE_S)
        if not done:
            pid = request.get("pid")
            told(
                Acted(False, f"{op.replace('_', ' ')} of {pid} is under way", pid if type(pid) is int else 0)
            )
            await asyncio.wait([doing])
            doing.exception()  # nobody is left to be told
            return
        try:
            told(doing.result())
        except RuntimeFault as fault:
            fail("refused", str(fault), "")
        except Exception as error:  # noqa: BLE001  # what fails here is an answer, never a fault of the node
            fail("internal", f"the node could not do it: {type(error).__name__}", "")

    def _agent(self, pid: Any) -> Agent:
        return self._node.control.find(pid if type(pid) is int else 0)

    def _on_agent(self, action: Callable[..., actions.Result], request: dict[str, Any]) -> actions.Result:
        agent = self._agent(request.get("pid"))
        wanted = action.__code__.co_varnames[2 : action.__code__.co_argcount]
        return action(self._node, agent, **{name: request[name] for name in wanted if name in request})

    def _on_node(self, action: Callable[..., actions.Result], request: dict[str, Any]) -> actions.Result:
        wanted = action.__code__.co_varnames[1 : action.__code__.co_argcount]
        return action(self._node, **{name: request[name] for name in wanted if name in request})

    def _edit(self, request: dict[str, Any]) -> Acted:
        agent, path = self._agent(request.get("pid")), str(request.get("field"))
        place = find(agent, path)
        new = converted(place, request.get("value"), path)
        is_secret = any(secrecy(part) for part in place.path)
        old_text, new_text = (MASK if is_secret else _text(part) for part in (place.value, new))
        dry_run = request.get("dry_run") is True
        if not dry_run:
            try:
                place.put(new)
            except Exception as error:  # noqa: BLE001  # a property, a frozen dataclass, a user's __setattr__
                raise ActionRefused(f"{path} cannot be set: {type(error).__name__}: {error}") from None
        verb = "would become" if dry_run else "was"
        what = f"{path} of {agent._o_text()} {verb} {new_text if dry_run else old_text}"
        what += f"; it is {old_text}" if dry_run else f" and is {new_text}"
        if agent._o_step is not None:
            what += " (a step is under way and may have read the old one)"
        diff = [{"path": place.pointer, "old": old_text, "new": new_text}]
        return Acted(True, what, agent._o_pid, {"diff": diff, "dry_run": dry_run})

    def _mailbox(self, request: dict[str, Any]) -> Acted:
        agent = self._agent(request.get("pid"))
        preempter = agent._o_scheduler.preempter
        if self._node.is_worker and preempter is not None and preempter.holds(agent) is not None:
            # Which of its messages the node's process has the originals of is known between two slices only.
            raise ActionRefused(
                f"{agent._o_text()} is frozen in the middle of a message; kill it, or try again"
            )
        chosen = _choose(agent, request)
        if request.get("dry_run") is True:
            facts = {"taken": len(chosen), "queued": agent._o_queued(), "dry_run": True}
            return Acted(
                True,
                f"{len(chosen)} of {counted(agent._o_queued(), 'message')} would be taken",
                agent._o_pid,
                facts,
            )
        if request.get("do") == "move":
            return actions.move_messages(self._node, agent, chosen, self._receiver(request.get("to")))
        return actions.drop_messages(self._node, agent, chosen)

    def _receiver(self, pid: Any) -> Agent:
        """Who is to have messages; in a worker that may be somebody elsewhere."""
        if self._node.is_worker and type(pid) is int:
            return self._node._ref_to(pid)._agent
        return self._agent(pid)


def _choose(agent: Agent, request: dict[str, Any]) -> list[int]:
    waiting = actions.waiting_messages(agent)
    oldest, newest, part = request.get("oldest"), request.get("newest"), request.get("containing")
    if type(oldest) is int:
        return list(range(min(oldest, len(waiting))))
    if type(newest) is int:
        return list(range(max(0, len(waiting) - newest), len(waiting)))
    if isinstance(part, str):
        return [place for place, message in enumerate(waiting) if part in _text(_bare(message))]
    return list(range(len(waiting)))


def _bare(message: Any) -> Any:
    return message.message if type(message) is Call else message


def _text(value: Any) -> str:
    return str(encode(value, MESSAGE)["text"])
