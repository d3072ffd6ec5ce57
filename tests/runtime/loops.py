"""Steps that do not end, in the shapes that matter to whoever must end or freeze them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from observe.runtime import Agent


class Loops(Agent):
    """Runs the loop that the message names; `cleaned` tells whose clean-up has run."""

    cleaned: list[str] = []
    lock = threading.Lock()
    entered = threading.Event()

    def handle(self, message: Any) -> Any:
        if message == "ping":
            return "pong"
        self.entered.set()
        return getattr(self, message)()

    def body_first(self) -> None:
        try:
            while True:
                x = 1  # noqa: F841  # the loop's whole body
        finally:
            self.cleaned.append("body_first")

    def condition(self) -> None:
        x = 0
        try:
            while x >= 0:
                x += 1
        finally:
            self.cleaned.append("condition")

    def in_lock(self) -> None:
        with self.lock:
            while True:
                x = 1  # noqa: F841  # an instruction to be ended at

    def empty(self) -> None:
        try:
            while True:
                pass
        finally:
            self.cleaned.append("empty")

    def for_loop(self) -> None:
        try:
            for _ in iter(int, 1):
                pass
        finally:
            self.cleaned.append("for_loop")

    def takes_lock(self) -> None:
        try:
            while True:
                with self.lock:
                    x = 1  # noqa: F841  # an instruction to be ended at
        finally:
            self.cleaned.append("takes_lock")

    def generator(self) -> None:
        def numbers() -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                self.cleaned.append("inner")

        try:
            for _ in numbers():
                pass
        finally:
            self.cleaned.append("generator")

    def calls(self) -> None:
        def leaf(depth: int) -> int:
            return leaf(depth - 1) if depth else 1

        try:
            while leaf(20):
                pass
        finally:
            self.cleaned.append("calls")

    def catches_errors(self) -> None:
        try:
            while True:
                try:
                    int("x")
                except ValueError:
                    x = 1  # noqa: F841  # an instruction to be ended at
        finally:
            self.cleaned.append("catches_errors")

    def sleeps(self) -> None:
        try:
            time.sleep(3600)
        finally:
            self.cleaned.append("sleeps")

    def tries_and_cleans(self) -> None:
        try:
            while True:
                try:
                    x = 1  # noqa: F841  # an instruction to be ended at
                finally:
                    self.begun = self.done = 0
                    self.begun += 1
                    for _ in range(50):
                        pass
                    self.done += 1
        finally:
            self.cleaned.append("whole" if self.begun == self.done else "cut short")
            self.cleaned.append("tries_and_cleans")


class AsyncLoops(Loops):
    """The same in coroutines, before and after their first wait."""

    async def handle(self, message: Any) -> Any:
        import asyncio

        if message == "ping":
            return "pong"
        if message.startswith("hosted "):
            await asyncio.sleep(0)
        self.entered.set()
        return await self.run(getattr(self, message.removeprefix("hosted ")))

    async def run(self, loop: Callable[[], None]) -> None:
        loop()


SHAPES = (
    "body_first",
    "condition",
    "in_lock",
    "empty",
    "for_loop",
    "takes_lock",
    "generator",
    "calls",
    "catches_errors",
    "tries_and_cleans",
)
"""All but `sleeps`, which is no loop."""
