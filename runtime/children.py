"""Child specs, and the places that children have under a supervisor."""

from __future__ import annotations

import math
import random
from asyncio import Future, TimerHandle
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from observe.runtime.agent import Agent
from observe.runtime.errors import BadChildSpec
from observe.runtime.exits import Crash, ExitReason
from observe.runtime.plan import InHand, Past, Plan, Policy

if TYPE_CHECKING:
    from observe.runtime.budget import Budget
    from observe.runtime.ladder import Ladder
    from observe.runtime.supervisor import Supervisor
    from observe.runtime.workers.limits import Limits

Restart = Literal["permanent", "transient", "temporary"]

SHUTDOWN_S = 5.0
"""OTP's default time for an agent to end when it is told to. Supervisors have as long as it takes, as there."""

Isolation = Literal["none", "worker", "process"]
"""Where an agent runs."""

_RESTARTS = get_args(Restart)
_NO_KWARGS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Backoff:
    """Wait before each restart, longer each time: `first_s`, then `factor` times as long, up to `most_s`.

    The waits begin anew once the child has lived for `reset_s` seconds. A wait is shortened by a random share of up
    to `jitter`, so that children that fell together do not come back together.

    Raises:
        BadChildSpec: a value is out of its range.
    """

    first_s: float = 0.1
    most_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        if not (
            0 < self.first_s <= self.most_s
            and self.factor >= 1
            and 0 <= self.jitter <= 1
            and self.reset_s >= 0
        ):
            raise BadChildSpec(
                "a backoff needs 0 < first_s <= most_s, factor >= 1, 0 <= jitter <= 1 and reset_s >= 0, not "
                f"{self!r}"
            )

    def wait_s(self, failures: int, random_share: float | None = None) -> float:
        """How long to wait after `failures` ends in a row, counted from 1."""
        share = random.random() if random_share is None else random_share
        # The exponent is bounded so that a child that fails for weeks does not overflow a float.
        whole = min(self.most_s, self.first_s * self.factor ** min(failures - 1, 64))
        return whole * (1 - self.jitter * share)


