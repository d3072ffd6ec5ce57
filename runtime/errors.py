"""Every error that the runtime raises, in one tree.

RuntimeFault
├── CallTimeout      no reply within the time; the request may still be handled
├── AgentExited      the agent ended before it replied; `.reason` says why
├── NoSuchAgent      nobody has this pid or name
├── NameTaken        a live agent has this name
├── MailboxFull      a bounded mailbox has no room, and its policy is not to lose anything
├── InitFailed       the agent's `init` raised; the cause is chained
├── BadChildSpec     a child spec, strategy or supervisor option is not valid
├── NoSuchChild      a supervisor has no child of this id
├── NodeDown         the node is not running (any more), or belongs to the parent of a forked process
└── WrongThread      a message was sent from another thread than the node's
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observe.runtime.exits import ExitReason


class RuntimeFault(Exception):
    """Base of all errors of the runtime."""


class CallTimeout(RuntimeFault, TimeoutError):
    """No reply came within the time-out. The agent may still handle the request later; its reply is then dropped."""

    def __init__(self, target: str, timeout_s: float) -> None:
        super().__init__(
            f"{target} did not reply within {timeout_s:g} s; it may still be handling the request"
        )
        self.target = target
        self.timeout_s = timeout_s


class AgentExited(RuntimeFault):
    """The agent ended before it replied."""

    def __init__(self, target: str, reason: ExitReason) -> None:
        super().__init__(f"{target} exited before it replied: {reason}")
        self.target = target
        self.reason = reason


class NoSuchAgent(RuntimeFault, LookupError):
    """No live agent has this pid or name."""

    def __init__(self, target: object) -> None:
        kind = "pid" if isinstance(target, int) else "name"
        super().__init__(f"no live agent has the {kind} {target!r}")
        self.target = target


class NameTaken(RuntimeFault):
    """A live agent is registered under this name already."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(f"the name {name!r} belongs to agent {pid}; names are unique on a node")
        self.name = name
        self.pid = pid


class MailboxFull(RuntimeFault):
    """A bounded mailbox has no room for the message. `await ref.send(message)` waits for room where `cast` raises this."""

    def __init__(self, target: str, queued: int) -> None:
        super().__init__(f"the mailbox of {target} is full: {queued:,} messages wait in it")
        self.target = target
        self.queued = queued


class InitFailed(RuntimeFault):
    """An agent's `init` raised, so the agent was not started. The error it raised is the `__cause__`."""

    def __init__(self, target: str, reason: ExitReason) -> None:
        super().__init__(f"{target} did not start: {reason}")
        self.target = target
        self.reason = reason


class BadChildSpec(RuntimeFault, ValueError):
    """A child spec or an option of a supervisor is not valid; the message says which and what is allowed."""


class NoSuchChild(RuntimeFault, LookupError):
    """The supervisor has no child with this id."""

    def __init__(self, supervisor: str, child_id: object) -> None:
        super().__init__(f"{supervisor} has no child {child_id!r}")
        self.child_id = child_id


class NodeDown(RuntimeFault):
    """The node does not run: not started, stopped, or inherited through a fork."""


class WrongThread(RuntimeFault):
    """Agents belong to their node's thread."""

    def __init__(self) -> None:
        super().__init__(
            "a message was sent from another thread than the node's\n"
            "  wrong: ref.cast(message)             in a worker thread\n"
            "  right: ref.cast_threadsafe(message)"
        )
