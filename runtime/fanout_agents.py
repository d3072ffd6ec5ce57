"""Fan-out in an agent's step: the items of a `supervised_map` as agents of their own."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, TimerHandle
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from observe.runtime import bonds
from observe.runtime.agent import Agent
from observe.runtime.bonds import Down
from observe.runtime.children import ChildSpec
from observe.runtime.errors import AgentExited
from observe.runtime.exits import KILLED, SHUTDOWN, ExitReason
from observe.runtime.fanout import Outcome, Run, name_of, timed_out
from observe.runtime.lifecycle import KILL_GRACE_S
from observe.runtime.ref import carried_now
from observe.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from observe.runtime.children import Child
    from observe.runtime.node import Node


class FanOut(Supervisor):
    """The supervisor of the items of one `supervised_map`. Ends with its caller, and its items with it."""

    __slots__ = ("_o_run",)

    def init(self, run: AgentRun) -> Any:
        self._o_run = run
        self._o_caller = run.caller
        if run.caller is not None:
            bonds.monitor(self, run.caller)
        return ()

    async def handle(self, message: Any) -> None:
        if type(message) is Down:
            self.stop(SHUTDOWN)
        else:
            await super().handle(message)

    async def terminate(self, reason: ExitReason) -> None:
        """End all items at once; they have `KILL_GRACE_S` to clean up."""
        agents = [child.agent for child in list(self._o_children.values()) if child.agent is not None]
        await asyncio.gather(*(self._o_stop_child(agent._o_child, KILLED) for agent in agents))

    def _o_buried(self, reason: ExitReason) -> None:
        super()._o_buried(reason)
        self._o_run.supervisor_ended()

    def _o_child_gone(self, child: Child, agent: Agent, reason: ExitReason) -> None:
        super()._o_child_gone(child, agent, reason)
        self._o_run.item_ended(child, reason)


class FanOutItem(Agent):
    """One item of a `supervised_map`: calls the function in its only step, and ends."""

    def init(self, run: AgentRun, index: int, item: Any) -> None:
        self.index = index
        self.item = item
        if run.carried is not None:
            run.carried()  # the item belongs to the trace of whoever called supervised_map
        self.ref.cast(run)

    async def handle(self, run: AgentRun) -> None:
        try:
            value = run.fn(self.item)
            if type(value) is CoroutineType:
                value = await value
        except CancelledError:
            raise
        except Exception as error:
            run.results[self.index] = Outcome(self.index, self.item, error=error)
            raise  # a crash on record, like any other
        run.results[self.index] = Outcome(self.index, self.item, value)
        self.stop()


class AgentRun(Run):
    def __init__(
        self, fn: Callable[[Any], Any], timeout: float | None, caller: Agent | None, node: Node
    ) -> None:
        super().__init__(fn, timeout)
        self.caller = caller
        """The agent whose step it is; None in plain asyncio code."""
        self.node = node
        self.carried = carried_now("map")
        self.results: dict[int, Outcome[Any, Any]] = {}
        """Of items whose function is over, until their agents have ended."""
        self._timers: dict[int, TimerHandle] = {}
        self._late: set[int] = set()
        self._supervisor: FanOut | None = None
        self._task = None if caller is not None else asyncio.current_task()
        """In plain asyncio code, whose end is the end of it all."""
        if self._task is not None:
            self._task.add_done_callback(self._caller_ended)

    @property
    def supervisor(self) -> FanOut:
        """Whose children the items are, from `begin` on."""
        assert self._supervisor is not None
        return self._supervisor

    async def begin(self) -> None:
        """Start the supervisor of the items."""
        spec = ChildSpec(FanOut, (self,), restart="temporary", shutdown_s=KILL_GRACE_S + 1.0)
        supervisor = await self.node._start_fan_out(spec)
        assert isinstance(supervisor, FanOut)
        self._supervisor = supervisor

    async def start(self, index: int, item: Any) -> None:
        spec = ChildSpec(
            FanOutItem,
            (self, index, item),
            id=f"{name_of(self.fn)}[{index}]",
            restart="temporary",
            isolation="none" if self.node.lifecycle.workers is not None else None,  # it belongs to its caller
        )
        child = self.supervisor._o_add(spec)
        self.under_way[index] = agent = await self.supervisor._o_start(child)
        self.arm(index, agent)

    def arm(self, index: int, agent: Agent) -> None:
        """The item has begun: its time runs."""
        if self.timeout is not None:
            self._timers[index] = self.loop.call_later(self.timeout, self._too_late, index, agent)

    def _caller_ended(self, _: Any) -> None:
        self.abandon()

    def _too_late(self, index: int, agent: Agent) -> None:
        self._late.add(index)
        agent._o_scheduler.lifecycle.exit(
            agent, ExitReason("killed", f"it took more than {self.timeout:g} s")
        )

    def item_ended(self, child: Child, reason: ExitReason) -> None:
        """An agent is gone, by itself or otherwise."""
        _, index, item = child.args
        timer = self._timers.pop(index, None)
        if timer is not None:
            timer.cancel()
        outcome = self.results.pop(index, None)
        if outcome is None:
            if index in self._late:
                outcome = timed_out(index, item, self.timeout)
            else:
                error = AgentExited(str(child.id), reason)
                outcome = Outcome(index, item, error=reason.error or error)
        self._late.discard(index)
        self.ended(index, outcome)

    def supervisor_ended(self) -> None:
        """Nothing goes on any more."""
        self.is_stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.under_way.clear()
        self.wake()

    async def stop(self) -> None:
        supervisor = self._supervisor
        if supervisor is not None:
            self.abandon()
            await supervisor._o_scheduler.lifecycle.wait_exit(supervisor)

    def abandon(self) -> None:
        self.is_stopped = True
        if self._task is not None:
            self._task.remove_done_callback(self._caller_ended)
        supervisor = self._supervisor
        if supervisor is not None and not self.loop.is_closed() and supervisor._o_is_alive():
            supervisor._o_scheduler.lifecycle.exit(supervisor, SHUTDOWN)
