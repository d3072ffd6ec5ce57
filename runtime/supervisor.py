"""Supervisors: agents that start, watch and restart other agents.

The behaviour is OTP's ``supervisor`` (https://www.erlang.org/doc/apps/stdlib/supervisor.html): children are started in
the order of their specs and stopped in reverse; a child that exits is restarted as its `restart` says, alone or with
siblings as the `strategy` says; more than `intensity` restarts within `period_s` seconds, and the supervisor stops its
children and exits itself, so that the supervisor above decides.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from types import CoroutineType
from typing import Any, ClassVar

from observe.runtime.agent import EXITED, Agent
from observe.runtime.checkpoint import discard
from observe.runtime.children import Child, ChildSpec, Delay
from observe.runtime.clock import now_ns
from observe.runtime.errors import BadChildSpec, NameTaken, NoSuchChild, RuntimeFault, WorkerDied
from observe.runtime.exits import KILLED, SHUTDOWN, ExitReason
from observe.runtime.ladder import climb
from observe.runtime.strategies import AutoShutdown, Regroup, Strategy, check_flags, reason_of, was_stopped
from observe.runtime.supervisor_ref import SupervisorRef

logger = logging.getLogger("observe.runtime")

INTENSITY = 1
"""OTP's default: at most one restart …"""

PERIOD_S = 5.0
"""… within five seconds."""

START_BATCH = 500
"""Children that a supervisor starts before it lets others run."""


