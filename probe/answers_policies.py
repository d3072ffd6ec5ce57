"""The service's side of the node's policies: what holds, and reading the file again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from observe.probe.describe_names import line
from observe.probe.wire_policies import MAX_RULES
from observe.runtime.capping import Capping
from observe.runtime.caps import Cap
from observe.runtime.conformance import Machine
from observe.runtime.conforming import Conforming
from observe.runtime.errors import PoliciesRefused
from observe.runtime.node import Node
from observe.runtime.policies import Policies, Rule

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]

WORST_OF_CAP: Final = 5


def policies_map(node: Node) -> dict[str, Any]:
    """What holds. On the scheduler's thread."""
    governing, held = node.governing, node.policies
    facts: dict[str, Any] = {"source": "", "judges": len(governing.judges) if governing is not None else 0}
    if held is None or governing is None or governing.policies is None:
        return facts
    judge = governing.policies
    return facts | {
        "source": line(held.now.source),
        "version": held.now.version,
        "since": held.since,
        "loads": held.loads,
        "refused": "" if held.refused is None else line(str(held.refused), 2000),
        "rules": [_rule(judge, rule) for rule in judge.rules[:MAX_RULES]],
        "machines": [_machine(governing.conforming, one) for one in held.now.machines[:MAX_RULES]],
        "caps": [_cap(governing.capping, one) for one in held.now.caps[:MAX_RULES]],
        "findings": [
            {
                "policy": line(one.policy),
                "check": line(one.check),
                "level": one.level,
                "agents": [line(pattern) for pattern in one.agents],
                "reason": line(one.reason),
                "contained": held.contained[one.policy],
            }
            for one in held.now.findings[:MAX_RULES]
        ],
        "forgotten": governing.conforming.forgotten if governing.conforming is not None else 0,
    }


def found(node: Node, request: dict[str, Any]) -> dict[str, Any]:
    """The probe has found something wrong with agents. On the scheduler's thread."""
    pids = request.get("pids")
    if node.policies is None or not isinstance(pids, list):
        return {"contained": 0}
    asked = [pid for pid in pids if type(pid) is int]
    return {
        "contained": node.policies.found(str(request.get("check")), asked, line(request.get("text") or ""))
    }


def _machine(conforming: Conforming | None, machine: Machine) -> dict[str, Any]:
    return {
        "policy": line(machine.policy),
        "effect": machine.effect,
        "level": machine.level or "",
        "agents": [line(one) for one in machine.agents],
        "states": len(machine.states),
        "per": line(machine.per),
        "reason": line(machine.reason),
        "violations": conforming.violations[machine.policy] if conforming is not None else 0,
        "denied": conforming.denied[machine.policy] if conforming is not None else 0,
    }


def _cap(capping: Capping | None, cap: Cap) -> dict[str, Any]:
    return {
        "policy": line(cap.policy),
        "per": line(cap.per),
        "agents": [line(one) for one in cap.agents],
        "limits": dict(cap.limits),
        "of": [line(one) for one in cap.of],
        "every_s": float(cap.every_s or 0.0),
        "effect": cap.effect,
        "level": cap.level or "",
        "warn_at": float(cap.warn_at),
        "warn_level": cap.warn_level or "",
        "reason": line(cap.reason),
        "denied": capping.denied[cap.policy] if capping is not None else 0,
        "worst": [
            {
                "key": line(key),
                "pid": pid,
                "tool_calls": spent.tool_calls,
                "tokens": spent.tokens,
                "cost": float(spent.cost),
                "share": float(share),
            }
            for key, pid, spent, share in (capping.worst(cap, WORST_OF_CAP) if capping is not None else ())
        ],
    }


def _rule(judge: Policies, rule: Rule) -> dict[str, Any]:
    return {
        "policy": line(rule.policy),
        "effect": rule.effect,
        "kind": rule.kind,
        "on": line(rule.on),
        "agents": [line(one) for one in rule.agents],
        "where": {line(name): line(wanted) for name, wanted in rule.where.items()},
        "hours": rule.hours,
        "reason": line(rule.reason),
        "level": rule.level or "",
        "fitted": judge.hits[rule.policy],
        "denied": judge.denied[rule.policy],
    }


class PolicyReloads:
    """Reads the file again. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, tell: Tell, fail: Fail) -> None:
        """Exactly one of `tell` and `fail` is called when it is over."""
        task = self._node.loop.create_task(self._reload(tell, fail), name="observe:policies")
        self._under_way.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._under_way.discard)

    async def _reload(self, tell: Tell, fail: Fail) -> None:
        held = self._node.policies
        if held is None:
            fail(
                "refused", "this node has no policies", 'it is started with them: Node(policies="shop.yaml")'
            )
            return
        before = held.now.version
        try:
            changed = await held.reload()
        except PoliciesRefused as error:
            fail("refused", line(str(error), 2000), f"the policies of before, version {before}, hold")
            return
        except Exception as error:  # noqa: BLE001  # what fails here is an answer, never a fault of the node
            fail(
                "internal", f"the policies could not be read: {type(error).__name__}", "those of before hold"
            )
            return
        now = held.now
        what = f"{now.size}, version {now.version}, hold" + (
            f" in the place of {before}" if changed else ", as before"
        )
        tell({"done": True, "what": line(what), "facts": {"before": before, "version": now.version}})
