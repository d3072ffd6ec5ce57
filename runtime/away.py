"""What the runtime asks of whoever stands for an agent in another process.

The one implementation for the node's own process, and the one for its workers, are in `observe.runtime.workers`; without
workers nothing of that is loaded.
"""

from __future__ import annotations

from array import array
from asyncio import Future
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.bonds import Monitor
    from observe.runtime.exits import ExitReason
    from observe.runtime.stacks import Stack


class Away(Protocol):
    """The far end of one agent."""

    is_stub: bool
    """Links and monitors of the agent are kept elsewhere, where it has its supervisor. False in the node's own
    process, which keeps them as those of any agent."""

    @property
    def worker(self) -> int:
        """The number of the worker process in which it runs; 0 where that is not known."""

    def signal(self, sender: Agent | None, reason: ExitReason) -> None:
        """Send the agent an exit signal; it decides itself what that means."""

    def link(self, other: Agent) -> None:
        """Tie it to `other`, an agent that is here."""

    def unlink(self, other: Agent) -> None:
        """Undo `link`."""

    def monitor(self, made: Monitor) -> None:
        """Let the watcher, an agent that is here, hear of the agent's end."""

    def demonitor(self, made: Monitor) -> None:
        """Undo `monitor`."""

    def has_room(self) -> bool:
        """Whether a message would be taken."""

    def peek(self, limit: int) -> tuple[list[Any], int]:
        """The oldest messages that wait, and how many wait in all."""

    def row(self, activity_id: Callable[[str], int]) -> tuple[int, ...] | array[int]:
        """The agent's counters, as `snapshot.row_values` wants them."""

    def ask(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have `function(node, *args)` run on the loop of the other process; a future of what it returns. The function is
        found there by its name, and all of it is pickled."""

    def facts(self) -> dict[str, Any]:
        """Where the agent runs: `isolation`, `worker`, `os_pid` and, where there are any, `limits`."""

    def stack(self) -> Stack:
        """Where it is in its code. May take a moment; in any thread."""
