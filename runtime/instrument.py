"""The instrument interface: how tracing, audit and the probe listen to the runtime.

An instrument subclasses `Instrument` and overrides the hooks that it wants. The runtime keeps one tuple of bound
methods per hook, holding only those that were overridden, so that a hook nobody listens to costs one truth test.
(The idea is trio's: ``trio.abc.Instrument``.)

Hooks run on the scheduler's thread between two steps (`on_finding` in the watchdog's). They must be quick and must not call back into agents. A hook
that raises is reported through the node's logger, its instrument is removed, and the runtime goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.errors import BudgetExceeded
    from observe.runtime.exits import Crash, ExitReason
    from observe.runtime.findings import Finding
    from observe.runtime.governed import Governed
    from observe.runtime.ladder import Failure, Rung
    from observe.runtime.reload.reloader import Reloaded
    from observe.runtime.workers.process import WorkerProcess

logger = logging.getLogger("observe.runtime")


class Instrument:
    """Typed no-op hooks. Override those that you need."""

    def on_spawn(self, agent: Agent) -> None:
        """`agent` has its pid and is about to run `init`."""

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        """`agent` is gone: `terminate` has run and nothing can reach it any more."""

    def on_crash(self, crash: Crash) -> None:
        """An agent ended by an exception. Comes before its `on_exit`."""

    def on_restart(self, old: Agent, new: Agent) -> None:
        """A supervisor has put `new`, already initialised, in the place of `old`."""

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        """`agent` began a named slow thing."""

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        """The activity ended, with the exception that ended it or None."""

    def on_rung(self, child: Child, rung: Rung, failure: Failure) -> None:
        """A child with a ladder has failed, and `rung` is about to be taken."""

    def on_limit(self, owner: Agent, error: BudgetExceeded) -> None:
        """`owner`, an agent or the supervisor of a tree, has reached a limit of its budget for the first time."""

    def on_spending(self, owner: Agent, limit: str, used: float, allowed: float) -> None:
        """Of a limit of `owner`'s budget, at least `budget.NEARLY` is used up. Comes again as more of it is."""

    def on_checkpoint(self, agent: Agent, size_bytes: int) -> None:
        """A checkpoint of so many bytes is on its way to the store."""

    def on_worker(self, process: WorkerProcess) -> None:
        """A worker process is about to be started. What is asked of it now (`process.ask`) is done before its agents begin."""

    def on_governed(self, event: Governed) -> None:
        """Something was decided about what an agent may do, or an agent that is monitored does something."""

    def on_reload(self, reloaded: Reloaded, agents: list[Agent]) -> None:
        """Code was exchanged, or put back, and these agents go on with the new one."""

    def on_finding(self, finding: Finding) -> None:
        """The node has diagnosed something, or (`finding.cleared`) it is over.

        The one hook that comes in another thread, the watchdog's: what there is to tell may be that nothing runs in
        the scheduler's.
        """


HOOKS: tuple[str, ...] = tuple(name for name in vars(Instrument) if name.startswith("on_"))
"""The names of all hooks, in the order of their definition."""


class Instruments:
    """The registry: which bound methods to call for which hook.

    Each hook is an attribute holding a tuple, so that the caller writes
    ``for hook in instruments.on_spawn: hook(agent)`` and pays nothing when the tuple is empty.
    """

    __slots__ = ("_installed", *HOOKS)

    on_spawn: tuple[Callable[[Agent], None], ...]
    on_exit: tuple[Callable[[Agent, ExitReason], None], ...]
    on_crash: tuple[Callable[[Crash], None], ...]
    on_restart: tuple[Callable[[Agent, Agent], None], ...]
    on_activity_start: tuple[Callable[[Agent, Activity], None], ...]
    on_activity_end: tuple[Callable[[Agent, Activity, BaseException | None], None], ...]
    on_rung: tuple[Callable[[Child, Rung, Failure], None], ...]
    on_limit: tuple[Callable[[Agent, BudgetExceeded], None], ...]
    on_spending: tuple[Callable[[Agent, str, float, float], None], ...]
    on_checkpoint: tuple[Callable[[Agent, int], None], ...]
    on_worker: tuple[Callable[[WorkerProcess], None], ...]
    on_governed: tuple[Callable[[Governed], None], ...]
    on_reload: tuple[Callable[[Reloaded, list[Agent]], None], ...]
    on_finding: tuple[Callable[[Finding], None], ...]

    def __init__(self) -> None:
        self._installed: list[Instrument] = []
        self._rebuild()

    def add(self, instrument: Instrument, *, first: bool = False) -> None:
        """Start calling the hooks that `instrument` overrides; `first`: before those of the others. Adding it twice has no effect."""
        if instrument not in self._installed:
            self._installed.insert(0 if first else len(self._installed), instrument)
            self._rebuild()

    def remove(self, instrument: Instrument) -> None:
        """Stop calling it. Removing one that is not installed has no effect."""
        if instrument in self._installed:
            self._installed.remove(instrument)
            self._rebuild()

    def _rebuild(self) -> None:
        for name in HOOKS:
            default = getattr(Instrument, name)
            hooks = tuple(
                self._guarded(instrument, name)
                for instrument in self._installed
                if getattr(type(instrument), name) is not default
            )
            setattr(self, name, hooks)

    def _guarded(self, instrument: Instrument, name: str) -> Callable[..., None]:
        hook = getattr(instrument, name)

        def call(*args: Any) -> None:
            try:
                hook(*args)
            except Exception:  # an observer must never hurt the observed
                logger.exception("instrument %r failed in %s and was removed", instrument, name)
                self.remove(instrument)

        return call
