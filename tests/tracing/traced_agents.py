"""Agents for the tests of tracing in worker processes: a module that workers can import."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from observe.runtime import Agent, Ref
from tests.tracing.functions_to_trace import search


class Clerk(Agent):
    """Asks the next one, in an activity."""

    def init(self, following: Ref | None) -> None:
        self.following = following

    async def handle(self, message: Any) -> list[str]:
        async with self.activity("tool:ask"):
            further = await self.following.call(message, timeout=30) if self.following is not None else []
        return [self.ref.name or "", *further]


class Baker(Agent):
    def handle(self, message: Any) -> list[str]:
        with self.activity("tool:bake"):
            logging.getLogger("bakery").warning("baked")
            return ["baker"]


class Faller(Agent):
    def handle(self, message: Any) -> list[str]:
        with self.activity("tool:fall"):
            raise ValueError("asked to")


class Sleeper(Agent):
    async def handle(self, message: Any) -> None:
        async with self.activity("tool:sleep"):
            await asyncio.sleep(3600)


class Spinner(Agent):
    """Runs until a moment of Unix time."""

    def handle(self, until: float) -> None:
        while time.time() < until:
            pass


class Caller(Agent):
    def handle(self, query: str) -> list[str]:
        return search(query)
