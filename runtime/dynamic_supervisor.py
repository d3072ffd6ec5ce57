"""A supervisor of many children of one kind."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any
from urllib.parse import unquote

from observe.runtime.checkpoint import revive
from observe.runtime.children import Child, ChildSpec
from observe.runtime.errors import BadChildSpec, RuntimeFault
from observe.runtime.exits import SHUTDOWN, ExitReason
from observe.runtime.stores import Record
from observe.runtime.supervisor import Supervisor


class DynamicSupervisor(Supervisor):
    """A supervisor of many children of one kind, started as they are needed (OTP: simple_one_for_one).

        sessions = await node.spawn(DynamicSupervisor, ChildSpec(Session), intensity=100)
        ref = await sessions.start_child("customer 17", name="session-17")

    It has no children at first. They stop all at once, not one after the other.
    """

    __slots__ = ("_o_max_children", "_o_template")

    _o_is_dynamic = True

    def init(
        self,
        template: ChildSpec,
        *,
        intensity: int | None = None,
        period_s: float | None = None,
        max_children: int | None = None,
    ) -> Any:
        """Take the spec that all children share; its id and name are not used.

        Args:
            max_children: refuse to start more than this many at a time.
        """
        if not isinstance(template, ChildSpec):
            raise BadChildSpec(
                f"a dynamic supervisor is given one ChildSpec for all its children, not {template!r}"
            )
        self._o_flags(intensity=intensity, period_s=period_s)
        self.strategy = "one_for_one"
        self._o_template = template
        self._o_max_children = max_children
        return ()

    async def _o_boot(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        await super()._o_boot(args, kwargs)
        await revive(self)

    async def terminate(self, reason: ExitReason) -> None:
        """Stop all children at once, each within its `shutdown_s`."""
        stopping = [self._o_stop_child(child, SHUTDOWN) for child in list(self._o_children.values())]
        await asyncio.gather(*stopping)

    def _o_add_dynamic(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str | None) -> Child:
        if self._o_max_children is not None and len(self._o_children) >= self._o_max_children:
            raise RuntimeFault(f"{self._o_text()} has its {self._o_max_children:,} children (max_children)")
        self._o_auto_id = number = self._o_auto_id + 1
        template = self._o_template
        child_id: Hashable = number
        if template.plan is not None and template.plan.restore:
            # It must be found again by another process, and must not be taken for one that ended long ago.
            child_id = name or f"{self._o_node.incarnation}-{number}"
            if child_id in self._o_children:
                raise BadChildSpec(f"{self._o_text()} has a child {child_id!r} already")
        child = Child(template, child_id, self)
        if args:
            child.args = (*template.args, *args)
        if kwargs:
            child.kwargs = {**template.kwargs, **kwargs}
        child.name = name
        self._o_children[child_id] = child
        return child

    def _o_add_revived(self, record: Record, about: dict[str, Any]) -> Child:
        """The place of a child that was started by an earlier process."""
        template = self._o_template
        child = Child(template, unquote(record.key.rpartition("/")[2], errors="surrogatepass"), self)
        child.args = (*template.args, *about["args"])
        child.kwargs = {**template.kwargs, **about["kwargs"]}
        child.name = about["name"]
        child.past_of().record = record
        return self._o_children.setdefault(child.id, child)
