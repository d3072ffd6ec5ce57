"""What an operator may do with a dead letter: send it again. On the loop's thread, as the actions on agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from observe.runtime.actions import Acted, Result
from observe.runtime.agent import Agent
from observe.runtime.errors import ActionRefused, MailboxFull
from observe.runtime.letters import DeadLetter
from observe.runtime.node import Node


def resend(node: Node, letter: int, to: int = 0) -> Result:
    """Cast a dead letter to whoever has its addressee's name now, to the addressee if it lives, or to `to`. Once.

    Raises:
        ActionRefused: it is not kept any more, was sent again before, or nobody is there to have it.
        NoSuchAgent: `to` is no live agent.
    """
    found = node.letters.find(letter)
    if found is None:
        raise ActionRefused(f"dead letter {letter} is not kept any more: a node keeps the newest 1,000")
    if found.sent_to:
        raise ActionRefused(f"dead letter {letter} was sent again already, to {found.sent_to}")
    agent = node.control.find(to) if to else addressee(node, found)
    if agent is None:
        raise ActionRefused(
            f"{found.target} has ended and nobody has its name: say who is to have dead letter {letter} instead"
            if found.target_pid
            else f"nobody has the name {found.target!r} now: say who is to have dead letter {letter} instead"
        )
    try:
        agent._o_ref().cast(found.message)
    except MailboxFull as full:
        raise ActionRefused(str(full)) from None
    text = agent._o_text()
    node.letters.sent_again(letter, text)
    return Acted(
        True,
        f"dead letter {letter} for {found.target} is in the mailbox of {text}",
        agent._o_pid,
        {"letter": letter, "queued": agent._o_queued()},
    )


def addressee(node: Node, letter: DeadLetter) -> Agent | None:
    """Who would have it now: the holder of the name, else the same agent while it lives."""
    agent = node.registry.get(letter.target_name) if letter.target_name else None
    return agent or node.agents.get(letter.target_pid)


ON_LETTERS: Final[dict[str, Callable[..., Result]]] = {"resend": resend}
"""Actions that take the node and keywords, as those on the node do."""
