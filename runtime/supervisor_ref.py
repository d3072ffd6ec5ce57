"""What one may ask of a supervisor. The functions are those of OTP's ``supervisor`` module."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, cast

from observe.runtime.checkpoint import discard
from observe.runtime.children import Child, ChildSpec
from observe.runtime.errors import AgentExited, BadChildSpec, NodeDown, NoSuchChild, RuntimeFault
from observe.runtime.exits import SHUTDOWN
from observe.runtime.ref import Ref

if TYPE_CHECKING:
    from observe.runtime.dynamic_supervisor import DynamicSupervisor
    from observe.runtime.supervisor import Supervisor


class SupervisorRef(Ref):
    """A reference to a supervisor."""

    __slots__ = ()

    @property
    def _supervisor(self) -> Supervisor:
        agent: Supervisor = self._agent  # type: ignore[assignment]  # refs of supervisors are made by them
        if agent._o_exit is not None:
            if agent._o_child.supervisor is None:
                raise NodeDown("the node has stopped: its root supervisor has ended")
            raise AgentExited(agent._o_text(), agent._o_exit)
        return agent

    async def start_child(self, *args: Any, name: str | None = None, **kwargs: Any) -> Ref:
        """Start a child; returns when its `init` is done.

        Args:
            args: one ChildSpec; of a `DynamicSupervisor`, whose children share a spec, further arguments of `init`.
            name, kwargs: only of a `DynamicSupervisor`: the child's name, and further arguments of `init`.

        Raises:
            BadChildSpec: a child of this id exists, or what was given is no ChildSpec.
            NameTaken: its name belongs to another agent.
            InitFailed: its `init` raised; the child is forgotten.
        """
        supervisor = self._supervisor
        if supervisor._o_is_dynamic:
            child = cast("DynamicSupervisor", supervisor)._o_add_dynamic(args, kwargs, name)
        elif len(args) == 1 and name is None and not kwargs:
            child = supervisor._o_add(args[0])
        else:
            raise BadChildSpec(
                f"{supervisor._o_text()} starts children by their specs\n"
                "  wrong: supervisor.start_child(Session, 17)\n"
                "  right: supervisor.start_child(ChildSpec(Session, (17,)))"
            )
        try:
            started = supervisor._o_scheduler.lifecycle.start(child)
            agent = started if child.agent is started else await started  # type: ignore[misc]  # a future else
        except BaseException:
            supervisor._o_forget(child)
            raise
        return agent._o_ref()

    async def terminate_child(self, child: Hashable | Ref) -> None:
        """End a child, and wait for its end. A temporary child is forgotten, others stay and can be restarted.

        Args:
            child: its id, or a reference to it. A reference to one that has ended already is no error, and harms no successor.

        Raises:
            NoSuchChild: there is none.
        """
        supervisor = self._supervisor
        place = _place_of(supervisor, child)
        if place is None:
            return
        await supervisor._o_stop_child(place, SHUTDOWN)
        if place.spec.restart == "temporary" or supervisor._o_is_dynamic:
            supervisor._o_forget(place)
            discard(place)

    async def restart_child(self, child_id: Hashable) -> Ref:
        """Start a child that has ended.

        Raises:
            NoSuchChild: no child has this id.
            RuntimeFault: it is running.
            InitFailed: its `init` raised; the child stays, not running.
        """
        supervisor = self._supervisor
        child = supervisor._o_child_of(child_id)
        if not child.is_vacant:
            raise RuntimeFault(f"child {child_id!r} is running or about to be restarted")
        return (await supervisor._o_start(child))._o_ref()

    def delete_child(self, child_id: Hashable) -> None:
        """Forget a child that has ended.

        Raises:
            NoSuchChild: no child has this id.
            RuntimeFault: it is running.
        """
        supervisor = self._supervisor
        child = supervisor._o_child_of(child_id)
        if not child.is_vacant:
            raise RuntimeFault(f"child {child_id!r} is running; terminate_child() ends it")
        supervisor._o_forget(child)
        discard(child)

    def which_children(self) -> list[tuple[Hashable, Ref | None, ChildSpec]]:
        """All children in the order of their start: id, reference (None when not running), spec."""
        return [
            (child.id, child.agent._o_ref() if child.agent is not None else None, child.spec)
            for child in self._supervisor._o_children.values()
        ]

    def count_children(self) -> dict[str, int]:
        """How many children there are: `specs`, `active`, `supervisors`, `workers` (OTP's words)."""
        children = self._supervisor._o_children.values()
        supervisors = sum(child.spec.agent._o_system for child in children)
        return {
            "specs": len(children),
            "active": sum(child.agent is not None for child in children),
            "supervisors": supervisors,
            "workers": len(children) - supervisors,
        }


def _place_of(supervisor: Supervisor, child: Hashable | Ref) -> Child | None:
    """The child's place; None when `child` is a reference to one that has left it."""
    if not isinstance(child, Ref):
        return supervisor._o_child_of(child)
    agent = child._agent
    place = agent._o_child  # of an id that other supervisors' children may have as well
    if place.supervisor is supervisor and (place.agent is agent or place.agent is None):
        return place
    if agent._o_is_alive():
        raise NoSuchChild(supervisor._o_text(), child)
    return None