class ChildSpec:
    """What a supervisor must know of a child to start it, and to start it again.

    Args:
        agent: the class.
        args, kwargs: handed to `init`, at each start.
        id: unique among the children of the supervisor; `name` if left out, else a number.
        name: registered on the node while the child lives.
        restart: `permanent` children are always restarted, `transient` ones after a crash or kill, `temporary` ones
            never.
        shutdown_s: seconds that the child may take to end when told to; then it is killed. Left out, 5 for agents and as long as
            it takes for supervisors, who are done when their children are. 0 kills at once (OTP: brutal_kill).
        significant: its end by itself counts for the supervisor's `auto_shutdown`. Not for permanent children.
        backoff: waits between restarts; none if left out, as in OTP.
        checkpoint: when the state is saved without being asked: `"each_message"`, `"each_step"` (also when a message is
            taken in hand, and after each activity) or `every(seconds)`. The class's `checkpoints` if left out.
        restore: the child comes back from its last checkpoint, also in another process, and runs `restored` instead
            of `init`.
        in_hand: what becomes of the message that was in hand when it ended: `drop` it as OTP does, `retry` it first thing, or
            `park` it for a human.
        ladder: what is done about each further failure, in place of plain restarts.
        budget: what the child, or all below a supervisor, may spend.

        isolation: `"process"` gives the child an operating-system process of its own, `"worker"` one of the node's workers,
            `"none"` the node's own process. Left out: a worker if the node has any, for what can run there.
        worker: which of the node's workers, from 1; the one with the fewest agents if left out.
        limits: of the child's own process.

    Raises:
        BadChildSpec: an argument is not valid.
    """

    __slots__ = (
        "agent",
        "args",
        "backoff",
        "id",
        "isolation",
        "kwargs",
        "limits",
        "name",
        "plan",
        "restart",
        "shutdown_s",
        "significant",
        "worker",
    )

    def __init__(
        self,
        agent: type[Agent],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        id: Hashable = None,  # noqa: A002  # OTP's word
        name: str | None = None,
        restart: Restart = "permanent",
        shutdown_s: float | None = None,
        significant: bool = False,
        backoff: Backoff | None = None,
        checkpoint: Policy | None = None,
        restore: bool = False,
        in_hand: InHand = "drop",
        ladder: Ladder | None = None,
        budget: Budget | None = None,
        isolation: Isolation | None = None,
        worker: int | None = None,
        limits: Limits | None = None,
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
        if shutdown_s is None:
            shutdown_s = math.inf if agent._o_system else SHUTDOWN_S
        if not shutdown_s >= 0:
            raise BadChildSpec(f"shutdown_s must be 0 or more seconds, not {shutdown_s!r}")
        if significant and restart == "permanent":
            raise BadChildSpec("a permanent child cannot be significant: it never ends by itself for good")
        self.agent = agent
        self.args = args
        self.kwargs = kwargs or _NO_KWARGS
        self.id = id if id is not None else name
        self.name = name
        self.restart: Restart = restart
        self.shutdown_s = shutdown_s
        self.significant = significant
        self.backoff = backoff
        self.plan: Plan | None = None
        checkpoint = checkpoint or agent.checkpoints
        if checkpoint is not None or restore or in_hand != "drop" or ladder is not None or budget is not None:
            self.plan = Plan(agent, restart, checkpoint, restore, in_hand, ladder, budget)
        if worker is not None and isolation is None:
            isolation = "worker"
        self.isolation = isolation
        self.worker = worker
        self.limits = limits
        if isolation is not None or limits is not None:
            _check_isolation(self)

    def __repr__(self) -> str:
        return (
            f"ChildSpec({self.agent.__name__}, id={self.id!r}, name={self.name!r}, restart={self.restart!r})"
        )


def _check_isolation(spec: ChildSpec) -> None:
    isolation, agent = spec.isolation, spec.agent
    if isolation is not None and isolation not in get_args(Isolation):
        raise BadChildSpec(f"isolation must be one of {', '.join(get_args(Isolation))}, not {isolation!r}")
    if spec.worker is not None and (isolation != "worker" or type(spec.worker) is not int or spec.worker < 1):
        raise BadChildSpec(f"worker is the number of one of the node's workers, from 1, not {spec.worker!r}")
    if spec.limits is not None and isolation != "process":
        raise BadChildSpec("limits are those of a process: say isolation='process' as well")
    if isolation == "none":
        return
    if agent._o_system:
        raise BadChildSpec(
            f"{agent.__name__} is a supervisor, and supervisors run in the node's own process; isolate its children"
        )


class Child:
    """One place under a supervisor: stays when the agent in it is replaced."""

    __slots__ = (
        "agent",
        "args",
        "crashes",
        "delay",
        "id",
        "kwargs",
        "last_crash",
        "name",
        "past",
        "restarts",
        "spec",
        "supervisor",
        "waiter",
    )

    far_key: str = ""
    """In a worker: the key of the place, whose supervisors are elsewhere."""
    far_start: bytes | None = None
    """In a worker: how its supervisor starts it again in another process, if that is dynamic."""
    is_charged_above: bool = False
    """In a worker: a supervisor elsewhere has a budget."""

    def __init__(self, spec: ChildSpec, id: Hashable, supervisor: Supervisor | None) -> None:  # noqa: A002  # OTP's name
        self.spec = spec
        self.id = id
        self.args = spec.args
        self.kwargs = spec.kwargs
        self.name = spec.name
        self.supervisor = supervisor
        """None for the root supervisor."""
        self.agent: Agent | None = None
        """The agent that is in this place, None when it has ended and was not restarted."""
        self.restarts = 0
        self.crashes = 0
        self.last_crash: Crash | None = None
        self.waiter: Future[None] | None = None
        """Done when the agent that is ending has ended."""
        self.delay: Delay | None = None
        """Its backoff, if its spec has one."""
        self.past: Past | None = None
        """What its plan must remember across restarts, if its spec has one."""

    def past_of(self) -> Past:
        """Its past, made on first use."""
        if self.past is None:
            self.past = Past()
        return self.past

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's pid, 0 for the root."""
        return self.supervisor._o_pid if self.supervisor is not None else 0

    @property
    def is_vacant(self) -> bool:
        """Nobody is in this place, and nobody is about to come back to it."""
        return self.agent is None and (self.delay is None or self.delay.timer is None)

    def ended(self, agent: Agent, reason: ExitReason, tell_supervisor: bool) -> None:
        """The lifecycle's word that `agent` is gone."""
        expected = self.agent is not agent
        if not expected:
            self.agent = None
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        supervisor = self.supervisor
        if supervisor is None:
            agent._o_node._root_ended(reason)
        elif tell_supervisor and not expected:
            supervisor._o_child_gone(self, agent, reason)


class Delay:
    """The backoff of one child: how often it has failed in a row, and the wait under way."""

    __slots__ = ("failures", "started_ns", "timer")

    def __init__(self) -> None:
        self.failures = 0
        self.started_ns = 0
        self.timer: TimerHandle | None = None

    def cancel(self) -> None:
        """Do not bring it back."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
