"""Budgets: limits on what an agent, or all agents below a supervisor, may spend.

What is spent is counted where it is spent, in activities, and charged to the agent and to each supervisor above it that
has a budget. The counters begin with the agent's start: one that is restarted has its budget anew. To bound what restarts can spend
together, give the supervisor a budget as well.
"""

from __future__ import annotations

import logging
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from observe.runtime.bonds import bonds_of
from observe.runtime.clock import now_ns
from observe.runtime.errors import BadChildSpec, BudgetExceeded
from observe.runtime.exits import ExitReason, crash_reason
from observe.runtime.ladder import Rung

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.ref import Ref

logger = logging.getLogger("observe.runtime")

CALLS_REMEMBERED: Final = 1000
"""Different calls that are told apart for `same_call`; the oldest is forgotten when another comes."""

NEARLY: Final = 0.8
"""The share of a limit from which on instruments are told: time enough for a person to look."""

OnLimit = Literal["exit", "killed", "suspended", "monitored", "restricted", "isolated"] | Rung
CONTAINING: Final = ("monitored", "restricted", "isolated")
"""Levels of containment that a limit can end in, beside `suspended`, which `resume` undoes."""
LIMITS: Final = ("tool_calls", "tokens", "cost", "wall_s", "steps_without_progress", "same_call")


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent until something is done about it. Limits left out do not bind.

    Raises:
        BadChildSpec: there is no limit, or one that is not above 0.
    """

    tool_calls: int | None = None
    """Activities whose names begin with `tool:`."""
    tokens: int | None = None
    """Tokens of models, into them and out of them, as reported by `Activity.usage`."""
    cost: float | None = None
    """Money, in whatever currency `Activity.usage` reports."""
    wall_s: float | None = None
    """Seconds since the start of the agent."""
    steps_without_progress: int | None = None
    """Messages and activities since the agent last called `self.mark_progress()`."""
    same_call: int | None = None
    """Activities of one name with the same attributes and arguments, since `self.mark_progress()`."""
    on_limit: OnLimit | Callable[[Ref, BudgetExceeded], Any] = "exit"
    """What is done: `exit` raises BudgetExceeded where the agent is, which ends it as a crash that its ladder or its
    supervisor takes up; `killed` does so as well, and cannot be caught; `suspended` lets the step in hand end and takes no further
    message until an operator resumes it (of a supervisor's budget: all agents below it); `monitored`, `restricted` and `isolated` are levels
    of containment (docs/containment.md), for the agent or for all below the supervisor, until an operator lowers them; a rung, such as `Park()`, is taken at once. A function is
    called with the ref and the error, once for each limit, and nothing else happens: for containment by other means."""

    def __post_init__(self) -> None:
        limits = [getattr(self, name) for name in LIMITS]
        if all(limit is None for limit in limits) or any(
            limit is not None and not limit > 0 for limit in limits
        ):
            raise BadChildSpec(f"a budget needs at least one limit, and all of them above 0, not {self!r}")
        if (
            self.on_limit not in ("exit", "killed", "suspended", *CONTAINING)
            and not isinstance(self.on_limit, Rung)
            and not callable(self.on_limit)
        ):
            raise BadChildSpec(
                f"on_limit must be 'exit', 'killed', 'suspended', 'monitored', 'restricted', 'isolated', a rung or a function, not {self.on_limit!r}"
            )


class Spending:
    """What one agent has spent since its start, or all agents below a supervisor since that one's."""

    __slots__ = (
        "_calls",
        "_told",
        "began_ns",
        "cost",
        "input_tokens",
        "output_tokens",
        "steps_without_progress",
        "timer",
        "tool_calls",
    )

    def __init__(self) -> None:
        self.began_ns = 0
        """When counting began, for `wall_s`; 0 when no budget asks for it."""
        self.tool_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = 0.0
        self.steps_without_progress = 0
        self.timer: TimerHandle | None = None
        """For `wall_s`."""
        self._calls: dict[int, int] = {}
        self._told: set[str] = set()

    @property
    def tokens(self) -> int:
        """Into models and out of them."""
        return self.input_tokens + self.output_tokens

    def progress(self) -> None:
        """Something was achieved: the counters of what leads nowhere begin anew."""
        self.steps_without_progress = 0
        self._calls.clear()

    def used(self, limit: str) -> float:
        """How much was spent of what the limit of this name is about."""
        if limit == "wall_s":
            return (now_ns() - self.began_ns) / 1e9 if self.began_ns else 0.0
        if limit == "same_call":
            return float(max(self._calls.values(), default=0))
        return float(getattr(self, limit))

    def repeated(self, call: int) -> int:
        """Count a call and tell how often it has been made."""
        count = self._calls.get(call, 0) + 1
        if count == 1 and len(self._calls) >= CALLS_REMEMBERED:
            del self._calls[next(iter(self._calls))]
        self._calls[call] = count
        return count

    def is_first(self, limit: str) -> bool:
        """Whether nobody has been told of this limit."""
        first = limit not in self._told
        self._told.add(limit)
        return first

    def __repr__(self) -> str:
        return (
            f"<Spending {self.tool_calls} tool calls, {self.input_tokens}+{self.output_tokens} tokens, "
            f"cost {self.cost:g}>"
        )


def spending_of(agent: Agent) -> Spending:
    """The agent's counters, made on first use."""
    bonds = bonds_of(agent)
    if bonds.spending is None:
        bonds.spending = Spending()
    return bonds.spending


def begin(agent: Agent, budget: Budget) -> None:
    """The agent has started: its time runs."""
    spending = spending_of(agent)
    spending.began_ns = now_ns()
    if budget.wall_s is not None:
        spending.timer = agent._o_scheduler.loop.call_later(
            NEARLY * budget.wall_s, _nearly_out_of_time, agent, budget, now_ns()
        )


def renew(agent: Agent, budget: Budget) -> None:
    """Forget what was spent: the counters, the limits that were told of, and the time."""
    bonds = bonds_of(agent)
    if bonds.spending is not None and bonds.spending.timer is not None:
        bonds.spending.timer.cancel()
    bonds.spending = None
    begin(agent, budget)


def _nearly_out_of_time(agent: Agent, budget: Budget, began_ns: int) -> None:
    assert budget.wall_s is not None
    used_s = (now_ns() - began_ns) / 1e9
    spending = spending_of(agent)
    spending.timer = agent._o_scheduler.loop.call_later(
        max(0.0, budget.wall_s - used_s), _out_of_time, agent, budget, began_ns
    )
    for hook in agent._o_node.instruments.on_spending:
        hook(agent, "wall_s", used_s, budget.wall_s)


def _out_of_time(agent: Agent, budget: Budget, began_ns: int) -> None:
    assert budget.wall_s is not None
    if agent._o_is_alive():
        used_s = max(budget.wall_s, (now_ns() - began_ns) / 1e9)
        error = _over(agent, budget, "wall_s", used_s, budget.wall_s)
        if error is not None:
            agent._o_scheduler.lifecycle.exit(agent, _reason(error, budget))


def owners_of(agent: Agent, only_above: bool = False) -> Iterator[tuple[Agent, Budget]]:
    """The agent and those above it, as far as they have budgets."""
    owner: Agent | None = agent
    while owner is not None:
        child = owner._o_child
        plan = child.spec.plan
        if plan is not None and plan.budget is not None and not (only_above and owner is agent):
            yield owner, plan.budget
        supervisor = child.supervisor
        # What the items of a `supervised_map` spend is their caller's.
        owner = supervisor if supervisor is None else supervisor._o_caller or supervisor


def is_charged_above(agent: Agent) -> bool:
    """Whether a supervisor above the agent has a budget."""
    return any(owner is not agent for owner, _ in owners_of(agent))


def charge_call(agent: Agent, name: str, arguments: Callable[[], str], *, only_above: bool = False) -> None:
    """An activity is about to begin.

    Args:
        only_above: charge the supervisors above alone: the agent has been charged where it runs, in a worker.

    Raises:
        BudgetExceeded: there is nothing left for it.
    """
    is_tool = name.startswith("tool:")
    for owner, budget in owners_of(agent, only_above):
        spending = spending_of(owner)
        spending.steps_without_progress += 1
        if is_tool:
            spending.tool_calls += 1
            _check(agent, owner, budget, "tool_calls", spending.tool_calls, budget.tool_calls)
        if budget.same_call is not None:
            count = spending.repeated(hash((name, arguments())))
            _check(agent, owner, budget, "same_call", count, budget.same_call)
        _check_steps(agent, owner, budget, spending)
        # What is used up by earlier ones does not begin another one.
        for limit, used in (("tokens", spending.tokens), ("cost", spending.cost)):
            allowed = getattr(budget, limit)
            if allowed is not None and used >= allowed:
                _stop(agent, owner, budget, limit, used, allowed)
    agent._o_node._charge_call_above(agent, name, arguments)


def charge_usage(
    agent: Agent, input_tokens: int, output_tokens: int, cost: float, *, only_above: bool = False
) -> None:
    """A model was used.

    Raises:
        BudgetExceeded: it was more than is allowed.
    """
    above = [owner for owner, _ in owners_of(agent) if owner is not agent]
    for owner in above if only_above else [agent, *above]:
        spending = spending_of(owner)
        spending.input_tokens += input_tokens
        spending.output_tokens += output_tokens
        spending.cost += cost
    agent._o_node._charge_usage_above(agent, input_tokens, output_tokens, cost)
    for owner, budget in owners_of(agent, only_above):
        spending = spending_of(owner)
        _check(agent, owner, budget, "tokens", spending.tokens, budget.tokens)
        _check(agent, owner, budget, "cost", spending.cost, budget.cost)


def charge_message(agent: Agent, budget: Budget) -> None:
    """The agent is about to handle a message.

    Raises:
        BudgetExceeded: it has handled too many without progress.
    """
    spending = spending_of(agent)
    spending.steps_without_progress += 1
    _check_steps(agent, agent, budget, spending)


def progress(agent: Agent, *, only_above: bool = False) -> None:
    """The agent has achieved something; so have the supervisors above it."""
    for owner, _ in owners_of(agent, only_above):
        spending_of(owner).progress()
    agent._o_node._progress_above(agent)


def _check_steps(agent: Agent, owner: Agent, budget: Budget, spending: Spending) -> None:
    _check(
        agent,
        owner,
        budget,
        "steps_without_progress",
        spending.steps_without_progress,
        budget.steps_without_progress,
    )


def _check(
    agent: Agent, owner: Agent, budget: Budget, limit: str, used: float, allowed: float | None
) -> None:
    if allowed is None or used < NEARLY * allowed:
        return
    for hook in owner._o_node.instruments.on_spending:
        hook(owner, limit, used, allowed)
    if used > allowed:
        _stop(agent, owner, budget, limit, used, allowed)


def _stop(agent: Agent, owner: Agent, budget: Budget, limit: str, used: float, allowed: float) -> None:
    error = _over(owner, budget, limit, used, allowed)
    if error is None:
        return
    if owner is not agent or budget.on_limit == "killed":
        owner._o_scheduler.lifecycle.exit(owner, _reason(error, budget))
    raise error


def _over(owner: Agent, budget: Budget, limit: str, used: float, allowed: float) -> BudgetExceeded | None:
    """Tell those who listen; returns the error to raise, None when a function has taken care of it."""
    error = BudgetExceeded(owner._o_text(), limit, used, allowed)
    if isinstance(budget.on_limit, Rung):
        error.rung = budget.on_limit
    if spending_of(owner).is_first(limit):
        logger.warning("%s", error)
        for hook in owner._o_node.instruments.on_limit:
            hook(owner, error)
        if callable(budget.on_limit):
            try:
                budget.on_limit(owner._o_ref(), error)
            except Exception:
                logger.exception("on_limit of %s failed", owner._o_text())
    if budget.on_limit == "suspended":
        from observe.runtime.holding import hold_all  # it needs agents, which need this module

        hold_all(owner)  # each time: whoever was resumed without a new budget is suspended again
        return None
    if budget.on_limit in CONTAINING:
        from observe.runtime.containment import contain_at_least

        contain_at_least(owner, budget.on_limit, str(error), f"budget {limit}")
        return None
    return None if callable(budget.on_limit) else error


def _reason(error: BudgetExceeded, budget: Budget) -> ExitReason:
    return ExitReason("killed", str(error), error) if budget.on_limit == "killed" else crash_reason(error)


def share_used(owner: Agent, limit: str) -> float:
    """How much of this limit `owner` has used up, as a share; 0 when it has no such limit, or no such counter."""
    plan = owner._o_child.spec.plan
    allowed = getattr(plan.budget, limit) if plan is not None and plan.budget is not None else None
    bonds = owner._o_bonds
    used = getattr(bonds.spending, limit, None) if bonds is not None else None
    return used / allowed if allowed is not None and isinstance(used, int | float) else 0.0


def describe(budget: Budget, spending: Spending | None) -> str:
    """One line for people: `tool_calls 3/10, cost 0.2/5`."""
    parts = []
    for limit in LIMITS:
        allowed = getattr(budget, limit)
        if allowed is not None:
            used = getattr(spending, limit, None)
            parts.append(f"{limit} {used:g}/{allowed:g}" if used is not None else f"{limit} {allowed:g}")
    return ", ".join(parts)
