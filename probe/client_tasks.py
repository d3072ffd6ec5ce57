"""The client's methods about the asyncio tasks of a service, agents' or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe.wire_actions import Acted
from observe.probe.wire_base import Told
from observe.probe.wire_tasks import CancelTaskArgs, TaskArgs, TaskDetail, TasksArgs, TasksPage

T = TypeVar("T", bound=Told)


class TasksClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def tasks(
        self,
        filter: str = "",  # noqa: A002  # what the protocol calls it
        *,
        sort: str = "id",
        descending: bool = False,
        offset: int = 0,
        limit: int = 50,
    ) -> TasksPage:
        """The asyncio tasks of the node's event loop, as in `tasks("state=waiting age_s>1m", sort="age_s")`."""
        args = TasksArgs(filter=filter, sort=sort, descending=descending, offset=offset, limit=limit)
        return await self._ask("tasks", args, TasksPage)

    async def task(self, task: int) -> TaskDetail:
        """One task, by its number, with its stack of awaits."""
        return await self._ask("task", TaskArgs(task=task), TaskDetail)

    async def cancel_task(self, task: int, reason: str = "") -> Acted:
        """Ask one task to cancel. Steps of agents and the node's own tasks are refused."""
        args = CancelTaskArgs(task=task, reason=reason, **self._command_fields())
        return await self._ask("cancel_task", args, Acted)
