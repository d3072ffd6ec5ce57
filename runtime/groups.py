"""Process groups: agents that are reached together under one name. The behaviour is that of OTP's ``pg``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observe.runtime.bonds import bonds_of
from observe.runtime.calls import envelope
from observe.runtime.errors import NoSuchAgent
from observe.runtime.ref import carried_now, carried_to, is_tapped

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.ref import Ref


class Groups:
    """The groups of one node. An agent that ends leaves all of its groups."""

    def __init__(self) -> None:
        self._members: dict[str, dict[Agent, int]] = {}

    def join(self, group: str, ref: Ref) -> None:
        """Make an agent a member. It may join several times, and must then leave as often.

        Raises:
            NoSuchAgent: the agent is dead.
        """
        agent = ref._agent
        if not agent._o_is_alive():
            raise NoSuchAgent(agent._o_pid)
        members = self._members.setdefault(group, {})
        members[agent] = bonds_of(agent).groups[group] = members.get(agent, 0) + 1

    def leave(self, group: str, ref: Ref) -> bool:
        """End one membership. False when the agent was no member."""
        agent = ref._agent
        members = self._members.get(group, {})
        count = members.get(agent, 0)
        if not count:
            return False
        if count > 1:
            members[agent] = bonds_of(agent).groups[group] = count - 1
        else:
            self._remove(group, agent)
        return True

    def members(self, group: str) -> list[Ref]:
        """The members in the order in which they joined, one that joined twice standing twice."""
        members = self._members.get(group, {})
        return [agent._o_ref() for agent, count in members.items() for _ in range(count)]

    def which_groups(self) -> list[str]:
        """The groups that have members."""
        return list(self._members)

    def counted(self) -> list[tuple[str, dict[Agent, int]]]:
        """All groups, with how often each member has joined. May be called by any thread; raises RuntimeError when a group
        changes meanwhile, and the caller looks again."""
        return [(group, dict(members)) for group, members in list(self._members.items())]

    def publish(self, group: str, message: Any) -> int:
        """Cast `message` to every member, once for each membership. Returns to how many."""
        sent = 0
        carried, tapped = carried_now("cast"), is_tapped()
        for agent, count in list(self._members.get(group, {}).items()):
            for _ in range(count):
                if tapped:
                    carried_to(agent, message)
                cast = message if carried is None else envelope(message, agent, carried)
                mailbox = agent._o_mailbox
                if mailbox is not None:
                    mailbox.append(cast)
                else:
                    agent._o_first(cast)
            sent += count
        return sent

    def forget(self, agent: Agent) -> None:
        """`agent` has ended."""
        if agent._o_bonds is not None:
            for group in list(agent._o_bonds.groups):
                self._remove(group, agent)

    def _remove(self, group: str, agent: Agent) -> None:
        members = self._members.get(group)
        if members is not None and members.pop(agent, None) is not None and not members:
            del self._members[group]
        if agent._o_bonds is not None:
            agent._o_bonds.groups.pop(group, None)
