"""Which agents a reload concerns: those whose class is one of the modules', or inherits from one."""

from __future__ import annotations

from collections.abc import Iterable

from observe.runtime.agent import Agent
from observe.runtime.supervisor import Supervisor


class Concerned:
    """Agents by their classes. A class is looked for among those that another inherits from, and never asked: `issubclass`
    runs its metaclass, and a `TypedDict` or a protocol raises there."""

    def __init__(self, classes: Iterable[type]) -> None:
        self._kept = tuple(classes)  # an id is worth something only as long as its owner lives
        self._classes = frozenset(map(id, self._kept))
        self._known: dict[type, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._classes)

    def has(self, agent: Agent) -> bool:
        """Whether its code changes. Supervisors' steps are the runtime's."""
        return not isinstance(agent, Supervisor) and self.has_class(type(agent))

    def has_class(self, cls: type) -> bool:
        """Whether one of the classes is it, or one that it inherits from."""
        known = self._known.get(cls)
        if known is None:
            known = self._known[cls] = any(id(base) in self._classes for base in cls.__mro__)
        return known
