"""The care of one agent: what is done around its messages, at its start and at its end because its spec has a plan.

    start --> its place has a record? --> state put back, restored() --> the message in hand again? --> mailbox
                  | no
                  +--> init()

A `Care` stands between the scheduler and the agent's `handle`. Agents whose specs have no plan have none.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, TimerHandle
from collections.abc import Mapping
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from observe.runtime import budget, encoding
from observe.runtime.bonds import bonds_of
from observe.runtime.checkpoint import PASSING, STATE, key_of, node_store, start_of
from observe.runtime.clock import wall_s
from observe.runtime.errors import BadChildSpec, NotStorable, RuntimeFault, StoreFault, Unreadable
from observe.runtime.exits import ExitReason
from observe.runtime.plan import Every, Plan
from observe.runtime.stores import RECORD_VERSION, Record

if TYPE_CHECKING:
    from observe.runtime.agent import Agent

logger = logging.getLogger("observe.runtime")


class Care:
    """What is done around the messages of one agent because its spec asks for it."""

    __slots__ = (
        "agent",
        "fault",
        "fault_at",
        "generation",
        "has_message",
        "is_changed",
        "is_due",
        "key",
        "message",
        "plan",
        "size_bytes",
        "start",
        "taken_at",
        "timer",
    )

    def __init__(self, agent: Agent, plan: Plan) -> None:
        self.agent = agent
        self.plan = plan
        self.key = ""
        """Of its checkpoints in the store, once there is need of it."""
        self.start: bytes | None = None
        """How its supervisor starts it again in another process, if that is dynamic."""
        self.message: Any = None
        """The message in hand."""
        self.has_message = False
        self.generation = 0
        """Of the newest checkpoint that was asked for."""
        self.size_bytes = 0
        self.taken_at = 0.0
        """Of that one; in Unix time."""
        self.is_changed = False
        """A message was handled since the last checkpoint."""
        self.is_due = False
        """The time for a checkpoint came in the middle of a message: it is taken behind it."""
        self.timer: TimerHandle | None = None
        self.fault: RuntimeFault | None = None
        """Why the newest checkpoint is not on record; None when it is, or will be shortly."""
        self.fault_at = 0
        """The newest generation at that time: word of an earlier one, which comes later, says nothing of it."""

    # -- A message

    async def tend_message(self, message: Any) -> Any:
        """`agent.handle` with what the plan asks for before and behind it. The reply follows the checkpoint."""
        agent, plan = self.agent, self.plan
        policy = plan.checkpoint
        self.message = message
        self.has_message = True
        if plan.budget is not None:
            budget.charge_message(agent, plan.budget)
        if policy == "each_step":
            await self._save()
        value = agent.handle(message)
        if type(value) is CoroutineType:
            value = await value
        self.message = None
        self.has_message = False
        self.is_changed = True
        past = agent._o_child.past
        if past is not None and past.failures:
            past.begin_anew()
        if type(policy) is Every:
            if self.is_due:
                self.is_due = False
                await self._save()
            elif self.timer is None:
                self.timer = agent._o_scheduler.loop.call_later(policy.seconds, self._due)
        elif policy is not None:
            await self._save()
        return value

    def _due(self) -> None:
        self.timer = None
        if self.has_message:
            self.is_due = True
        elif self.is_changed and self.agent._o_is_alive():
            self._try_checkpoint()

    async def _save(self) -> None:
        """A checkpoint that the policy asks for. When it fails, the caller learns it and the agent lives on: what the store
        has is older, but whole, and the next checkpoint makes up for it."""
        try:
            await self.checkpoint()
        except (NotStorable, StoreFault) as fault:
            self._failed(fault)
            if self.has_message:
                return
            agent = self.agent
            if agent._o_step is None:
                await asyncio.sleep(0)  # the step has the request only once it has waited
            if agent._o_step is not None and agent._o_step.call is not None:
                agent._o_step.call.fail(fault)

    def _try_checkpoint(self) -> None:
        try:
            self.checkpoint()
        except (NotStorable, StoreFault) as fault:
            self._failed(fault)

    # -- Saving

    def checkpoint(self) -> Future[None]:
        """Take a checkpoint of the state as it is now. The future is done when it is on record.

        Raises:
            NotStorable: an attribute or the message in hand cannot be written down.
            StoreFault: the node has no store.
            BadChildSpec: its place is not found again by the next process.
        """
        store = node_store(self.agent._o_node)
        record = self._record()
        self._taken(record)
        for hook in self.agent._o_node.instruments.on_checkpoint:
            hook(self.agent, self.size_bytes)
        self.is_changed = False
        putting = store.put(record)
        putting.add_done_callback(partial(self._written, record.generation))
        return putting

    def _taken(self, record: Record) -> None:
        self.generation, self.taken_at = record.generation, record.at
        self.size_bytes = len(record.state) + (len(record.message) if record.message is not None else 0)

    def _record(self) -> Record:
        agent = self.agent
        text = agent._o_text()
        message: bytes | None = None
        if self.has_message and self.plan.keeps_message:
            message = encoding.encode(self.message, f"the message in hand of {text}")
        return Record(
            key=self._key(),
            class_name=type(agent).__qualname__,
            state=encoding.encode_state(state_of(agent), text),
            message=message,
            generation=self.generation + 1,
            at=wall_s(),
            start=self.start,
        )

    def _key(self) -> str:
        if not self.key:
            place = key_of(self.agent._o_child)
            if PASSING in place:
                raise BadChildSpec(
                    f"{self.agent._o_text()} has checkpoints, but no place that the next process finds again: give "
                    f"the child, and the supervisors above it, an id or a name ({place})"
                )
            self.key = STATE + place
        return self.key

    def _written(self, generation: int, putting: Future[None]) -> None:
        if putting.cancelled():
            return  # whoever waited for it has ended; the store goes on with it
        fault = putting.exception()
        if fault is None:
            if generation > self.fault_at:
                self.fault = None
        elif isinstance(fault, RuntimeFault):
            self._failed(fault)

    def _failed(self, fault: RuntimeFault) -> None:
        if self.fault is None:  # say it once, not with every message
            logger.error("no checkpoint of %s: %s", self.agent._o_text(), fault)
        self.fault = fault
        self.fault_at = self.generation
        self.is_changed = True

    # -- Beginning

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run `init`, or what takes its place. Returns a coroutine when that waits."""
        agent, plan = self.agent, self.plan
        child = agent._o_child
        past = child.past_of()
        # The rung Restore, where nothing can have been saved, is one more retry.
        may_restore = agent._o_node.store is not None and PASSING not in key_of(child)
        restores = (plan.restore or (past.restores and may_restore)) and not past.is_fresh
        past.is_fresh = False
        if plan.restore:
            node_store(agent._o_node)
        if plan.restore or plan.checkpoint is not None:
            self._key()  # said at the start rather than when it matters
        self.start = start_of(child)
        if restores or past.has_message or past.is_told or self.start is not None:
            return self._come_back(args, kwargs, restores)
        result = agent._o_init(args, kwargs)
        if type(result) is CoroutineType:
            return self._wait_for(result)
        self._ready()
        return None

    async def _wait_for(self, initialising: CoroutineType[Any, Any, Any]) -> None:
        await initialising
        self._ready()

    async def _come_back(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], restores: bool) -> None:
        agent = self.agent
        child = agent._o_child
        past = child.past_of()
        record, past.record = past.record, None
        if restores and record is None:
            record = await node_store(agent._o_node).get(self._key())
        if record is not None:
            self._put_back(record)
            result = agent.restored(*args, **kwargs)
        else:
            result = agent._o_init(args, kwargs)
        if type(result) is CoroutineType:
            await result
        if record is not None and record.message is not None and not past.lived and not past.has_message:
            # It was in hand when an earlier process died.
            self._take_in_hand(encoding.decode(record.message, f"the message of {record.key}", agent._o_node))
        if record is None and self.start is not None:
            await self.checkpoint()  # whoever started it may count on its coming back
        if past.is_told and past.failure is not None:
            past.is_told = False
            result = agent.on_retry(past.failure)
            if type(result) is CoroutineType:
                await result
        if past.has_message:
            _deliver_first(agent, past.take_message())
        self._ready()

    def _put_back(self, record: Record) -> None:
        agent = self.agent
        what = f"the checkpoint {record.key}"
        if record.version > RECORD_VERSION:
            raise Unreadable(what, f"its layout is {record.version}, of a later release than this one")
        if record.class_name != type(agent).__qualname__:
            raise Unreadable(
                what, f"it is of a {record.class_name}, and a {type(agent).__qualname__} is to take its place"
            )
        for name, value in encoding.decode_state(record.state, what, agent._o_node).items():
            object.__setattr__(agent, name, value)
        self._taken(record)

    def _take_in_hand(self, message: Any) -> None:
        plan, child = self.plan, self.agent._o_child
        if plan.in_hand == "park":
            self.agent._o_node.parked.park(child, message, "it was in hand when the process ended")
        elif plan.keeps_message:
            past = child.past_of()
            past.message, past.has_message = message, True

    def _ready(self) -> None:
        if self.plan.budget is not None:
            budget.begin(self.agent, self.plan.budget)

    # -- The end

    def ending(self, reason: ExitReason) -> None:
        """The agent ends between two messages, or in the middle of one; `terminate` has not run."""
        if (
            self.plan.checkpoint is not None
            and reason.is_orderly
            and self.is_changed
            and not self.has_message
        ):
            self._try_checkpoint()

    def buried(self, reason: ExitReason) -> None:
        """The agent is gone: leave to its successor what it needs."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        agent, plan = self.agent, self.plan
        spending = bonds_of(agent).spending
        if spending is not None and spending.timer is not None:
            spending.timer.cancel()
        child = agent._o_child
        past = child.past_of()
        past.lived = True
        is_kept = plan.keeps_message or getattr(reason.error, "rung", None) is not None
        if not self.has_message or not is_kept:
            return
        message, self.message, self.has_message = self.message, None, False
        if plan.ladder is None and plan.in_hand == "park":
            agent._o_node.parked.park(child, message, str(reason))
        else:
            past.message, past.has_message = message, True


def begin(agent: Agent, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The `init` of an agent whose spec has a plan."""
    plan = agent._o_child.spec.plan
    assert plan is not None
    bonds = bonds_of(agent)
    care = bonds.care = agent._o_care(plan)
    bonds.choose_handle()
    return care.begin(args, kwargs)