class Supervisor(Agent):
    """An agent that supervises others.

    Give the child specs where it is started (``node.spawn(Supervisor, [ChildSpec(...)], intensity=10)``), or
    subclass it, set `strategy`, `intensity`, `period_s` and `auto_shutdown`, and return the child specs from `init`.
    """

    __slots__ = ("__dict__", "_o_auto_id", "_o_children", "_o_last_death", "_o_restart_times")

    _o_system = True
    _o_is_dynamic: ClassVar[bool] = False

    strategy: Strategy = "one_for_one"
    """Who is restarted when a child ends: `one_for_one` that child alone, `one_for_all` all children,
    `rest_for_one` that child and those started after it."""

    intensity: int = INTENSITY
    """Restarts allowed within `period_s`. One more, and the supervisor gives up."""

    period_s: float = PERIOD_S

    auto_shutdown: AutoShutdown = "never"
    """Whether the supervisor ends when `any_significant` child has ended by itself, or `all_significant` ones have."""

    _o_caller: Agent | None = None
    """For whom the children work, if not for themselves: the caller of a `supervised_map`."""

    _o_children: dict[Hashable, Child]
    _o_restart_times: deque[int] | None
    _o_last_death: WorkerDied | None
    """The newest end of a worker process that children were in."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Return the specs of the children to start, in order. Subclasses take what arguments they like.

        This one takes `children` (ChildSpecs, none if left out) and the flags `strategy`, `intensity`, `period_s` and
        `auto_shutdown` as keywords.
        """
        return self._o_plain_init(*args, **kwargs)

    async def handle(self, message: Any) -> None:
        """A supervisor expects no messages; one that comes is logged and dropped, as in OTP."""
        if type(message) is Regroup:
            await self._o_regroup(message.child, message.old, message.reason, message.is_allowed)
        else:
            logger.error("supervisor %s received an unexpected message: %.200r", self._o_text(), message)

    async def terminate(self, reason: ExitReason) -> None:
        """Stop the children in the reverse order of their start, each within its `shutdown_s`."""
        for child in reversed(list(self._o_children.values())):
            await self._o_stop_child(child, SHUTDOWN)

    @property
    def ref(self) -> SupervisorRef:
        return SupervisorRef(self)

    # What follows is the runtime's.

    def _o_ref(self) -> SupervisorRef:
        return SupervisorRef(self)

    def _o_plain_init(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy | None = None,
        intensity: int | None = None,
        period_s: float | None = None,
        auto_shutdown: AutoShutdown | None = None,
    ) -> list[ChildSpec]:
        self._o_flags(strategy=strategy, intensity=intensity, period_s=period_s, auto_shutdown=auto_shutdown)
        return list(children)

    def _o_flags(self, **flags: Any) -> None:
        for name, value in flags.items():
            if value is not None:
                setattr(self, name, value)

    def _o_init(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._o_children = {}
        self._o_restart_times = None
        self._o_last_death = None
        self._o_auto_id = 0
        return self._o_boot(args, kwargs)

    async def _o_boot(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        specs = self.init(*args, **kwargs)
        if type(specs) is CoroutineType:
            specs = await specs
        check_flags(self)
        started = 0
        try:
            for spec in specs or ():
                await self._o_start(self._o_add(spec))
                started += 1
                if started % START_BATCH == 0:
                    await asyncio.sleep(0)
        except BaseException:
            # A supervisor whose children do not all start does not start: those that did are stopped.
            for child in reversed(list(self._o_children.values())):
                await self._o_stop_child(child, SHUTDOWN)
            raise

    # -- Children

    def _o_add(self, spec: ChildSpec) -> Child:
        if not isinstance(spec, ChildSpec):
            raise BadChildSpec(f"a supervisor's children are given as ChildSpec objects, not {spec!r}")
        if spec.significant and self.auto_shutdown == "never":
            raise BadChildSpec(
                f"child {spec.id!r} is significant, but the auto_shutdown of {self._o_text()} is 'never'"
            )
        child_id = spec.id
        if child_id is None:
            self._o_auto_id = child_id = self._o_auto_id + 1
        child = Child(spec, child_id, self)
        if self._o_children.setdefault(child_id, child) is not child:
            holder = self._o_children[child_id].agent
            if spec.name is not None and holder is not None and holder._o_child.name == spec.name:
                raise NameTaken(spec.name, holder._o_pid)
            raise BadChildSpec(f"{self._o_text()} has a child {child_id!r} already")
        return child

    async def _o_start(self, child: Child) -> Agent:
        started = self._o_scheduler.lifecycle.start(child)
        return started if isinstance(started, Agent) else await started

    def _o_child_of(self, child_id: Hashable) -> Child:
        child = self._o_children.get(child_id)
        if child is None:
            raise NoSuchChild(self._o_text(), child_id)
        return child

    def _o_forget(self, child: Child) -> None:
        if self._o_children.get(child.id) is child:
            del self._o_children[child.id]

    async def _o_stop_child(self, child: Child, reason: ExitReason) -> None:
        if child.delay is not None:
            child.delay.cancel()
        agent = child.agent
        if agent is None:
            return
        child.waiter = waiter = self._o_scheduler.loop.create_future()
        child.agent = None  # so that its end is expected, and nobody restarts it
        if child.spec.shutdown_s == 0:
            reason = KILLED  # OTP's brutal_kill
        self._o_scheduler.lifecycle.exit(agent, reason)
        if agent._o_status != EXITED:
            await waiter
        child.waiter = None

    def _o_buried(self, reason: ExitReason) -> None:
        # Children must not outlive their supervisor (OTP: they are linked to it).
        for child in reversed(list(self._o_children.values())):
            if child.delay is not None:
                child.delay.cancel()
            agent, child.agent = child.agent, None
            if agent is not None:
                self._o_scheduler.lifecycle.exit(agent, KILLED)
        self._o_children = {}

    # -- A child has ended

    def _o_child_gone(self, child: Child, agent: Agent, reason: ExitReason) -> None:
        """A child has ended that nobody had told to."""
        spec = child.spec
        if spec.restart == "temporary":
            self._o_forget(child)
            discard(child)
            self._o_ended_for_good(child)
        else:
            # Through the queue: whoever ended the agent must not find itself inside a restart.
            self._o_scheduler.post(self._o_child_ended, child, agent, reason)

    def _o_child_ended(self, child: Child, old: Agent, reason: ExitReason) -> None:
        """Restart a permanent or transient child if its spec says so and the intensity allows it."""
        if child.agent is not None or self._o_exit is not None or self._o_children.get(child.id) is not child:
            return
        governing = self._o_node.governing
        if governing is not None and governing.containment.keeps_empty(child, old, reason):
            return
        plan = child.spec.plan
        named = getattr(reason.error, "rung", None)
        if child.spec.restart == "transient" and reason.is_orderly:
            discard(child)
            self._o_ended_for_good(child)
        elif plan is not None and not reason.is_orderly and (plan.ladder is not None or named is not None):
            climb(self, child, old, reason, named)
        elif self.strategy != "one_for_one":
            self._o_deliver(Regroup(child, old, reason))
        elif self._o_may_restart(old, reason):
            if child.spec.backoff is None:
                self._o_restart(child, old)
            else:
                self._o_restart_later(child, old)

    def _o_ended_for_good(self, child: Child) -> None:
        """OTP's auto_shutdown: the end of significant children by themselves can be the end of the supervisor."""
        if not child.spec.significant or self._o_exit is not None:
            return
        if self.auto_shutdown == "all_significant" and any(
            other.spec.significant and not other.is_vacant for other in self._o_children.values()
        ):
            return
        self._o_scheduler.lifecycle.exit(
            self, ExitReason("shutdown", f"significant child {child.id!r} has ended")
        )

    def _o_restart(self, child: Child, old: Agent) -> None:
        lifecycle = self._o_scheduler.lifecycle
        child.restarts += 1
        lifecycle.restarted += 1
        try:
            started = lifecycle.start(child)
        except RuntimeFault as fault:
            self._o_restart_failed(child, old, fault)
            return
        if isinstance(started, Agent):
            lifecycle.restart_done(old, started)
        else:
            started.add_done_callback(lambda future: self._o_restarted(child, old, future))

    def _o_restarted(self, child: Child, old: Agent, started: Future[Agent]) -> None:
        if started.cancelled():
            return
        fault = started.exception()
        if fault is None:
            self._o_scheduler.lifecycle.restart_done(old, started.result())
        else:
            self._o_restart_failed(child, old, fault)

    def _o_restart_failed(self, child: Child, old: Agent, fault: BaseException) -> None:
        if was_stopped(fault):
            return
        # Through the queue, so that a child that never starts costs no recursion: each try counts as a restart.
        self._o_scheduler.post(self._o_child_ended, child, old, reason_of(fault))

    def _o_restart_later(self, child: Child, old: Agent) -> None:
        backoff = child.spec.backoff
        assert backoff is not None
        if child.delay is None:
            child.delay = Delay()
        delay = child.delay
        lived_s = (now_ns() - delay.started_ns) / 1e9
        delay.failures = 1 if delay.failures == 0 or lived_s >= backoff.reset_s else delay.failures + 1

        def again() -> None:
            delay.timer = None
            delay.started_ns = now_ns()
            if self._o_exit is None and self._o_children.get(child.id) is child and child.agent is None:
                self._o_restart(child, old)

        delay.timer = self._o_scheduler.loop.call_later(backoff.wait_s(delay.failures), again)

    def _o_bring_back(self, child: Child, old: Agent, reason: ExitReason, wait_s: float) -> None:
        """A ladder has decided that the child comes back, after a while."""

        def again() -> None:
            if child.delay is not None:
                child.delay.timer = None
            if (
                self._o_exit is not None
                or self._o_children.get(child.id) is not child
                or child.agent is not None
            ):
                return
            if self.strategy == "one_for_one":
                self._o_restart(child, old)
            else:
                self._o_deliver(Regroup(child, old, reason, is_allowed=True))

        if wait_s > 0:
            if child.delay is None:
                child.delay = Delay()
            child.delay.timer = self._o_scheduler.loop.call_later(wait_s, again)
        else:
            again()

    async def _o_regroup(self, child: Child, old: Agent, reason: ExitReason, is_allowed: bool) -> None:
        """`one_for_all` and `rest_for_one`: stop the siblings concerned, latest first, and start all in order."""
        if child.agent is not None or self._o_children.get(child.id) is not child:
            return  # it came back with the regrouping for another one
        lifecycle = self._o_scheduler.lifecycle
        while is_allowed or self._o_may_restart(old, reason):
            is_allowed = False
            group = list(self._o_children.values())
            if self.strategy == "rest_for_one":
                group = group[group.index(child) :]
            before = {one: one.agent for one in group}
            for one in reversed(group):
                await self._o_stop_child(one, SHUTDOWN)
                if one.spec.restart == "temporary":
                    self._o_forget(one)
                    discard(one)
            for one in group:
                if one.spec.restart == "temporary" or (before[one] is None and one is not child):
                    continue  # it had ended for good before
                one.restarts += 1
                lifecycle.restarted += 1
                try:
                    agent = await self._o_start(one)
                except RuntimeFault as fault:
                    if was_stopped(fault):
                        continue
                    child, reason = one, reason_of(fault)
                    break
                lifecycle.restart_done(before[one] or old, agent)
            else:
                return

    def _o_may_restart(self, old: Agent, reason: ExitReason) -> bool:
        """Count a restart, over a sliding window as OTP does. One too many, and the supervisor ends.

        The end of a worker process counts once, however many children were in it.
        """
        death = reason.error
        if isinstance(death, WorkerDied):
            if death is self._o_last_death:
                return True
            self._o_last_death = death
        if self._o_restart_times is None:
            self._o_restart_times = deque(maxlen=self.intensity + 1)
        times = self._o_restart_times
        now = now_ns()
        times.append(now)
        if len(times) <= self.intensity or now - times[0] > self.period_s * 1e9:
            return True
        logger.error(
            "%s gives up: more than %d restarts within %g s; the last child to end was %s (%s)",
            self._o_text(),
            self.intensity,
            self.period_s,
            old._o_text(),
            reason,
        )
        self._o_scheduler.lifecycle.exit(self, ExitReason("shutdown", "reached_max_restart_intensity"))
        return False
