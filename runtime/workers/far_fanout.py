"""Fan-out over processes: the items of a `supervised_map(..., isolation=...)`, each an agent of a worker or of a process of its own.

    node's process: FanOut -> one FarItem (as seen from here) per item under way      worker: FarItem calls the function

The function, the items and what comes back are pickled. A process that dies is the outcome of its items, and of no other.
"""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from observe.runtime.agent import Agent
from observe.runtime.calls import Call
from observe.runtime.children import Child, ChildSpec
from observe.runtime.errors import AgentExited, InitFailed, NotInWorker
from observe.runtime.exits import ExitReason
from observe.runtime.fanout import Outcome, name_of
from observe.runtime.fanout_agents import AgentRun
from observe.runtime.workers.packing import pack

if TYPE_CHECKING:
    from observe.runtime.children import Isolation
    from observe.runtime.node import Node
    from observe.runtime.workers.limits import Limits


class FarItem(Agent):
    """One item of a `supervised_map`, in another process: calls the function when it is asked to, replies with what comes back,
    and ends."""

    def init(self, fn: Callable[[Any], Any], index: int, item: Any) -> None:
        self.fn = fn
        self.index = index
        self.item = item

    async def handle(self, _: Any) -> Any:
        value = self.fn(self.item)
        if type(value) is CoroutineType:
            value = await value
        self.stop()
        return value


class Answered:
    """Takes what an item's function has returned, in the place of a future, as soon as it is there: the item's end follows."""

    __slots__ = ("_call", "_index", "_item", "_run")

    def __init__(self, run: FarRun, index: int, item: Any, call: Call) -> None:
        self._run = run
        self._index = index
        self._item = item
        self._call = call

    def done(self) -> bool:
        """A `Call` asks before it tells."""
        return False

    def set_result(self, value: None) -> None:
        """There is a reply, or none will come."""
        call = self._call
        call.future = None
        if not isinstance(call.error, AgentExited):  # how it has ended, `item_ended` hears
            self._run.results[self._index] = Outcome(self._index, self._item, call.value, call.error)


class FarRun(AgentRun):
    """The items under way, in other processes."""

    def __init__(
        self,
        fn: Callable[[Any], Any],
        timeout: float | None,
        caller: Agent | None,
        node: Node,
        isolation: Isolation,
        limits: Limits | None,
    ) -> None:
        super().__init__(fn, timeout, caller, node)
        self._isolation: Isolation = isolation
        self._limits = limits

    async def begin(self) -> None:
        """Raises:
        NotInWorker: the caller is an agent of a worker: its process is no place for others' supervisors.
        NotSendable: the function cannot be pickled, because it is a lambda, say.
        BadChildSpec: the node has no workers, or limits are meant for a process of an item's own.
        """
        if self.node.is_worker:
            raise NotInWorker(
                "supervised_map(isolation=...)", "use it in an agent of the node's process: isolation='none'"
            )
        pack(self.fn, f"the function {name_of(self.fn)}")
        self.node._class_for(Child(self._spec(0, None), 0, None))  # whether they can run there at all
        await super().begin()

    def _spec(self, index: int, item: Any) -> ChildSpec:
        return ChildSpec(
            FarItem,
            (self.fn, index, item),
            id=f"{name_of(self.fn)}[{index}]",
            restart="temporary",
            isolation=self._isolation,
            limits=self._limits,
        )

    async def start(self, index: int, item: Any) -> None:
        """Begin with an item. Does not wait for its process: others are started meanwhile."""
        supervisor = self.supervisor
        child = supervisor._o_add(self._spec(index, item))
        self.under_way[index] = child
        try:
            started = supervisor._o_scheduler.lifecycle.start(child)
        except InitFailed as fault:
            self._not_started(child, fault)
            return
        agent = child.agent
        assert agent is not None
        call = Call(None, agent)
        call.carried = self.carried
        call.future = Answered(self, index, item, call)  # type: ignore[assignment]  # as much of one as a Call needs
        agent._o_deliver(call)
        if isinstance(started, Agent):
            self.arm(index, agent)
        else:
            started.add_done_callback(lambda future: self._started(child, future))

    def _started(self, child: Child, started: Future[Agent]) -> None:
        if started.cancelled():
            return
        fault = started.exception()
        if fault is None:
            agent = started.result()
            if child.agent is agent:
                self.arm(child.args[1], agent)
        else:
            self._not_started(child, fault)

    def _not_started(self, child: Child, fault: BaseException) -> None:
        self.supervisor._o_forget(child)
        reason = fault.reason if isinstance(fault, InitFailed) else ExitReason("crash", str(fault), fault)
        _, index, item = child.args
        error = reason.error or AgentExited(str(child.id), reason)
        if not isinstance(error, CancelledError):
            self.ended(index, Outcome(index, item, error=error))
