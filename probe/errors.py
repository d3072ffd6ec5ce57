"""The errors of the probe's room.

```
ProbeError
 +-- AttachError                what a client (console, script) meets; has `exit_code` and `hint`
 |    +-- NoSuchNode            there is no card of that name
 |    +-- NodeUnreachable       nobody answers at the card's address, or the connection was lost
 |    +-- NotAuthorised         the node does not know this key
 |    |    +-- UnknownNodeKey   we do not know the node's key, so nothing is sent to it
 |    |    +-- WrongNodeKey     whoever answers does not have the key by which we know the node
 |    +-- ProtocolError         the other side said something that the protocol does not allow
 |    |    +-- NoCommonVersion   it speaks other versions of the protocol than we
 |    +-- AuditMismatch         the node's audit log is not the one that we saw before
 |    +-- RemoteError           the node understood and said no; carries the protocol's error code
 +-- Refusal                    inside the probe: a request that is answered with an error of the protocol
 +-- BadFrame                   bytes that are no message of ours
 +-- TooLarge                   a message of ours that would exceed the size of a frame
 +-- TooDeep                    one that is nested more deeply than a node reads
 +-- UnsafeDirectory            the directory for cards belongs to somebody else or lets others in
 +-- NameTaken                  another live probe serves a node of this name
```
"""

from __future__ import annotations

from typing import Literal, get_args

ErrorCode = Literal[
    "bad_frame",
    "bad_request",
    "unsupported_version",
    "hello_first",
    "unknown_verb",
    "forbidden",
    "no_such_agent",
    "no_such_task",
    "no_such_column",
    "no_such_node",
    "revoked",
    "stale",
    "expired",
    "node_dead",
    "scheduler_held",
    "node_timeout",
    "refused",
    "busy",
    "internal",
]
"""What can stand in `error.code` of a reply. docs/protocol.md, section 1.2."""

ERROR_CODES: tuple[str, ...] = get_args(ErrorCode)

USAGE_CODES = frozenset({"bad_request", "unknown_verb", "no_such_column"})
"""Errors of the person who typed: the command line ends with 2. All others end with 1."""


def exit_code_of(code: str) -> int:
    """The exit status of the command line for an error code, also for codes of a later version."""
    return 2 if code in USAGE_CODES else 1


class ProbeError(Exception):
    """Whatever this room raises on purpose."""


class AttachError(ProbeError):
    """Attaching to a node, or asking it something, did not work. The text is one line for a person."""

    exit_code: int = 1
    """Exit status for a command that ends with this error."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        """What to do next, or an empty text."""


class NoSuchNode(AttachError):
    """No card of this name: the node is not running here, or runs as another user."""

    exit_code = 2

    def __init__(self, node: str, *, hint: str = "`observe nodes` lists the nodes that are up") -> None:
        super().__init__(f"no node named {node} is known to this user on this machine", hint=hint)
        self.node = node


class NodeUnreachable(AttachError):
    """No answer: the node is gone, or its probe is, or the network between."""


class NotAuthorised(AttachError):
    """The node does not accept the key that was shown to it."""


class UnknownNodeKey(NotAuthorised):
    """Nobody has said which key this node must have."""

    exit_code = 2

    def __init__(self, node: str) -> None:
        super().__init__(
            f"the key of {node} is not known here, so nothing is sent to it",
            hint=f"on its machine: observe keys show --node; compare, then here: observe keys trust {node} KEY",
        )
        self.node = node


class WrongNodeKey(NotAuthorised):
    """Whoever answers does not have the key by which we know the node: it was changed, or it is somebody else."""


class ProtocolError(AttachError):
    """The other side does not speak the attach protocol as we know it."""


class NoCommonVersion(ProtocolError):
    """There is no version of the protocol that both sides speak."""


class AuditMismatch(AttachError):
    """The node's audit log contradicts a checkpoint that we saw before: it was changed, put back, or is another one."""

    def __init__(self, node: str, why: str) -> None:
        super().__init__(
            f"the audit log of {node} is not the one seen before: {why}",
            hint=f"`observe audit verify {node}` tells what was done; if you began a new log: observe audit forget {node}",
        )
        self.node = node
        self.why = why


class RemoteError(AttachError):
    """The node understood the request and answered with an error of the protocol."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        """One of `ERROR_CODES`, or a code of a later version."""
        self.exit_code = exit_code_of(code)


class Refusal(ProbeError):
    """A request that gets an error reply. Raised anywhere below the probe's desk, which turns it into the reply."""

    def __init__(self, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.hint = hint


class BadFrame(ProbeError):
    """These bytes are no message: not msgpack, too large, too deep, a key twice, NaN, or not a map."""


class TooLarge(ProbeError):
    """A message of ours exceeds what a frame may hold."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"the message has {size_bytes:,} bytes; a frame holds at most {limit_bytes:,}")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class TooDeep(ProbeError):
    """A message of ours has more levels than a node reads. Sent all the same, it would have no answer: its number is not read."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"what is to be sent is nested too deeply: a request has {limit} levels of lists and maps at most, those around a "
            "value among them"
        )


class UnsafeDirectory(ProbeError):
    """The directory that holds cards and keys is not ours alone, so nothing is written to or read from it."""


class NameTaken(ProbeError):
    """Another live node has this name on this machine."""
