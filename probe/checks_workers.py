"""Checks over the node's worker processes."""

from __future__ import annotations

from observe.probe.condition import Check, Condition, agents
from observe.probe.holding import describe_holder, stack_lines
from observe.probe.picture import Picture


def worker_checks() -> list[Check]:
    """All of them."""
    return [
        Check(
            "holds_worker",
            _holds_worker,
            0.0,
            "the other agents of that worker wait meanwhile: look at its stack; run what computes for long with "
            "isolation='process', or kill it",
        )
    ]


def _holds_worker(picture: Picture, _now: float) -> Condition | None:
    """In a process of its own an agent may compute as long as it likes; in a shared one others wait."""
    found = [
        (worker.held.since_s, number, worker)
        for number, worker in picture.processes.workers.items()
        if worker.held is not None
        and not worker.facts["isolated"]
        and worker.facts["agents"] > 1
        and not picture.allowed.names("holds_worker", worker.held.class_name, worker.held.name)
    ]
    if not found:
        return None
    _, number, worker = max(found, key=lambda one: one[0])
    held = worker.held
    assert held is not None
    more = f", and {len(found) - 1} more workers are held" if len(found) > 1 else ""
    others = worker.facts["agents"] - 1
    waiting = f"{agents(others)} {'waits' if others == 1 else 'wait'}"
    return Condition(
        describe_holder(held, f"holds worker {number}, where {waiting}{more}"),
        count=len(found),
        pid=held.pid,
        filter=f"process={number}",
        evidence={"worker": number, "os_pid": worker.facts["os_pid"], "stack": stack_lines(held)},
        pids=frozenset([held.pid] if held.pid else ()),
    )
