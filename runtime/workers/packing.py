"""What passes between a node's processes, as bytes: messages, exit reasons, errors, classes.

It is pickle: both ends are the same service, on a socket pair that nobody else can open. What cannot be pickled is an error
of the sender, at once. A ref travels as its pid or name, and is a ref again on the other side.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from asyncio import Future
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.errors import NotSendable, RuntimeFault
from observe.runtime.exits import MAX_TRACEBACK_FRAMES, ExitReason, WorkerTraceback
from observe.runtime.ref import Reading

if TYPE_CHECKING:
    from observe.runtime.node import Node

MESSAGE_LIMIT_BYTES: Final = 64 * 2**20
"""The largest message. A larger one belongs in a file or in shared memory, with its name in the message."""

find_main: Callable[[], bool] | None = None
"""In a worker: runs the service's main module again, once, and says whether that was worth another try."""


class RemoteError(RuntimeFault):
    """Stands for an error of another process that could not be sent as it is."""


class Packed:
    """A message that is on its way between two workers: as it came, not read."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def pack(value: Any, what: str) -> bytes:
    """`value` as bytes.

    Raises:
        NotSendable: it cannot be pickled, or is too large; `what` says what it is.
    """
    if type(value) is Packed:
        return value.data
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise NotSendable(what, f"{type(error).__name__}: {error}") from error
    if len(data) > MESSAGE_LIMIT_BYTES:
        raise NotSendable(what, f"it has {len(data):,} bytes, and at most {MESSAGE_LIMIT_BYTES:,} are sent")
    return data


def unpack(data: bytes, node: Node | None) -> Any:
    """What `pack` was given. Refs in it are of `node`.

    Raises:
        NotSendable: it cannot be read here, because a class in it cannot be imported, say.
    """
    Reading.node, outer = node, Reading.node
    try:
        return pickle.loads(data)
    except Exception as error:
        # `__main__`, or `__mp_main__` when another worker has packed it
        if find_main is not None and b"_main__" in data and find_main():
            return unpack(data, node)
        raise NotSendable("what was sent", f"{type(error).__name__}: {error}") from error
    finally:
        Reading.node = outer


def pack_error(error: BaseException, trace: str = "", fingerprint: str = "") -> bytes:
    """An exception as bytes, whatever it is; its traceback goes along as text."""
    if not trace and error.__traceback__ is not None:
        try:
            trace = "".join(
                traceback.format_exception(
                    type(error), error, error.__traceback__, limit=-MAX_TRACEBACK_FRAMES
                )
            )
        except Exception as fault:
            trace = f"{type(error).__name__} (its traceback could not be formatted: {type(fault).__name__})"
    return pickle.dumps((_error_bytes(error), trace, fingerprint), pickle.HIGHEST_PROTOCOL)


def unpack_error(data: bytes, node: Node | None) -> BaseException:
    """The exception again, with the other process's traceback as its cause."""
    inner, trace, fingerprint = pickle.loads(data)
    kind, body, text = pickle.loads(inner)
    error: BaseException
    try:
        made = unpack(body, node)
        if kind == "parts":
            cls, args, state = made
            error = cls.__new__(cls)
            error.args = args
            error.__dict__.update(state)
        else:
            error = made
    except Exception:
        error = RemoteError(text)
    if trace:
        error.__cause__ = WorkerTraceback(trace, fingerprint)
    return error


def settle(told: Future[Any], ok: bool, data: bytes, node: Node | None) -> None:
    """Whoever waits gets what the other process has answered, or why that cannot be read here."""
    try:
        if ok:
            told.set_result(unpack(data, node))
        else:
            told.set_exception(unpack_error(data, node))
    except NotSendable as error:
        told.set_exception(error)


def _error_bytes(error: BaseException) -> bytes:
    """An error's own pickle is often one that cannot be read back (its `__init__` wants other arguments than its `args`);
    then its parts are sent."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception as fault:
        text = f"{type(error).__name__} (str() raised {type(fault).__name__})"
    whole: bytes | None
    try:
        whole = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        if type(pickle.loads(whole)) is not type(error):
            whole = None
    except Exception:
        whole = None
    if whole is not None:
        return pickle.dumps(("whole", whole, text))
    try:
        parts = pickle.dumps((type(error), error.args, vars(error)), pickle.HIGHEST_PROTOCOL)
        return pickle.dumps(("parts", parts, text))
    except Exception:
        return pickle.dumps(("text", pickle.dumps(RemoteError(text)), text))


def pack_reason(reason: ExitReason, trace: str = "", fingerprint: str = "") -> bytes:
    """An exit reason as bytes, with its error."""
    error = pack_error(reason.error, trace, fingerprint) if reason.error is not None else None
    return pickle.dumps((replace(reason, error=None), error), pickle.HIGHEST_PROTOCOL)


def unpack_reason(data: bytes, node: Node | None) -> ExitReason:
    """The exit reason again."""
    reason, error = pickle.loads(data)
    assert isinstance(reason, ExitReason)
    return reason if error is None else replace(reason, error=unpack_error(error, node))


def why_not_found(cls: type) -> str:
    """Why another process could not import `cls` by its name; empty when it can."""
    module, name = cls.__module__, cls.__qualname__
    if "<locals>" in name:
        return f"{name} is made inside a function; move the class to the top of a module"
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        return f"{module}.{name} is not this class: another process would not find it by its name"
    return ""
