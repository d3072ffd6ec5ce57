"""What stands for an agent of a worker in the node's own process: a real agent, supervised as any.

Pids, names, links, monitors, restarts and groups are the node's, and see no difference. What differs is the mailbox
(remote_end.py): what waits can be looked at while the worker is stuck, and becomes dead letters when it dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from observe.runtime.agent import Agent
from observe.runtime.workers.far_care import FarCare
from observe.runtime.workers.remote_end import NO_LIMIT, RemoteEnd

if TYPE_CHECKING:
    from observe.runtime.care import Care
    from observe.runtime.exits import ExitReason
    from observe.runtime.plan import Plan


class Remote(Agent):
    """Stands for one agent of a worker. Subclassed once for each class of the user's, whose name it takes."""

    __slots__ = ("_o_away",)

    _o_away: RemoteEnd
    _o_stands_for: ClassVar[type[Agent]]

    def __new__(cls) -> Self:
        agent = super().__new__(cls)
        agent._o_away = None  # type: ignore[assignment]  # until `_o_init`, which may find no process for it
        return agent

    def _o_init(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        workers = self._o_scheduler.lifecycle.workers
        assert workers is not None
        self._o_away = end = RemoteEnd(self, workers.assign(self._o_child))
        self._o_mailbox = end
        end.process.load += 1
        end.begin(args, kwargs)
        return end.wait_started()

    def _o_care(self, plan: Plan) -> Care:
        return FarCare(self, plan)

    def terminate(self, reason: ExitReason) -> Any:
        return self._o_away.end(reason)

    def _o_buried(self, reason: ExitReason) -> None:
        if self._o_away is not None:
            self._o_away.buried(reason)
        governing = self._o_node.governing
        if governing is not None:
            governing.approvals.gone(self, f"it was given up: its agent has ended, {reason}")

    def _o_deliver(self, message: Any) -> None:
        self._o_away.deliver(message)

    def _o_queued(self) -> int:
        return self._o_away.queued if self._o_away is not None else 0


def stand_in(cls: type[Agent]) -> type[Remote]:
    """The class of those that stand for agents of class `cls`."""
    return type(
        cls.__name__,
        (Remote,),
        {
            "__slots__": (),
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "_o_stands_for": cls,
            "mailbox_limit": cls.mailbox_limit or NO_LIMIT,
            "overflow": cls.overflow,
        },
    )
