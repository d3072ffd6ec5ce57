"""Supervisors: agents that start, watch and restart other agents.

The behaviour is OTP's ``supervisor`` (https://www.erlang.org/doc/apps/stdlib/supervisor.html): children are started in
the order of their specs and stopped in reverse; a child that exits is restarted as its `restart` says; more than
`intensity` restarts within `period_s` seconds, and the supervisor stops its children and exits itself, so that the
supervisor above decides.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from types import CoroutineType
from typing import Any, Literal, cast, get_args

from observe.runtime.agent import EXITED, Agent
from observe.runtime.clock import now_ns
from observe.runtime.errors import BadChildSpec, InitFailed, NameTaken, NodeDown, NoSuchChild, RuntimeFault
from observe.runtime.exits import KILLED, SHUTDOWN, Crash, ExitReason
from observe.runtime.ref import Ref

logger = logging.getLogger("observe.runtime")

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one"]

INTENSITY = 1
"""OTP's default: at most one restart …"""

PERIOD_S = 5.0
"""… within five seconds."""

SHUTDOWN_S = 5.0
"""OTP's default time for a worker to end when it is told to."""

START_BATCH = 500
"""Children that a supervisor starts before it lets others run."""


class ChildSpec:
    """What a supervisor must know of a child to start it, and to start it again.

    Args:
        agent: the class.
        args, kwargs: handed to `init`, at each start.
        id: unique among the children of the supervisor; `name` if left out, else a number.
        name: registered on the node while the child lives.
        restart: `permanent` children are always restarted, `transient` ones after a crash or kill, `temporary` ones
            never.
        shutdown_s: seconds that the child may take to end when told to; then it is killed.

    Raises:
        BadChildSpec: an argument is not valid.
    """

    __slots__ = ("agent", "args", "id", "kwargs", "name", "restart", "shutdown_s")

    def __init__(
        self,
        agent: type[Agent],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        id: Hashable = None,  # noqa: A002  # OTP's word
        name: str | None = None,
        restart: Restart = "permanent",
        shutdown_s: float = SHUTDOWN_S,
    ) -> None:
        if not (isinstance(agent, type) and issubclass(agent, Agent)):
            raise BadChildSpec(f"a child's agent must be a subclass of Agent, not {agent!r}")
        if restart not in _RESTARTS:
            raise BadChildSpec(f"restart must be one of {', '.join(_RESTARTS)}, not {restart!r}")
        if name is not None and (type(name) is not str or not name):
            raise BadChildSpec(f"a name must be a text that is not empty, not {name!r}")
        if type(args) is not tuple:
            raise BadChildSpec(
                f"args must be a tuple, not {args!r}\n  wrong: ChildSpec(Worker, args=(1))\n"
                "  right: ChildSpec(Worker, args=(1,))"
            )
        if not shutdown_s >= 0:
            raise BadChildSpec(f"shutdown_s must be 0 or more seconds, not {shutdown_s!r}")
        self.agent = agent
        self.args = args
        self.kwargs = kwargs or _NO_KWARGS
        self.id = id if id is not None else name
        self.name = name
        self.restart: Restart = restart
        self.shutdown_s = shutdown_s

    def __repr__(self) -> str:
        return (
            f"ChildSpec({self.agent.__name__}, id={self.id!r}, name={self.name!r}, restart={self.restart!r})"
        )


_RESTARTS = get_args(Restart)
_STRATEGIES = get_args(Strategy)
_NO_KWARGS: Mapping[str, Any] = {}


class Child:
    """One place under a supervisor: stays when the agent in it is replaced."""

    __slots__ = ("agent", "crashes", "id", "last_crash", "restarts", "spec", "supervisor", "waiter")

    def __init__(self, spec: ChildSpec, id: Hashable, supervisor: Supervisor | None) -> None:  # noqa: A002
        self.spec = spec
        self.id = id
        self.supervisor = supervisor
        """None for the root supervisor."""
        self.agent: Agent | None = None
        """The agent that is in this place, None when it has ended and was not restarted."""
        self.restarts = 0
        self.crashes = 0
        self.last_crash: Crash | None = None
        self.waiter: Future[None] | None = None
        """Done when the agent that is ending has ended."""

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's pid, 0 for the root."""
        return self.supervisor._o_pid if self.supervisor is not None else 0

    def ended(self, agent: Agent, reason: ExitReason, tell_supervisor: bool) -> None:
        """The lifecycle's word that `agent` is gone."""
        if self.agent is agent:
            self.agent = None
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        supervisor = self.supervisor
        if supervisor is None:
            agent._o_node._root_ended(reason)
        elif tell_supervisor:
            if self.spec.restart == "temporary":
                supervisor._o_forget(self)
            else:
                # Through the queue: whoever ended the agent must not find itself inside a restart.
                agent._o_scheduler.post(supervisor._o_child_ended, self, agent, reason)


