"""Who is restarted with whom: the strategies of supervisors, and what goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from observe.runtime.errors import BadChildSpec, InitFailed
from observe.runtime.exits import ExitReason

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.supervisor import Supervisor

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]

_STRATEGIES = get_args(Strategy)
_AUTO_SHUTDOWNS = get_args(AutoShutdown)


class Regroup:
    """To the supervisor itself: a child has ended whose siblings must be restarted with it."""

    __slots__ = ("child", "is_allowed", "old", "reason")

    def __init__(self, child: Child, old: Agent, reason: ExitReason, is_allowed: bool = False) -> None:
        self.child = child
        self.old = old
        self.reason = reason
        self.is_allowed = is_allowed
        """A ladder has decided on it: it does not count for the intensity."""


def check_flags(supervisor: Supervisor) -> None:
    """Refuse a supervisor whose flags make no sense.

    Raises:
        BadChildSpec: one of them is not valid.
    """
    if supervisor.strategy not in _STRATEGIES:
        raise BadChildSpec(f"strategy must be one of {', '.join(_STRATEGIES)}, not {supervisor.strategy!r}")
    if supervisor.auto_shutdown not in _AUTO_SHUTDOWNS:
        raise BadChildSpec(
            f"auto_shutdown must be one of {', '.join(_AUTO_SHUTDOWNS)}, not {supervisor.auto_shutdown!r}"
        )
    if type(supervisor.intensity) is not int or supervisor.intensity < 0:
        raise BadChildSpec(f"intensity must be a whole number from 0, not {supervisor.intensity!r}")
    if not supervisor.period_s > 0:
        raise BadChildSpec(f"period_s must be more than 0 seconds, not {supervisor.period_s!r}")


def was_stopped(fault: BaseException) -> bool:
    """Somebody had this child ended while it was starting: it does not come back."""
    return isinstance(fault, InitFailed) and fault.was_stopped


def reason_of(fault: BaseException) -> ExitReason:
    """Why a child that did not start has not."""
    return fault.reason if isinstance(fault, InitFailed) else ExitReason("crash", str(fault), fault)
