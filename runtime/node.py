"""The node: one running service under one name. The runtime's front door."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from observe.runtime.agent import EXITED, Agent
from observe.runtime.calls import Call
from observe.runtime.children import Child, ChildSpec, Isolation, Restart
from observe.runtime.clock import wall_s
from observe.runtime.control import Control
from observe.runtime.errors import AgentExited, NodeDown, NoSuchAgent, RuntimeFault
from observe.runtime.exits import KILLED, SHUTDOWN, ExitReason
from observe.runtime.findings import Findings
from observe.runtime.frozen import Preemption
from observe.runtime.groups import Groups
from observe.runtime.instrument import Instruments
from observe.runtime.letters import DeadLetter, DeadLetters, Why
from observe.runtime.lifecycle import Lifecycle
from observe.runtime.node_options import NodeOptions, name_and_host
from observe.runtime.node_resources import NodeResources
from observe.runtime.parking import Parking
from observe.runtime.ref import NamedRef, Ref
from observe.runtime.scheduler import Scheduler
from observe.runtime.stores import Store
from observe.runtime.supervisor import Supervisor
from observe.runtime.supervisor_ref import SupervisorRef
from observe.runtime.tasks import Tasks
from observe.runtime.vitals import NodeVitals
from observe.runtime.watchdog import LIMIT_S

if TYPE_CHECKING:
    from observe.runtime.approvals import Approvals
    from observe.runtime.charges import Charge
    from observe.runtime.governing import Governing
    from observe.runtime.policy_set import NodePolicies, Policy
    from observe.runtime.reload.reloader import Reloader
    from observe.runtime.reload.watching import Watching
    from observe.runtime.risk import Risks
    from observe.runtime.workers.limits import Limits
    from observe.runtime.workers.pool import WorkerFacts, Workers

logger = logging.getLogger("observe.runtime")

STOP_TIMEOUT_S: Final = 10.0
"""How long `Node.stop` waits for the tree to end in order before it kills what is left."""

S = TypeVar("S", bound=Supervisor)


class Node:
    """Runs agents on the current event loop, under a root supervisor.

        async with Node("shop") as node:
            counter = await node.spawn(Counter, name="counter", restart="permanent")
            print(await counter.call("up"))

    Args:
        name: "shop", or "shop@host" to say what this machine is called to people who attach.
        intensity, period_s: of the root supervisor; when it gives up, the node ends.
        store: where checkpoints, results of keyed activities and parked messages are kept.
        watchdog_s: an agent whose slice takes longer is a finding; None for no watchdog.
        preempt: freeze steps that overrun and let others run in between (docs/preemption.md). Needs greenlet (which
            comes with the package on CPython) and the event loop in the main thread: `start` raises PreemptionUnavailable where that is not so.
        rare_full_gc: left out, Python's full garbage collections wait while agents are started by the thousand, and a second
            longer (docs/runtime.md, "Very many agents"). True makes them rare for as long as the node runs, so that cyclic garbage that has grown
            old stays longer; False never touches Python's settings. They are those of the whole process.
        tasks: note who creates each asyncio task of the event loop, and when (docs/tasks.md). Tasks can be looked at without;
            then nothing of them is kept.
        watch: reload modules of the project when their files are saved (docs/reload.md). For development.
        workers: spread agents over so many worker processes besides this one (docs/runtime.md, "Processes").
        policies: what agents may do (docs/policies.md): rules and machines, or the path of a YAML file, which is read again when it changes.

    Raises:
        ValueError: the name has characters that a node's name may not have, or `watchdog_s` is not above 0.
    """

    is_worker = False
    """Whether this is how a worker process sees the node."""

    def __init__(
        self,
        name: str = "node",
        *,
        intensity: int = 3,
        period_s: float = 5.0,
        store: Store | None = None,
        watchdog_s: float | None = LIMIT_S,
        preempt: bool | Preemption = False,
        preempt_tasks: bool = False,
        rare_full_gc: bool | None = None,
        workers: int = 0,
        watch: bool = False,
        tasks: bool = False,
        policies: Sequence[Policy] | str | os.PathLike[str] | None = None,
    ) -> None:
        self._options = NodeOptions(
            intensity=intensity,
            period_s=period_s,
            watchdog_s=watchdog_s,
            preemption=Preemption() if preempt is True else preempt or None,
            preempt_tasks=preempt_tasks,
            rare_full_gc=rare_full_gc,
            workers=workers,
            watch=watch,
            tasks=tasks,
        )
        self.short_name, self.host = name_and_host(name)
        self.name = f"{self.short_name}@{self.host}"
        """The node's full name, `shop@host`."""
        self.incarnation = secrets.token_hex(8)
        """Unique to this run of the node: what was meant for an earlier one is refused."""
        self.started_at = 0.0
        """Unix time of the start."""
        self.os_pid = os.getpid()
        self.store = store
        """Where checkpoints are kept; None for nowhere."""
        self.parked = Parking(self)
        """Messages that wait for a human."""
        self.instruments = Instruments()
        self.letters = DeadLetters()
        """The newest messages that reached nobody."""
        self._scheduler: Scheduler | None = None
        self._lifecycle: Lifecycle | None = None
        self._root: Supervisor | None = None
        self._resources: NodeResources | None = None
        self.findings = Findings(self.instruments)
        """What the node has found wrong with itself."""
        self._stopped: Future[ExitReason] | None = None
        self.control = Control(self)
        self.tasks = Tasks(self)
        """The asyncio tasks of the event loop, agents' or not."""
        self._reloader: Reloader | None = None
        self.governing: Governing | None = None
        """What agents may do; None while nobody governs anything. `govern()` makes it."""
        self._risks: Risks | None = None
        self.policies: NodePolicies | None = None
        """What agents may do, as declared for the node; None where nothing was."""
        if policies is not None:
            from observe.runtime.policy_set import NodePolicies  # not for a node that never governs

            self.policies = NodePolicies(self, policies)
        self._watching: Watching | None = None

    # -- Start and stop

    async def start(self) -> Self:
        """Start on the running event loop.

        Raises:
            NodeDown: the node has been started before; make another Node.
            StoreFault: its store cannot be used.
            PreemptionUnavailable: the node was to preempt, and cannot here.
            PoliciesRefused: the file of its policies cannot be read or makes no sense.
        """
        if self._scheduler is not None:
            raise NodeDown("a node runs once; make another Node to start again")
        await self._open()
        if self.policies is not None:
            await self._begin_policies(self.policies)
        if self._options.workers:
            self._open_workers().start()
        options = {"intensity": self._options.intensity, "period_s": self._options.period_s}
        spec = ChildSpec(Supervisor, kwargs=options, id="root", name="root", shutdown_s=STOP_TIMEOUT_S)
        started = self.lifecycle.start(Child(spec, "root", None))
        root = started if isinstance(started, Agent) else await started
        assert isinstance(root, Supervisor)
        self._root = root
        if self._options.watch:
            from observe.runtime.reload.watching import Watching

            self._watching = Watching(self)
            self._watching.start()
        return self

    async def _begin_policies(self, policies: NodePolicies) -> None:
        try:
            await policies.start()
        except BaseException:
            await self._close()
            raise

    async def _open(self) -> None:
        """Everything that is there before the first agent."""
        loop = asyncio.get_running_loop()
        self.started_at = wall_s()
        self._scheduler = scheduler = self._make_scheduler(loop)
        self._lifecycle = scheduler.lifecycle = self._make_lifecycle(scheduler)
        self._stopped = loop.create_future()
        self._resources = NodeResources(self, scheduler, self._lifecycle, self._options)
        await self._resources.open()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End all agents, children in the reverse order of their start. What has not ended in time is killed."""
        if self._scheduler is None or self._lifecycle is None or self._stopped is None:
            return
        if self._scheduler.closed:
            return
        if self._watching is not None:
            await self._watching.stop()
        if self.policies is not None:
            await self.policies.stop()
        if self._root is not None and self._root._o_status != EXITED:
            self._lifecycle.exit(self._root, SHUTDOWN)
            done, _ = await asyncio.wait([self._stopped], timeout=timeout_s)
            if not done:
                logger.warning("node %s: agents did not end within %g s and are killed", self.name, timeout_s)
                self._lifecycle.exit(self._root, KILLED)
        # Below a supervisor that was killed, steps may still be unwinding: each has its grace.
        for agent in list(self._lifecycle.agents.values()):
            await self._lifecycle.wait_exit(agent)
        if self._lifecycle.workers is not None:
            await self._lifecycle.workers.close()
        if self._scheduler.preempter is not None:
            await self._scheduler.preempter.end_tasks()
        await self._close()

    async def _close(self) -> None:
        """Nobody runs (any more): let go of everything."""
        assert self._resources is not None
        if self.governing is not None:
            self.governing.close()
        await self._resources.close()

    async def wait_stopped(self) -> ExitReason:
        """Wait until the root supervisor has ended, and say why: `shutdown` by `stop`, or because it gave up."""
        if self._stopped is None:
            raise NodeDown("the node has not been started")
        return await asyncio.shield(self._stopped)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _make_scheduler(self, loop: AbstractEventLoop) -> Scheduler:
        return Scheduler(self, loop)

    def _make_lifecycle(self, scheduler: Scheduler) -> Lifecycle:
        return Lifecycle(self, scheduler, self.instruments)

    def _open_workers(self) -> Workers:
        from observe.runtime.workers.pool import Workers  # processes and pickle: not for a node without

        lifecycle = self.lifecycle
        if lifecycle.workers is None:
            lifecycle.workers = Workers(self, self._options.workers)
        return lifecycle.workers

    def _class_for(self, child: Child) -> type[Agent]:
        """Of what class the object is that takes this place; see `Workers.class_for`."""
        return self._open_workers().class_for(child)

    @property
    def reloader(self) -> Reloader:
        """Puts new code of modules in the place of what is loaded (docs/reload.md)."""
        from observe.runtime.reload.reloader import Reloader  # not for a node that never reloads

        if self._reloader is None:
            self._reloader = Reloader(self)
        return self._reloader

    def govern(self) -> Governing:
        """What agents may do, and who decides it (docs/containment.md, docs/policies.md). From here on it is asked."""
        if self.governing is None:
            from observe.runtime.governing import Governing  # not for a node that never governs

            self.governing = Governing(self)
        return self.governing

    def _make_approvals(self, governing: Governing) -> Approvals:
        from observe.runtime.approvals import Approvals  # it needs what `governing` has

        return Approvals(governing)

    @property
    def risks(self) -> Risks:
        """How much its agents could do by themselves (docs/risk.md). From the first look on, what they do is noted for that."""
        if self._risks is None:
            from observe.runtime.risk import Risks  # not for a node that nobody looks at

            self._risks = Risks(self)
        self._risks.begin()
        return self._risks

    # In a worker, what is spent is charged to supervisors of the node's process as well.

    def _charge_call_above(self, agent: Agent, name: str, arguments: Callable[[], str]) -> None: ...
    def _charge_usage_above(
        self, agent: Agent, input_tokens: int, output_tokens: int, cost: float
    ) -> None: ...
    def _progress_above(self, agent: Agent) -> None: ...
    def _charge_caps_above(self, charges: list[Charge]) -> None: ...

    async def _start_fan_out(self, spec: ChildSpec) -> Agent:
        """Start the supervisor of a `supervised_map`'s items, in the process of its caller."""
        ref: Ref = await self.supervisor.start_child(spec)
        return ref._agent

    def _ref_to(self, target: int | str) -> Ref:
        """A ref that came from another process of the node, by pid or by name."""
        if isinstance(target, str):
            return NamedRef(self, target)
        agent = self.agents.get(target)
        if agent is not None:
            return agent._o_ref()
        from observe.runtime.workers.gone import gone

        return gone(self, target)._o_ref()

    def _root_ended(self, reason: ExitReason) -> None:
        if reason.text:
            logger.critical("node %s: the root supervisor has ended: %s", self.name, reason)
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(reason)

    # -- Agents

    @overload
    async def spawn(
        self,
        agent: type[S],
        *args: Any,
        name: str | None = None,
        restart: Restart = "temporary",
        shutdown_s: float | None = None,
        isolation: Isolation | None = None,
        worker: int | None = None,
        limits: Limits | None = None,
        **kwargs: Any,
    ) -> SupervisorRef: ...

    @overload
    async def spawn(
        self,
        agent: type[Agent],
        *args: Any,
        name: str | None = None,
        restart: Restart = "temporary",
        shutdown_s: float | None = None,
        isolation: Isolation | None = None,
        worker: int | None = None,
        limits: Limits | None = None,
        **kwargs: Any,
    ) -> Ref: ...

    async def spawn(
        self,
        agent: type[Agent],
        *args: Any,
        name: str | None = None,
        restart: Restart = "temporary",
        shutdown_s: float | None = None,
        isolation: Isolation | None = None,
        worker: int | None = None,
        limits: Limits | None = None,
        **kwargs: Any,
    ) -> Ref:
        """Start an agent under the root supervisor; returns when its `init` is done.

        Args:
            agent: the class; further arguments go to its `init`.
            name: to register it under.
            restart: `temporary` (not restarted) unless told otherwise; `permanent` or `transient` as in OTP.
            shutdown_s: how long it may take to end when told to, as in `ChildSpec`.
            isolation, worker, limits: in which process it runs, as in `ChildSpec`.

        Raises:
            NameTaken: the name belongs to another live agent.
            InitFailed: `init` raised.
            NodeDown: the node is not running.
        """
        spec = ChildSpec(
            agent,
            args,
            kwargs,
            name=name,
            restart=restart,
            shutdown_s=shutdown_s,
            isolation=isolation,
            worker=worker,
            limits=limits,
        )
        return await self.supervisor.start_child(spec)

    @property
    def supervisor(self) -> SupervisorRef:
        """The root supervisor.

        Raises:
            NodeDown: the node is not running.
        """
        if self._root is None:
            raise NodeDown(
                "the node has not been started: use `async with Node(...)` or `await node.start()`"
            )
        return SupervisorRef(self._root)

    def whereis(self, name: str) -> Ref | None:
        """The agent that has this name now, or None (OTP: whereis/1)."""
        agent = self.registry.get(name)
        return agent._o_ref() if agent is not None else None

    def ref(self, target: int | str) -> Ref:
        """A reference by name, which is looked up at each use, or to the agent with this pid.

        Raises:
            NoSuchAgent: no live agent has this pid.
        """
        if isinstance(target, str):
            return NamedRef(self, target)
        agent = self.agents.get(target)
        if agent is None:
            raise NoSuchAgent(target)
        return agent._o_ref()

    def workers(self) -> list[WorkerFacts]:
        """The node's worker processes that live now, those of single agents among them."""
        workers = self.lifecycle.workers
        return workers.facts() if workers is not None else []

    # -- For instruments, the probe and the console

    @property
    def loop(self) -> AbstractEventLoop:
        """The event loop on which the agents run."""
        return self.scheduler.loop

    @property
    def scheduler(self) -> Scheduler:
        """The node's scheduler; NodeDown before the start."""
        if self._scheduler is None:
            raise NodeDown("the node has not been started")
        return self._scheduler

    @property
    def lifecycle(self) -> Lifecycle:
        """What starts and ends agents; NodeDown before the start."""
        if self._lifecycle is None:
            raise NodeDown("the node has not been started")
        return self._lifecycle

    @property
    def agents(self) -> dict[int, Agent]:
        """Live agents by pid, in the order of their start. Look, do not touch."""
        return self.lifecycle.agents

    @property
    def groups(self) -> Groups:
        """The node's process groups: join, leave, members, publish."""
        return self.lifecycle.groups

    @property
    def registry(self) -> Mapping[str, Agent]:
        """Live agents by name."""
        return self.lifecycle.registry

    @property
    def is_running(self) -> bool:
        """Started, not stopped, and in the process that started it."""
        return self._scheduler is not None and not self._scheduler.closed and os.getpid() == self.os_pid

    def snapshot_vitals(self) -> NodeVitals:
        """The node's counters now. Costs a microsecond."""
        scheduler, lifecycle = self.scheduler, self.lifecycle
        return NodeVitals(
            agents=len(lifecycle.agents),
            handled=scheduler.handled + (lifecycle.workers.handled if lifecycle.workers is not None else 0),
            run_queue=scheduler.run_queue,
            busy_us=scheduler.busy_ns // 1000,
            spawned=lifecycle.spawned,
            exited=lifecycle.exited,
            crashes=lifecycle.crashed,
            restarts=lifecycle.restarted,
            dead_letters=self.dead_letter_count,
        )

    @property
    def dead_letters(self) -> deque[DeadLetter]:
        """The newest messages that reached nobody, the oldest first."""
        return self.letters.newest

    @property
    def dead_letter_count(self) -> int:
        """How many messages have reached nobody since the start."""
        return self.letters.count

    def dead_letter(
        self,
        target: Agent | str,
        message: Any,
        reason: ExitReason | None = None,
        why: Why | None = None,
        *,
        waited: bool = False,
    ) -> None:
        """Take a message that reaches nobody: fail it at once if somebody waits for its reply, else keep it for a
        while."""
        text = target if isinstance(target, str) else target._o_text()
        if type(message) is Call:
            fault: RuntimeFault = AgentExited(text, reason) if reason is not None else NoSuchAgent(text)
            message.fail(fault)
            if not message.is_cast:
                return
            message = message.message
        self.letters.add(target, message, reason, why, waited=waited)

    def __repr__(self) -> str:
        return f"<Node {self.name} {'running' if self.is_running else 'not running'}>"