class SupervisorRef(Ref):
    """A reference to a supervisor, with what one may ask of it."""

    __slots__ = ()

    @property
    def _supervisor(self) -> Supervisor:
        agent = cast(Supervisor, self._agent)
        if not agent._o_is_alive():
            raise NodeDown(f"the supervisor {agent._o_text()} has ended")
        return agent

    async def start_child(self, spec: ChildSpec) -> Ref:
        """Start a child; returns when its `init` is done.

        Raises:
            BadChildSpec: a child of this id exists.
            NameTaken: its name belongs to another agent.
            InitFailed: its `init` raised; the child is forgotten.
        """
        supervisor = self._supervisor
        child = supervisor._o_add(spec)
        try:
            started = supervisor._o_scheduler.lifecycle.start(child)
            agent = started if isinstance(started, Agent) else await started
        except BaseException:
            supervisor._o_forget(child)
            raise
        return agent._o_ref()

    async def terminate_child(self, child_id: Hashable) -> None:
        """End a child, and wait for its end. A temporary child is forgotten, others stay and can be restarted.

        Raises:
            NoSuchChild: no child has this id.
        """
        supervisor = self._supervisor
        child = supervisor._o_child_of(child_id)
        await supervisor._o_stop_child(child, SHUTDOWN)
        if child.spec.restart == "temporary":
            supervisor._o_forget(child)

    async def restart_child(self, child_id: Hashable) -> Ref:
        """Start a child that has ended.

        Raises:
            NoSuchChild: no child has this id.
            RuntimeFault: it is running.
            InitFailed: its `init` raised; the child stays, not running.
        """
        supervisor = self._supervisor
        child = supervisor._o_child_of(child_id)
        if child.agent is not None:
            raise RuntimeFault(f"child {child_id!r} is running")
        started = supervisor._o_scheduler.lifecycle.start(child)
        agent = started if isinstance(started, Agent) else await started
        return agent._o_ref()

    def delete_child(self, child_id: Hashable) -> None:
        """Forget a child that has ended.

        Raises:
            NoSuchChild: no child has this id.
            RuntimeFault: it is running.
        """
        supervisor = self._supervisor
        if supervisor._o_child_of(child_id).agent is not None:
            raise RuntimeFault(f"child {child_id!r} is running; terminate_child() ends it")
        del supervisor._o_children[child_id]

    def which_children(self) -> list[tuple[Hashable, Ref | None, ChildSpec]]:
        """All children in the order of their start: id, reference (None when not running), spec."""
        return [
            (child.id, child.agent._o_ref() if child.agent is not None else None, child.spec)
            for child in self._supervisor._o_children.values()
        ]

    def count_children(self) -> dict[str, int]:
        """How many children there are: `specs`, `active`, `supervisors`, `workers` (OTP's words)."""
        children = self._supervisor._o_children.values()
        supervisors = sum(issubclass(child.spec.agent, Supervisor) for child in children)
        return {
            "specs": len(children),
            "active": sum(child.agent is not None for child in children),
            "supervisors": supervisors,
            "workers": len(children) - supervisors,
        }


