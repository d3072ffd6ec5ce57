"""Activities: the slow things that an agent does inside a step, by name.

``async with self.activity("tool:search", query="mug"):`` lets the console say "in tool:search for 41 s", charges it to the
agent's budget, and makes a span of it. With a `key`, what has been done is not done again:

    async with self.activity("tool:charge", key="order-17") as charge:
        if not charge.completed:
            charge.result = await bank.charge(17)
    receipt = charge.result
"""

from __future__ import annotations

import functools
import inspect
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from observe.runtime import budget, encoding
from observe.runtime.care import save_in_step
from observe.runtime.checkpoint import key_of, node_store
from observe.runtime.clock import now_us, wall_s
from observe.runtime.errors import ActionRefused, ActivityCancelled, RuntimeFault
from observe.runtime.stores import RESULT, Record

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.approvals import Approval

F = TypeVar("F", bound=Callable[..., Any])


class Activity:
    """A named slow thing, open between entering and leaving the context manager. Works with and without `async`;
    with a `key`, with `async` only.

    Entering raises BudgetExceeded when a budget has nothing left for it, and Denied when a policy or the agent's containment does
    not allow it, or a person who was asked.
    """

    __slots__ = (
        "_agent",
        "_approval",
        "_arguments",
        "_cancelled",
        "attributes",
        "completed",
        "cost",
        "input_tokens",
        "is_approved",
        "key",
        "name",
        "output_tokens",
        "result",
        "since_us",
    )

    def __init__(
        self,
        agent: Agent,
        name: str,
        attributes: dict[str, Any],
        key: str | None = None,
        arguments: Any = None,
        approval: Approval | str | None = None,
    ) -> None:
        self._agent = agent
        self._approval = approval
        self._arguments = arguments
        self.name = name
        """What it is: `tool:search`, `model:chat`, `wait:approval`. The part before the colon groups it."""
        self._cancelled: str | RuntimeFault | None = None
        """Why an operator cancelled it, or the error that its block is to see; None when nobody did."""
        self.is_approved = False
        """A person has agreed to it: a policy that asks for that is content."""
        self.attributes = attributes
        """What the caller said about it, for people and spans."""
        self.key = key
        """Says what is done once only, among the agent's activities of this name; None for no such promise."""
        self.completed = False
        """An earlier activity with this key has completed; its result is `result`."""
        self.result: Any = None
        """Set it, where there is a key: it is recorded when the block ends without an exception."""
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = 0.0
        self.since_us = 0
        """When it was entered, in monotonic microseconds."""

    def usage(self, *, input_tokens: int = 0, output_tokens: int = 0, cost: float = 0.0) -> None:
        """Report what a model used. May be called several times; the numbers add up.

        Raises:
            BudgetExceeded: it was more than a budget allows.
            ValueError: a number is negative.
        """
        if input_tokens < 0 or output_tokens < 0 or not cost >= 0:
            raise ValueError(
                f"usage is never negative: input_tokens={input_tokens}, output_tokens={output_tokens}, cost={cost}"
            )
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost += cost
        governing = self._agent._o_node.governing
        if governing is not None and governing.capping is not None:
            governing.capping.spent(self, input_tokens + output_tokens, cost)
        budget.charge_usage(self._agent, input_tokens, output_tokens, cost)

    @property
    def agent(self) -> Agent:
        """Whose activity it is."""
        return self._agent

    @property
    def said(self) -> Mapping[str, Any]:
        """Its attributes, and the arguments of the decorated function, those without a name by their place: `0`."""
        if self._arguments is None:
            return self.attributes
        places, named = self._arguments
        return self.attributes | {str(place): value for place, value in enumerate(places)} | dict(named)

    def cancel(self, reason: str = "", error: RuntimeFault | None = None) -> None:
        """End it where it waits: its block raises ActivityCancelled, or `error`, which the step may handle.

        Raises:
            ActionRefused: the agent's step does not wait, so there is nothing that could be cancelled.
        """
        step = self._agent._o_step
        if step is None or self._cancelled is not None:
            raise ActionRefused(f"{self.name} of {self._agent._o_text()} does not wait for anything")
        self._cancelled = error if error is not None else reason
        step.cancel(self._agent._o_scheduler)

    def _translate(self, error: BaseException | None) -> RuntimeFault | None:
        """The error in place of the cancellation that an operator asked for; None when it is another one."""
        if (
            self._cancelled is None
            or not isinstance(error, CancelledError)
            or self._agent._o_exit is not None
        ):
            return None
        step = self._agent._o_step
        if step is not None and step.host is not None:
            step.host.uncancel()
        if isinstance(self._cancelled, RuntimeFault):
            return self._cancelled
        return ActivityCancelled(self.name, self._cancelled)

    def __enter__(self) -> Self:
        if self.key is not None:
            raise TypeError(
                "an activity with a key waits for the store\n"
                f"  wrong: with self.activity({self.name!r}, key=...):\n"
                f"  right: async with self.activity({self.name!r}, key=...):"
            )
        if self._approval is not None:
            raise TypeError(
                "an activity that needs an approval waits for a person\n"
                f"  wrong: with self.activity({self.name!r}, approval=...):\n"
                f"  right: async with self.activity({self.name!r}, approval=...):"
            )
        budget.charge_call(self._agent, self.name, self._said)
        governing = self._agent._o_node.governing
        if governing is not None:
            governing.admit_now(self)
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fault = self._translate(error)
        self._end(fault or error)
        if fault is not None:
            raise fault from error

    async def __aenter__(self) -> Self:
        if self.key is not None:
            await self._look_up()
        if not self.completed:
            if self._approval is not None:
                await self._agent._o_node.govern().approvals.ask(self, self._approval)
                self.is_approved = True
            budget.charge_call(self._agent, self.name, self._said)
            governing = self._agent._o_node.governing
            if governing is not None:
                await governing.admit(self)
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fault = self._translate(error)
        try:
            if error is None:
                if self.key is not None and not self.completed:
                    await self._record()
                await save_in_step(self._agent)
        except BaseException as fault:
            error = fault
            raise
        finally:
            self._end(fault or error)
        if fault is not None:
            raise fault from error

    def waiting_for_approval(self, number: int) -> Activity:
        """What the agent is in while a person is asked about this one."""
        return Activity(self._agent, f"approval:{self.name}", dict(self.attributes) | {"approval": number})

    def _said(self) -> str:
        return f"{self._arguments!r} {sorted(self.attributes.items())!r}"

    def _begin(self) -> None:
        agent = self._agent
        self.since_us = now_us()
        if agent._o_activities is None:
            agent._o_activities = []
        agent._o_activities.append(self)
        node = agent._o_node
        node.scheduler.mark_dirty(agent)
        for hook in node.instruments.on_activity_start:
            hook(agent, self)

    def _end(self, error: BaseException | None) -> None:
        agent = self._agent
        if agent._o_activities is not None:
            # Not always the last one: the tasks of a TaskGroup may leave theirs in any order.
            agent._o_activities = [a for a in agent._o_activities if a is not self] or None
        node = agent._o_node
        node.scheduler.mark_dirty(agent)
        for hook in node.instruments.on_activity_end:
            hook(agent, self, error)

    # -- Done once only

    @property
    def _store_key(self) -> str:
        return f"{RESULT}{key_of(self._agent._o_child)}:{self.name}:{self.key}"

    @property
    def _text(self) -> str:
        return f"the result of {self.name} with the key {self.key!r} of {self._agent._o_text()}"

    async def _look_up(self) -> None:
        node = self._agent._o_node
        record = await node_store(node).get(self._store_key)
        if record is not None:
            self.result = encoding.decode(record.state, self._text, node)
            self.completed = True

    async def _record(self) -> None:
        record = Record(
            key=self._store_key,
            class_name=type(self._agent).__qualname__,
            state=encoding.encode(self.result, self._text),
            at=wall_s(),
        )
        await node_store(self._agent._o_node).put(record)


