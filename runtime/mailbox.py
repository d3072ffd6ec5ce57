"""Mailboxes with a limit, and the mailbox of the dead.

An agent's ordinary mailbox is a plain list, made for its first message. An agent whose class declares `mailbox_limit` has a
`BoundedMailbox` instead, whose `append` knows the limit; senders need no test of their own.

What the runtime itself delivers (exit signals, `Down`) passes the limit: a full mailbox must not hide that somebody died.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from observe.runtime.bonds import Overfull, bonds_of
from observe.runtime.calls import Call
from observe.runtime.errors import MailboxFull

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.exits import ExitReason

Overflow = Literal["wait", "reject", "drop_oldest", "drop_newest"]


class SpecialMailbox(list[Any]):
    """A mailbox that is more than a list."""

    __slots__ = ()

    def deliver(self, message: Any) -> None:
        """Take a message of the runtime's own, whatever the limit."""
        list.append(self, message)


class BoundedMailbox(SpecialMailbox):
    """The messages of an agent whose class declares a limit."""

    __slots__ = ("_agent",)

    def __init__(self, agent: Agent, first: Any) -> None:
        super().__init__((first,))
        self._agent = agent

    def append(self, message: Any) -> None:
        """Take a message, or do what the agent's `overflow` says when the mailbox is full.

        Raises:
            MailboxFull: there is no room, and the policy is `reject` or `wait` (where one sends with `Ref.send`).
        """
        agent = self._agent
        if agent._o_queued() < type(agent).mailbox_limit:  # type: ignore[operator]  # it has one, or this were a list
            list.append(self, message)
        else:
            overflow(agent, self, message)


def overflow(agent: Agent, mailbox: list[Any] | None, message: Any) -> None:
    """A message has come for which there is no room."""
    overfull = overfull_of(agent)
    policy = type(agent).overflow
    if policy == "reject" or policy == "wait":
        overfull.refused += 1
        raise MailboxFull(agent._o_text(), agent._o_queued())
    overfull.dropped += 1
    if policy == "drop_newest":
        _lose(agent, message)
        return
    backlog = agent._o_backlog
    if backlog:
        _lose(agent, backlog.pop(), waited=True)  # its oldest message stands at its end
    elif mailbox:
        _lose(agent, mailbox.pop(0), waited=True)
    if mailbox is None:
        agent._o_mailbox = BoundedMailbox(agent, message)
    else:
        list.append(mailbox, message)


def overfull_of(agent: Agent) -> Overfull:
    """What the agent has refused so far, made on first use."""
    bonds = bonds_of(agent)
    if bonds.overfull is None:
        bonds.overfull = Overfull()
    return bonds.overfull


def has_room(agent: Agent) -> bool:
    """Whether a message would be taken without anything being lost."""
    if agent._o_away is not None:
        return agent._o_away.has_room()
    limit = type(agent).mailbox_limit
    return limit is None or agent._o_queued() < limit


def bounded_first(agent: Agent, message: Any) -> None:
    """`Agent._o_first` of classes with a limit."""
    if not has_room(agent):
        overflow(agent, None, message)
        return
    agent._o_first_plain(message)
    agent._o_mailbox = BoundedMailbox(agent, message)


def _lose(agent: Agent, message: Any, *, waited: bool = False) -> None:
    if type(message) is Call and not message.is_cast:
        message.fail(MailboxFull(agent._o_text(), agent._o_queued()))
    else:
        agent._o_node.dead_letter(agent, message, why="mailbox full", waited=waited)


class DeadMailbox:
    """The mailbox of an agent that has exited: turns messages into dead letters, and fails requests at once."""

    __slots__ = ("_agent", "_reason")

    def __init__(self, agent: Agent, reason: ExitReason) -> None:
        self._agent = agent
        self._reason = reason

    def append(self, message: Any) -> None:
        """Take a message that can no longer be delivered."""
        self._agent._o_node.dead_letter(self._agent, message, self._reason)

    def __len__(self) -> int:
        return 0
