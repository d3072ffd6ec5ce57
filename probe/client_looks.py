"""The client's methods that have the service look something up: its log, its dead letters, what waits for a person; and send a dead letter
again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe.wire_actions import Acted
from observe.probe.wire_approvals import ApprovalsArgs, WaitingApprovals
from observe.probe.wire_base import Told
from observe.probe.wire_budgets import BudgetPage, BudgetsArgs, BudgetsBy, BudgetsSort
from observe.probe.wire_letters import DeadLetterPage, DeadLettersArgs, ResendArgs
from observe.probe.wire_log import LogArgs, LogLevel, LogPage
from observe.probe.wire_names import NamesArgs, NamesPage

T = TypeVar("T", bound=Told)


class LooksClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def log(
        self,
        *,
        level: LogLevel = "debug",
        logger: str = "",
        agent: int | str | None = None,
        text: str = "",
        after: int | None = None,
        limit: int = 100,
    ) -> LogPage:
        """The newest log records of the service that match; or with `after`, those that have come since.

        page = await node.log(level="warning", agent="session-7")
        page = await node.log(level="warning", agent="session-7", after=page.next)
        """
        args = LogArgs(level=level, logger=logger, agent=agent, text=text, after=after, limit=limit)
        return await self._ask("log", args, LogPage)

    async def dead_letters(
        self, *, text: str = "", why: str = "", letter: int | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """The newest messages that reached nobody, counted by why and for whom; with `letter`, that one in full."""
        args = DeadLettersArgs(text=text, why=why, letter=letter, limit=limit)
        return await self._ask("dead_letters", args, DeadLetterPage)

    async def resend(self, letter: int, to: int | str | None = None, reason: str = "") -> Acted:
        """Send a dead letter again, once: to whoever has its addressee's name now, or to `to`."""
        args = ResendArgs(letter=letter, to=to, reason=reason, **self._command_fields())
        return await self._ask("resend", args, Acted)

    async def budgets(
        self, *, by: BudgetsBy = "owner", sort: BudgetsSort = "share", text: str = "", limit: int = 100
    ) -> BudgetPage:
        """What agents may spend and have spent, the worst first. Rates are known from the second look on."""
        args = BudgetsArgs(by=by, sort=sort, text=text, limit=limit)
        return await self._ask("budgets", args, BudgetPage)

    async def names(self, *, text: str = "", limit: int = 100) -> NamesPage:
        """Process groups with their members, and registered names with the agents that have them."""
        return await self._ask("names", NamesArgs(text=text, limit=limit), NamesPage)

    async def approvals(self) -> WaitingApprovals:
        """What waits for a person; `approve` and `refuse` answer it."""
        return await self._ask("approvals", ApprovalsArgs(), WaitingApprovals)