class Supervisor(Agent):
    """An agent that supervises others.

    Give the child specs where it is started (``node.spawn(Supervisor, [ChildSpec(...)], intensity=10)``), or
    subclass it, set `strategy`, `intensity` and `period_s`, and return the child specs from `init`.
    """

    __slots__ = ("__dict__", "_o_auto_id", "_o_children", "_o_restart_times")

    _o_system = True

    strategy: Strategy = "one_for_one"
    """`one_for_one`: only the child that ended is restarted."""

    intensity: int = INTENSITY
    """Restarts allowed within `period_s`. One more, and the supervisor gives up."""

    period_s: float = PERIOD_S

    _o_children: dict[Hashable, Child]
    _o_restart_times: deque[int] | None

    def init(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy | None = None,
        intensity: int | None = None,
        period_s: float | None = None,
    ) -> Any:
        """Return the specs of the children to start, in order. Subclasses take what arguments they like."""
        if strategy is not None:
            self.strategy = strategy
        if intensity is not None:
            self.intensity = intensity
        if period_s is not None:
            self.period_s = period_s
        return list(children)

    def handle(self, message: Any) -> None:
        """A supervisor expects no messages; one that comes is logged and dropped, as in OTP."""
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

    def _o_init(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._o_children = {}
        self._o_restart_times = None
        self._o_auto_id = 0
        return self._o_boot(args, kwargs)

    async def _o_boot(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        specs = self.init(*args, **kwargs)
        if type(specs) is CoroutineType:
            specs = await specs
        self._o_check_flags()
        lifecycle = self._o_scheduler.lifecycle
        started = 0
        try:
            for spec in specs or ():
                child = self._o_add(spec)
                agent = lifecycle.start(child)
                if not isinstance(agent, Agent):
                    await agent
                started += 1
                if started % START_BATCH == 0:
                    await asyncio.sleep(0)
        except BaseException:
            # A supervisor whose children do not all start does not start: those that did are stopped.
            for child in reversed(list(self._o_children.values())):
                await self._o_stop_child(child, SHUTDOWN)
            raise

    def _o_check_flags(self) -> None:
        if self.strategy not in _STRATEGIES:
            raise BadChildSpec(f"strategy must be one of {', '.join(_STRATEGIES)}, not {self.strategy!r}")
        if type(self.intensity) is not int or self.intensity < 0:
            raise BadChildSpec(f"intensity must be a whole number from 0, not {self.intensity!r}")
        if not self.period_s > 0:
            raise BadChildSpec(f"period_s must be more than 0 seconds, not {self.period_s!r}")

    def _o_add(self, spec: ChildSpec) -> Child:
        if not isinstance(spec, ChildSpec):
            raise BadChildSpec(f"a supervisor's children are given as ChildSpec objects, not {spec!r}")
        child_id = spec.id
        if child_id is None:
            self._o_auto_id = child_id = self._o_auto_id + 1
        child = Child(spec, child_id, self)
        if self._o_children.setdefault(child_id, child) is not child:
            holder = self._o_children[child_id].agent
            if spec.name is not None and holder is not None and holder._o_child.spec.name == spec.name:
                raise NameTaken(spec.name, holder._o_pid)
            raise BadChildSpec(f"{self._o_text()} has a child {child_id!r} already")
        return child

    def _o_child_of(self, child_id: Hashable) -> Child:
        child = self._o_children.get(child_id)
        if child is None:
            raise NoSuchChild(self._o_text(), child_id)
        return child

    async def _o_stop_child(self, child: Child, reason: ExitReason) -> None:
        agent = child.agent
        if agent is None:
            return
        lifecycle = self._o_scheduler.lifecycle
        child.waiter = waiter = self._o_scheduler.loop.create_future()
        child.agent = None  # so that its end is expected, and nobody restarts it
        lifecycle.exit(agent, reason)
        if agent._o_status != EXITED:
            await waiter
        child.waiter = None

    def _o_child_ended(self, child: Child, agent: Agent, reason: ExitReason) -> None:
        """A child has ended by itself or was killed: restart it if its spec says so and the intensity allows it.

        Temporary children do not come here: they are forgotten as they end.
        """
        if child.agent is not None or self._o_exit is not None or self._o_children.get(child.id) is not child:
            return
        if child.spec.restart == "permanent" or not reason.is_orderly:
            self._o_restart(child, agent, reason)

    def _o_forget(self, child: Child) -> None:
        if self._o_children.get(child.id) is child:
            del self._o_children[child.id]

    def _o_restart(self, child: Child, old: Agent, reason: ExitReason) -> None:
        if not self._o_may_restart():
            logger.error(
                "%s gives up: more than %d restarts within %g s; the last child to end was %s (%s)",
                self._o_text(),
                self.intensity,
                self.period_s,
                old._o_text(),
                reason,
            )
            self._o_scheduler.lifecycle.exit(self, ExitReason("shutdown", "reached_max_restart_intensity"))
            return
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
        reason = fault.reason if isinstance(fault, InitFailed) else ExitReason("crash", str(fault), fault)
        # Through the queue, so that a child that never starts costs no recursion: each try counts as a restart.
        self._o_scheduler.post(self._o_child_ended, child, old, reason)

    def _o_may_restart(self) -> bool:
        """Count a restart; false when it is one too many. As OTP's supervisor does, over a sliding window."""
        if self._o_restart_times is None:
            self._o_restart_times = deque(maxlen=self.intensity + 1)
        times = self._o_restart_times
        now = now_ns()
        times.append(now)
        return not (len(times) > self.intensity and now - times[0] <= self.period_s * 1e9)

    def _o_buried(self, reason: ExitReason) -> None:
        # Children must not outlive their supervisor (OTP: they are linked to it).
        for child in reversed(list(self._o_children.values())):
            agent = child.agent
            if agent is not None:
                child.agent = None
                self._o_scheduler.lifecycle.exit(agent, KILLED)
        self._o_children = {}
