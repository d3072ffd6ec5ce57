"""What a worker must know of an agent's place under its supervisor, which is in the node's own process."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from observe.runtime.children import Child, ChildSpec
from observe.runtime.ladder import Failure
from observe.runtime.plan import Plan
from observe.runtime.stores import Record


@dataclass(frozen=True, slots=True)
class FarPlace:
    """The place of an agent whose spec has a plan, as the node's process tells it to the worker."""

    plan: Plan
    key: str
    """Of the place, as `checkpoint.key_of` makes it."""
    start: bytes | None
    """How a dynamic supervisor starts the child again in another process."""
    restores: bool
    is_fresh: bool
    lived: bool
    """An agent of this run of the node has been in the place: what its record has in hand is of no interest any more."""
    told: Failure | None
    """For `on_retry`, where that is to run."""
    record: Record | None
    """What the supervisor has read already."""


class FarChild(Child):
    """The place of an agent in its worker."""

    __slots__ = ("far_key", "far_start", "is_charged_above")

    def __init__(
        self,
        spec: ChildSpec,
        id: Hashable,  # noqa: A002  # as in Child
        place: FarPlace | None,
        is_charged_above: bool,
    ) -> None:
        super().__init__(spec, id, None)
        self.is_charged_above = is_charged_above
        self.far_key = place.key if place is not None else ""
        self.far_start = place.start if place is not None else None
        if place is None:
            return
        spec.plan = place.plan
        past = self.past_of()
        past.restores, past.is_fresh, past.lived = place.restores, place.is_fresh, place.lived
        past.failure, past.is_told = place.told, place.told is not None
        past.record = place.record