def activity(
    name: str, *, key: str | Callable[..., str] | None = None, **attributes: Any
) -> Callable[[F], F]:
    """A decorator: each call of the function is an activity of the agent in whose step it runs.

        @activity("tool:charge", key=lambda self, order: order.id)
        async def charge(self, order): ...

    Works on methods of agents and on plain functions, which run as they are when no agent calls them. Calls
    with equal arguments are the same call for the budget's `same_call`.

    Args:
        key: says what is done once only; a text, or a function of the call's arguments. Then a call that has
            completed before, also in a predecessor of the agent, returns the recorded result without running.

    Raises:
        TypeError: there is a key, but the function is not `async`; or it is a generator.
    """

    def decorate(function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"@activity cannot stand above {function.__qualname__}: it yields; use a with block in it"
            )

        def opened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity | None:
            agent = _agent_of(args)
            if agent is None:
                return None
            said = args[1:] if args and args[0] is agent else args
            one = key(*args, **kwargs) if callable(key) else key
            return Activity(agent, name, dict(attributes), one, (said, sorted(kwargs.items())))

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run(*args: Any, **kwargs: Any) -> Any:
                doing = opened(args, kwargs)
                if doing is None:
                    return await function(*args, **kwargs)
                async with doing:
                    if not doing.completed:
                        doing.result = await function(*args, **kwargs)
                return doing.result

            return cast(F, run)
        if key is not None:
            raise TypeError(
                f"@activity with a key waits for the store, so {function.__qualname__} must be an `async def`"
            )

        @functools.wraps(function)
        def run_now(*args: Any, **kwargs: Any) -> Any:
            doing = opened(args, kwargs)
            if doing is None:
                return function(*args, **kwargs)
            with doing:
                return function(*args, **kwargs)

        return cast(F, run_now)

    return decorate


def _agent_of(args: tuple[Any, ...]) -> Agent | None:
    from observe.runtime.agent import Agent
    from observe.runtime.scheduler import current_agent

    return args[0] if args and isinstance(args[0], Agent) else current_agent()
