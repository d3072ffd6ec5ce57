"""Checkpoints: when the state of an agent is saved, and how an agent comes back from what was saved.

    start --> its place has a record? --> state put back, restored() --> the message in hand again? --> mailbox
                  | no
                  +--> init()

An agent whose spec has a plan has a `Care`, which stands between the scheduler and its `handle`. Others have none.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, TimerHandle
from collections.abc import AsyncIterator, Mapping
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from observe.runtime import budget, encoding
from observe.runtime.bonds import bonds_of
from observe.runtime.clock import wall_s
from observe.runtime.errors import BadChildSpec, NotStorable, RuntimeFault, StoreFault, Unreadable
from observe.runtime.exits import ExitReason
from observe.runtime.plan import Every, Plan
from observe.runtime.stores import RECORD_VERSION, RESULT, Record, Store

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.node import Node
    from observe.runtime.supervisor import DynamicSupervisor

logger = logging.getLogger("observe.runtime")

STATE: Final = "state:"
"""How the keys of agents' checkpoints begin."""

_PAGE: Final = 500
"""Records read from the store at a time."""

_PASSING: Final = "!"
"""Begins the part of a key that only this run of the node has. `quote` lets no id begin like it."""


def key_of(child: Child) -> str:
    """The place of a child in words that the next process finds again: ids from below the root down, with slashes.

    A child without an id or a name has a place that is unique to this run of the node. An item of a `supervised_map`
    has the place of the agent for which it works.
    """
    parts: list[str] = []
    place = child
    while (supervisor := place.supervisor) is not None:
        if supervisor._o_caller is not None:
            parts.clear()
            place = supervisor._o_caller._o_child
        else:
            parts.append(_part_of(place))
            place = supervisor._o_child
    return "/".join(reversed(parts))


def _part_of(child: Child) -> str:
    child_id = child.id
    if type(child_id) is str:
        return quote(child_id, safe="", errors="surrogatepass")
    if child.spec.id is not None:
        return "#" + quote(repr(child_id), safe="")
    if child.name is not None:
        return quote(child.name, safe="", errors="surrogatepass")
    assert child.supervisor is not None
    return f"{_PASSING}{child.supervisor._o_node.incarnation}-{child_id}"


def node_store(node: Node) -> Store:
    """The node's store.

    Raises:
        StoreFault: it has none.
    """
    if node.store is None:
        raise StoreFault(
            f"node {node.name}",
            "it has no store; start it as Node(name, store=SQLiteStore(path)), in tests MemoryStore()",
        )
    return node.store


async def load(store: Store, prefix: str) -> AsyncIterator[Record]:
    """All records whose keys begin with `prefix`, page by page."""
    after = ""
    while True:
        page = await store.scan(prefix, after, _PAGE)
        for record in page:
            yield record
        if len(page) < _PAGE:
            return
        after = page[-1].key


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
        "message",
        "plan",
        "timer",
    )

    def __init__(self, agent: Agent, plan: Plan) -> None:
        self.agent = agent
        self.plan = plan
        self.message: Any = None
        """The message in hand."""
        self.has_message = False
        self.generation = 0
        """Of the newest checkpoint that was asked for."""
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

    async def handle(self, message: Any) -> Any:
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
        """
        store = node_store(self.agent._o_node)
        record = self._record()
        self.generation = record.generation
        self.is_changed = False
        putting = store.put(record)
        putting.add_done_callback(partial(self._written, record.generation))
        return putting

    def _record(self) -> Record:
        agent, child = self.agent, self.agent._o_child
        text = agent._o_text()
        message: bytes | None = None
        if self.has_message and self.plan.keeps_message:
            message = encoding.encode(self.message, f"the message in hand of {text}")
        return Record(
            key=STATE + key_of(child),
            class_name=type(agent).__qualname__,
            state=encoding.encode_state(state_of(agent), text),
            message=message,
            generation=self.generation + 1,
            at=wall_s(),
            start=_start_of(child),
        )

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
        restores = plan.restore or past.restores
        if restores:
            node_store(agent._o_node)
        if plan.saves and (plan.restore or plan.checkpoint is not None):
            place = key_of(child)
            if _PASSING in place:
                raise BadChildSpec(
                    f"{agent._o_text()} has checkpoints, but no place that the next process finds again: give the "
                    f"child, and the supervisors above it, an id or a name ({place})"
                )
        if restores or past.has_message or past.is_told or _start_of(child) is not None:
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
            record = await node_store(agent._o_node).get(STATE + key_of(child))
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
        if record is None and _start_of(child) is not None:
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
        self.generation = record.generation

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
        if not self.has_message or not plan.keeps_message:
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
    care = bonds_of(agent).care = Care(agent, plan)
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


def discard(child: Child) -> None:
    """The child has ended for good: forget its checkpoint and the results of its keyed activities."""
    plan = child.spec.plan
    if plan is None or not plan.saves or child.supervisor is None:
        return
    node = child.supervisor._o_node
    if node.store is not None:
        key = key_of(child)
        node.store.delete(STATE + key, below=f"{RESULT}{key}:").add_done_callback(_discarded)


def _discarded(deleting: Future[None]) -> None:
    if not deleting.cancelled() and (fault := deleting.exception()) is not None:
        logger.error(
            "the checkpoint of an agent that has ended for good stays, and will bring it back: %s", fault
        )


def _deliver_first(agent: Agent, message: Any) -> None:
    mailbox = agent._o_mailbox
    if isinstance(mailbox, list):
        mailbox.insert(0, message)
    else:
        agent._o_deliver(message)


# -- Children of dynamic supervisors


def _start_of(child: Child) -> bytes | None:
    """How a dynamic supervisor is to start this child again in another process; None for children of others."""
    supervisor = child.supervisor
    template = getattr(supervisor, "_o_template", None)
    if template is None or not child.spec.plan.restore:  # type: ignore[union-attr]  # a child with a care has a plan
        return None
    own = child.kwargs
    about = {
        "name": child.name,
        "args": child.args[len(template.args) :],
        "kwargs": {
            key: own[key] for key in own if key not in template.kwargs or own[key] is not template.kwargs[key]
        },
    }
    return encoding.encode(about, f"how {child.name or child.id} was started")


async def revive(supervisor: DynamicSupervisor) -> int:
    """Bring the children back whose checkpoints lie below this supervisor. Tells how many.

    One that cannot come back does not keep the others from it: it stays a child that is not running, and its
    checkpoint stays.
    """
    plan = supervisor._o_template.plan
    store = supervisor._o_node.store
    if plan is None or not plan.restore or store is None:
        return 0
    prefix = f"{STATE}{key_of(supervisor._o_child)}/"
    revived = seen = 0
    async for record in load(store, prefix):
        if record.start is None or "/" in record.key[len(prefix) :]:
            continue
        seen += 1
        try:
            about = encoding.decode(record.start, record.key, supervisor._o_node)
            child = supervisor._o_add_revived(record, about)
            await supervisor._o_start(child)
        except RuntimeFault as fault:
            logger.error("a child of %s does not come back: %s", supervisor._o_text(), fault)
        else:
            revived += 1
        if seen % _PAGE == 0:
            await asyncio.sleep(0)
    return revived
