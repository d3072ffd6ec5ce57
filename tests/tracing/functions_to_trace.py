"""Functions of all kinds, as a service has them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def search(query: str, *more: int, limit: int = 3, password: str = "tiger", **rest: Any) -> list[str]:
    """Keeps what it finds to itself."""
    return [query] * limit


def same(thing: T) -> T:
    return thing


def fails(code: int) -> None:
    raise ValueError(f"no {code}")


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


async def waits(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


async def stream(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


def decorated(function: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> T:
        return function(*args, **kwargs)

    return around


@decorated
def plus(a: int, b: int) -> int:
    return a + b


@decorated
def minus(a: int, b: int) -> int:
    return a - b


class Desk:
    """With methods of each kind."""

    def __init__(self, name: str = "desk") -> None:
        self.name = name

    def find(self, what: str) -> str:
        return f"{self.name}: {what}"

    @staticmethod
    def fixed(x: int) -> int:
        return x + 1

    @classmethod
    def made(cls, name: str) -> Desk:
        return cls(name)

    @property
    def label(self) -> str:
        return f"<{self.name}>"


class Corner(Desk):
    """Inherits `find`."""


class Loud:
    """Its text calls the traced function."""

    def __repr__(self) -> str:
        return f"Loud{search('again')}"
