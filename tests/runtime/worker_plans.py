"""Agents with checkpoints, ladders and budgets for the tests of worker processes: a module that workers can import."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from observe.runtime import Agent, Failure


class Keeper(Agent):
    """Counts what it is told, and dies as it is told."""

    unsaved = ("conn",)

    def init(self, start: int = 0) -> None:
        self.count = start
        self.approach = "plain"
        self.how = "init"
        self.conn = object()

    def restored(self, start: int = 0) -> None:
        self.how = "restored"
        self.conn = object()

    async def on_retry(self, failure: Failure) -> None:
        self.approach = f"careful {failure.attempt} {failure.message[0]}"

    async def handle(self, message: Any) -> Any:
        match message:
            case int():
                self.count += message
            case "save":
                await self.checkpoint()
            case "crash":
                raise ValueError("crash")
            case "unsavable":
                self.lamp = object()
            case "pid":
                return os.getpid()
            case "stop":
                self.stop()
            case "wait":
                await asyncio.Event().wait()
            case ("add and die once", path):
                if mark(path):
                    self.count += 1
                    os.kill(os.getpid(), signal.SIGKILL)
                self.count += 10
            case ("needs care", _):
                if self.approach == "plain":
                    raise ValueError("plain does not do")
            case ("never",):
                raise ValueError("never")
            case ("charge", path, dies):
                async with self.activity("tool:charge", key="order-1") as charge:
                    if not charge.completed:
                        write(path)
                        charge.result = "receipt"
                if dies and self.how == "init":
                    os._exit(7)
                return charge.result
            case ("tools", number):
                for n in range(number):
                    async with self.activity("tool:search", query=n):
                        pass
            case ("chat", tokens):
                async with self.activity("model:chat") as chat:
                    chat.usage(input_tokens=tokens)
        return self.count, self.how


def note_limit(ref: Any, error: Any) -> None:
    """For budgets: only look on."""


def mark(path: str) -> bool:
    """Make the file. Says whether there was none."""
    is_new = not Path(path).exists()
    Path(path).touch()
    return is_new


def write(path: str) -> None:
    """Charge the card."""
    with Path(path).open("a") as book:
        book.write("charged\n")
