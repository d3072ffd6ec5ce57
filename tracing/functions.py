"""One function of the running service, found by name, and told of its calls without a restart and without residue.

    3.12 and later   `sys.monitoring`: events of this code object alone, plus its exceptions (an event that Python has for
                     all code only: a function that raises pays one callback more meanwhile, a call nothing)
    3.11             a wrapper in its place, wherever a loaded module or its class refers to it

Never `sys.settrace` or `sys.setprofile`: those slow every function of the thread, and belong to debuggers and to our own
preemption.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final, Protocol

from observe.tracing.errors import BadSelector

Arguments = Callable[[], Iterable[tuple[str, object]]]
Names = tuple[str, ...]

WRAPPERS: Final = 20
"""Decorators that are looked through."""


class Calls(Protocol):
    """Who is told. In whichever thread the function runs, in the middle of it."""

    @property
    def calls(self) -> Mapping[object, object]:
        """Those that have begun and not ended. While there is none, no end need be told."""

    def take(self) -> bool:
        """Whether the call that begins now is looked at. If so, `begin` follows."""

    def begin(self, key: object, arguments: Arguments, caller: FrameType | None) -> None: ...
    def finish(self, key: object, value: object, error: BaseException | None) -> None: ...


class Hook(Protocol):
    """Tells of calls from `install` until `remove`, which may be called twice and from any thread."""

    def install(self) -> None: ...
    def remove(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """A function of the service."""

    text: str
    """As it was asked for."""
    holder: Any
    """The module or class in which it stands."""
    name: str
    held: Any
    """What stands there: a function, or a `staticmethod` and the like around one."""
    function: FunctionType
    """The innermost one, below its decorators."""


def find(text: str) -> Found:
    """The function `module:name` or `module:Class.method`. Nothing is imported and nothing of the service is called.

    Raises:
        BadSelector: there is none, with what may be meant.
    """
    module_name, _, path = text.partition(":")
    if not path:
        raise BadSelector(f"{text!r} is no function; write module:function, such as app.tools:search")
    holder: Any = _module(module_name)
    *above, last = path.split(".")
    for name in above:
        holder = _part(holder, name, text)
        if not isinstance(holder, type):
            raise BadSelector(f"{name} of {text!r} is no class")
    place, held = _place(holder, last, text)
    function = _innermost(held)
    if function is None:
        if isinstance(held, type):
            raise BadSelector(
                f"{text} is a class; {text}.__init__ is the function that runs when one is made"
            )
        raise BadSelector(
            f"{text} is no Python function but {type(held).__name__}; what is written in C cannot be traced"
        )
    return Found(text, place, last, held, function)


def hook_for(found: Found, calls: Calls) -> Hook:
    """What tells `calls` of its calls, on this Python."""
    if sys.version_info >= (3, 12):
        return _Monitor(found.function.__code__, calls)
    from observe.tracing.function_wrapper import Wrapper

    return Wrapper(found, calls)


def _module(name: str) -> ModuleType:
    found = sys.modules.get(name)
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if found is None and main is not None and spec is not None and spec.name in (name, f"{name}.__main__"):
        found = main  # `python -m app` runs under another name
    if not isinstance(found, ModuleType):
        near = difflib.get_close_matches(name, list(sys.modules), 1)
        meant = f"; did you mean {near[0]}" if near else ""
        raise BadSelector(f"the service has loaded no module {name!r}{meant}")
    return found


def _place(holder: Any, name: str, text: str) -> tuple[Any, Any]:
    """Where it stands: in the module or class itself, or in a class above. No descriptor is run."""
    places = holder.__mro__ if isinstance(holder, type) else (holder,)
    for place in places:
        if name in vars(place):
            return place, vars(place)[name]
    near = difflib.get_close_matches(name, [one for place in places for one in vars(place)], 1)
    meant = f"; did you mean {near[0]}" if near else ""
    raise BadSelector(f"{text}: there is no {name!r} in {getattr(holder, '__name__', '?')}{meant}")


def _part(holder: Any, name: str, text: str) -> Any:
    return _place(holder, name, text)[1]


def _innermost(held: Any) -> FunctionType | None:
    for _ in range(WRAPPERS):
        if isinstance(held, staticmethod | classmethod):
            held = held.__func__
        elif isinstance(held, property):
            held = held.fget
        elif isinstance(held, functools.partial | functools.cached_property):
            held = held.func
        else:
            try:  # not by `getattr`: a stranger's `__getattr__` is not run
                below = object.__getattribute__(held, "__dict__").get("__wrapped__")
            except (AttributeError, TypeError):
                below = None
            if below is None:
                break
            held = below
    return held if isinstance(held, FunctionType) else None


def _parameters(code: CodeType) -> Names:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


def _arguments(frame: FrameType, names: Names) -> list[tuple[str, object]]:
    values = frame.f_locals
    return [(name, values[name]) for name in names if name in values]


if sys.version_info >= (3, 12):
    _mon = sys.monitoring
    _LOCAL = _mon.events.PY_START | _mon.events.PY_RETURN
    _ALL = (_mon.events.PY_START, _mon.events.PY_RETURN, _mon.events.PY_UNWIND)
    _TOOLS: Final = (3, 4, 2, 1, 0, 5)
    """Numbers that no known kind of tool claims come first."""

    class _Monitor:
        def __init__(self, code: CodeType, calls: Calls) -> None:
            self._code = code
            self._names = _parameters(code)
            # Each is looked up once: what follows runs at every call.
            self._take, self._begin, self._finish, self._open = (
                calls.take,
                calls.begin,
                calls.finish,
                calls.calls,
            )
            self._tool = -1

        def install(self) -> None:
            free = [number for number in _TOOLS if _mon.get_tool(number) is None]
            if len(free) < 2:  # one is left for the end of a step that holds the scheduler
                raise BadSelector(
                    "debuggers or profilers use all tools that Python's monitoring has; end one"
                )
            tool = self._tool = free[0]
            _mon.use_tool_id(tool, "observe.trace")
            for event, told in zip(_ALL, (self._started, self._returned, self._unwound), strict=True):
                _mon.register_callback(tool, event, told)
            _mon.set_local_events(tool, self._code, _LOCAL)
            _mon.set_events(tool, _mon.events.PY_UNWIND)

        def remove(self) -> None:
            tool, self._tool = self._tool, -1
            if tool < 0:
                return
            _mon.set_local_events(tool, self._code, 0)
            _mon.set_events(tool, 0)
            for event in _ALL:
                _mon.register_callback(tool, event, None)
            _mon.free_tool_id(tool)

        def _started(self, code: CodeType, offset: int) -> None:
            if self._take():
                frame = sys._getframe(1)
                self._begin(frame, functools.partial(_arguments, frame, self._names), frame.f_back)

        def _returned(self, code: CodeType, offset: int, value: object) -> None:
            if self._open:
                self._finish(sys._getframe(1), value, None)

        def _unwound(self, code: CodeType, offset: int, error: BaseException) -> None:
            if code is self._code and self._open:
                self._finish(sys._getframe(1), None, error)
