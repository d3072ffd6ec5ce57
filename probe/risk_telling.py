"""Tells the probe what the service knows of the risk of its agents' classes, when that has changed."""

from __future__ import annotations

from asyncio import Future
from typing import Any, Final

from observe.probe.describe_names import line
from observe.probe.reports import Report
from observe.runtime.agent import Agent
from observe.runtime.node import Node
from observe.runtime.risk import Risks, declared

EVERY_S: Final = 1.0
"""Between two looks. A score that is a second late has misled nobody."""

WORKERS_S: Final = 5.0
"""Between two questions to each worker process."""


class RiskTeller:
    """Belongs to the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._risks: Risks | None = None
        self._due_s = 0.0
        self._workers_s = 0.0
        self._asking: dict[int, Future[Any]] = {}
        """By the serial of the worker that is asked."""

    def begin_anew(self) -> None:
        """The probe knows of nothing."""
        self._risks = self._node.risks
        self._risks.begin_anew()
        self._due_s = 0.0

    def end(self) -> None:
        """The probe goes."""
        if self._risks is not None:
            self._risks.end()
            self._risks = None

    def due(self, now_s: float) -> list[Report]:
        """What has changed since the last time, if it is time to look."""
        if now_s < self._due_s:
            return []
        self._due_s = now_s + EVERY_S
        risks = self._risks = self._node.risks
        if self._node.lifecycle.workers is not None and now_s >= self._workers_s:
            self._workers_s = now_s + WORKERS_S
            self._ask_workers()
        classes = [
            {
                "class": line(seen.cls.__name__),
                "facts": list(risks.facts(seen)),
                "declared": declared(seen.cls),
            }
            for seen in risks.changed()
        ]
        return [("risks", {"classes": classes})] if classes else []

    def _ask_workers(self) -> None:
        workers = self._node.lifecycle.workers
        assert workers is not None
        for process in workers.processes.values():
            if process.is_closed or process.serial in self._asking:
                continue
            serial = process.serial
            asked = self._asking[serial] = process.ask(seen_there)
            asked.add_done_callback(lambda done, serial=serial: self._merge(serial, done))  # type: ignore[misc]  # a default of a lambda

    def _merge(self, serial: int, done: Future[Any]) -> None:
        del self._asking[serial]
        if done.cancelled() or done.exception() is not None or self._risks is None:
            return  # it has ended, or its classes cannot be named here, or nobody wants to know any more
        for cls, activities, starts in done.result():
            self._risks.merge(cls, activities, starts)


def seen_there(node: Node) -> list[tuple[type[Agent], dict[str, bool], bool]]:
    """In a worker: what its agents were seen to do, as far as that has not been told."""
    return [(seen.cls, dict(seen.activities), seen.starts) for seen in node.risks.changed()]
