"""A reversible wrapper around one function: how its calls are told of on Python 3.11.

It stands wherever a loaded module's globals, or the class, refer to the function, and is of the same kind: what
`iscoroutinefunction` and its kin say stays true.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from observe.tracing.errors import BadSelector
from observe.tracing.functions import Calls, Found

Begin = Callable[[object, Any, Any], bool]
"""Takes a key of the call, and its arguments; says whether anybody listens."""
Finish = Callable[[object, object, BaseException | None], None]


class Wrapper:
    """A `Hook` of `observe.tracing.functions`."""

    def __init__(self, found: Found, calls: Calls) -> None:
        self._found = found
        self._calls = calls
        self._is_on = False
        self._changed: list[tuple[Any, str, Any, Any]] = []
        """Holder, name, what stood there, what stands there now."""

    def install(self) -> None:
        """Put it in place. Raises `BadSelector`."""
        found = self._found
        made = self._around(found.held)
        self._is_on = True
        self._put(found.holder, found.name, found.held, made)
        if not isinstance(found.held, FunctionType):
            return
        for module in list(sys.modules.values()):  # `from app.tools import search` elsewhere
            names = vars(module) if isinstance(module, ModuleType) else {}
            for name in [name for name, value in list(names.items()) if value is found.held]:
                self._put(module, name, found.held, made)

    def remove(self) -> None:
        """Take it away. A wrapper that somebody has kept calls the function and does nothing more."""
        self._is_on = False
        changed, self._changed = self._changed, []
        for holder, name, before, made in changed:
            if vars(holder).get(name) is made:  # else somebody has put another one there, which stays
                setattr(holder, name, before)

    def _put(self, holder: Any, name: str, before: Any, made: Any) -> None:
        try:
            setattr(holder, name, made)
        except (AttributeError, TypeError):
            raise BadSelector(f"{self._found.text} cannot be traced: {holder!r} cannot be changed") from None
        self._changed.append((holder, name, before, made))

    def _around(self, held: Any) -> Any:
        if isinstance(held, staticmethod | classmethod):
            return type(held)(self._around(held.__func__))
        if isinstance(held, property):
            return property(self._around(held.fget), held.fset, held.fdel, held.__doc__)
        if not isinstance(held, FunctionType):
            raise BadSelector(
                f"{self._found.text} is a {type(held).__name__} around a function; Python 3.12 can trace that"
            )
        function = held

        code, take = self._found.function.__code__, self._calls.take

        def begin(key: object, args: Any, kwargs: Any) -> bool:
            if not self._is_on or not take():
                return False

            def arguments() -> list[tuple[str, object]]:
                return _given(code, args, kwargs)

            self._calls.begin(key, arguments, sys._getframe(2))
            return True

        if inspect.iscoroutinefunction(function):
            make = _coroutine
        elif inspect.isgeneratorfunction(function):
            make = _generator
        elif inspect.isasyncgenfunction(function):
            make = _asynchronous_generator
        else:
            make = _plain
        return functools.wraps(function)(make(function, begin, self._calls.finish))


def _given(code: CodeType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, object]]:
    """What a call passes, by the names that the function has for it. (`inspect.signature` would do the same in ten times as long.)"""
    count, first, every = code.co_argcount, code.co_posonlyargcount, code.co_argcount + code.co_kwonlyargcount
    given: list[tuple[str, object]] = list(zip(code.co_varnames[:count], args, strict=False))
    has_more = bool(code.co_flags & inspect.CO_VARARGS)
    if has_more and len(args) > count:
        given.append((code.co_varnames[every], args[count:]))
    if kwargs:
        named = code.co_varnames[first:every]
        given += [(name, value) for name, value in kwargs.items() if name in named]
        rest = {name: value for name, value in kwargs.items() if name not in named}
        if rest and code.co_flags & inspect.CO_VARKEYWORDS:
            given.append((code.co_varnames[every + has_more], rest))
    return given


def _plain(function: Any, begin: Begin, finish: Finish) -> Callable[..., Any]:
    def traced(*args: Any, **kwargs: Any) -> Any:
        key = object()
        if not begin(key, args, kwargs):
            return function(*args, **kwargs)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            finish(key, None, error)
            raise
        finish(key, value, None)
        return value

    return traced


def _coroutine(function: Any, begin: Begin, finish: Finish) -> Callable[..., Any]:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        key = object()
        if not begin(key, args, kwargs):
            return await function(*args, **kwargs)
        try:
            value = await function(*args, **kwargs)
        except BaseException as error:
            finish(key, None, error)
            raise
        finish(key, value, None)
        return value

    return traced


def _generator(function: Any, begin: Begin, finish: Finish) -> Callable[..., Any]:
    def traced(*args: Any, **kwargs: Any) -> Any:
        key = object()
        begin(key, args, kwargs)
        try:
            value = yield from function(*args, **kwargs)
        except BaseException as error:
            finish(key, None, error)
            raise
        finish(key, value, None)
        return value

    return traced


def _asynchronous_generator(function: Any, begin: Begin, finish: Finish) -> Callable[..., Any]:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        key = object()
        begin(key, args, kwargs)
        inner = function(*args, **kwargs)
        try:
            item = await inner.asend(None)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # it is handed on, not caught
                    item = await inner.athrow(thrown)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            finish(key, None, None)
        except BaseException as error:
            finish(key, None, error)
            raise

    return traced