def care_of(agent: Agent) -> Care:
    """The agent's care.

    Raises:
        StoreFault: its spec has no plan, so that nobody would ever read a checkpoint.
    """
    bonds = agent._o_bonds
    if bonds is None or bonds.care is None:
        raise StoreFault(
            agent._o_text(),
            "nobody would read its checkpoint: say ChildSpec(..., restore=True) for it to come back from it",
        )
    return bonds.care


def state_of(agent: Agent) -> dict[str, Any]:
    """What a checkpoint holds: the agent's attributes but those that its class lists in `unsaved`."""
    unsaved = type(agent).unsaved
    state = {name: value for name, value in getattr(agent, "__dict__", {}).items() if name not in unsaved}
    for cls in type(agent).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith(("_o_", "__")) and name not in unsaved and hasattr(agent, name):
                state[name] = getattr(agent, name)
    return state


async def save_in_step(agent: Agent) -> None:
    """An activity has ended: take the checkpoint that the policy `each_step` wants there. What fails is noted."""
    care = agent._o_bonds.care if agent._o_bonds is not None else None
    if care is not None and care.has_message and care.plan.checkpoint == "each_step":
        await care._save()


def _deliver_first(agent: Agent, message: Any) -> None:
    mailbox = agent._o_mailbox
    if isinstance(mailbox, list):
        mailbox.insert(0, message)
    else:
        agent._o_deliver(message)
