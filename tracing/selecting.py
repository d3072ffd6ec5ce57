"""Which agents a trace session is about.

```
42  pid:42            one agent, and whoever takes its place after a restart
cart-*  name:cart-*   by registered name (* ? [abc], as in a shell)
class:Session         by the name of the class
under:carts           all below a supervisor, by its name or pid
group:prices          the members of a process group
conversation:c-17     agents whose `conversation_id` it is
```

`class=Session`, as in a filter, is `class:Session`.

`name`, `class` and `under` also take in agents that are started while the session lasts.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.supervisor import Supervisor
from observe.tracing.errors import BadSelector

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node

KINDS: Final = ("pid", "name", "class", "under", "group", "conversation")

MAX_CHARACTERS: Final = 256

_FOLLOWING: Final = frozenset({"name", "class", "under"})


@dataclass(frozen=True, slots=True)
class Selector:
    """What a session selects by."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @property
    def follows_new(self) -> bool:
        """Whether agents that start later may be meant as well."""
        return self.kind in _FOLLOWING

    def find(self, node: Node) -> list[Agent]:
        """All agents that are meant now, without supervisors, whose messages are the runtime's own."""
        if self.kind == "pid":
            agent = node.agents.get(int(self.value))
            return [agent] if agent is not None and not isinstance(agent, Supervisor) else []
        if self.kind == "group":
            found = {ref.pid: ref._agent for ref in node.groups.members(self.value)}
            return list(found.values())
        return [agent for agent in list(node.agents.values()) if self.means(agent)]

    def means(self, agent: Agent) -> bool:
        """Whether this agent is meant."""
        if isinstance(agent, Supervisor):
            return False
        if self.kind == "pid":
            return agent._o_pid == int(self.value)
        if self.kind == "name":
            name = agent._o_child.name
            return name is not None and _pattern(self.value).fullmatch(name) is not None
        if self.kind == "class":
            return _pattern(self.value).fullmatch(type(agent).__name__) is not None
        if self.kind == "under":
            return self._is_under(agent)
        if self.kind == "conversation":
            state: dict[str, Any] = getattr(agent, "__dict__", {})
            return str(state.get("conversation_id", "")) == self.value
        return False

    def _is_under(self, agent: Agent) -> bool:
        above = agent._o_child.supervisor
        while above is not None:
            if self.value in (above._o_child.name, str(above._o_pid)):
                return True
            above = above._o_child.supervisor
        return False


def parse(text: str) -> Selector:
    """Read a selector.

    Raises:
        BadSelector: it is empty, too long, or of a kind that there is not.
    """
    if not text.strip() or len(text) > MAX_CHARACTERS:
        raise BadSelector(f"a selector has 1 to {MAX_CHARACTERS} characters: {', '.join(EXAMPLES)}")
    kind, colon, value = text.strip().partition(":")
    if not colon and text.strip().partition("=")[0] in KINDS:
        kind, colon, value = text.strip().partition("=")
    if not colon:
        kind, value = ("pid" if kind.isdigit() else "name"), kind
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        hint = f"did you mean {near[0]}:{value}? " if near else ""
        raise BadSelector(f"there is no selector {kind!r}: {hint}there are {', '.join(EXAMPLES)}")
    if not value:
        raise BadSelector(f"the selector {text!r} names nothing: {', '.join(EXAMPLES)}")
    if kind == "pid" and not (value.isdigit() and len(value) < 19):
        raise BadSelector(f"a pid is a number, and {value!r} is none; for a name write name:{value}")
    return Selector(kind, value)


EXAMPLES: Final = (
    "42", "cart-*", "class:Session", "under:carts", "group:prices", "conversation:c-17",
)  # fmt: skip


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))  # both remember what they have made
