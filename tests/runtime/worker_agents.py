"""Agents for the tests of worker processes: a module of its own, so that workers can import them."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import time
from typing import Any

from observe.runtime import ActivityCancelled, Agent, Denied, Ref, supervised_map


class Odd(Agent):
    """Does what it is told, in whichever process it is."""

    def init(self, start: int = 0) -> None:
        if start < 0:
            raise ValueError("below zero")
        self.count = start
        self.heard: list[Any] = []

    async def handle(self, message: Any) -> Any:
        match message:
            case "pid":
                return os.getpid()
            case "segfault":
                ctypes.string_at(0)
            case "exit":
                os._exit(3)
            case "crash":
                raise ValueError("no")
            case "allocate":
                return len(bytearray(4 * 2**30))
            case "spin":
                while True:
                    pass
            case "c":
                return sum(range(10**12))
            case "wait":
                async with self.activity("tool:wait"):
                    await asyncio.sleep(60)
            case "lambda":
                return lambda: None
            case "heard":
                return self.heard
            case "heard_once":
                heard, self.heard = self.heard, []
                return heard
            case "stop":
                self.stop()
            case "whoami":
                return self.ref
            case "fork":
                child = os.fork()
                if child == 0:
                    while True:
                        pass
                return child
            case ("call", Ref() as ref, what):
                return await ref.call(what)
            case ("link", Ref() as ref):
                self.link(ref)
            case ("trap", Ref() as ref):
                self.trap_exits()
                self.link(ref)
            case ("monitor", Ref() as ref):
                self.monitor(ref)
            case ("spawn", *args):
                return await self.node.spawn(Odd, *args, isolation="none")
            case _:
                self.heard.append(message)
                self.count += 1
                return self.count
        return None


class Small(Odd):
    """Has room for three messages."""

    mailbox_limit = 3


class Fan(Agent):
    """Maps a function over numbers, each in an agent of its own."""

    async def handle(self, message: Any) -> Any:
        match message:
            case ("map", int() as count):
                return sorted([one.value async for one in supervised_map(double, range(count))])
            case ("errors", int() as count):
                return [type(one.error) async for one in supervised_map(odd_only, range(count), ordered=True)]
            case "wait":
                async for _ in supervised_map(sleep_long, range(3)):
                    pass
            case ("elsewhere", isolation):
                return {
                    one.value
                    async for one in supervised_map(where, range(4), isolation=isolation, timeout=60)
                }
        return None


def where(_: int) -> int:
    return os.getpid()


def vary(number: int) -> Any:
    """Ends as variously as functions do."""
    match number:
        case 0:
            return number
        case 1:
            ctypes.string_at(0)
        case 2:
            raise ValueError("no")
        case 3:
            return lambda: None
    return None


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def odd_only(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"{number} is even")
    return number


async def sleep_long(number: int) -> int:
    await asyncio.sleep(60)
    return number


class Clerk(Agent):
    """Has something to edit, to cancel and to save."""

    def init(self) -> None:
        self.done = 0
        self.rate = 1.5

    async def handle(self, message: Any) -> Any:
        if message == "look":
            try:
                async with self.activity("tool:look"):
                    await asyncio.sleep(60)
            except ActivityCancelled as error:
                self.cancelled = str(error)
        elif message == "spin":
            while True:
                pass
        elif message == "tools":
            with self.activity("tool:hammer"):
                pass
        else:
            self.done += 1
        return self.done


class Clock(Agent):
    """Goes on by itself, in an activity whose name changes."""

    async def handle(self, message: Any) -> None:
        for number in range(3000):
            async with self.activity(f"tool:tick-{number // 10}"):
                await asyncio.sleep(0.01)


class Holder(Agent):
    """Holds the scheduler of whoever runs it."""

    def handle(self, message: float) -> None:
        until = time.monotonic() + message
        while time.monotonic() < until:
            pass


class Forker(Odd):
    """Has children, and they have some."""

    async def handle(self, message: Any) -> Any:
        if type(message) is not int:
            return await super().handle(message)
        pids = []
        for _ in range(message):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                grandchild = os.fork()
                if grandchild:
                    os.write(writing, str(grandchild).encode())
                while True:
                    time.sleep(60)  # noqa: ASYNC251  # a child, without a loop
            pids += [child, int(os.read(reading, 20))]
            os.close(reading)
            os.close(writing)
        return pids


class Newest(Odd):
    """Has room for three messages, and does without those that come then."""

    mailbox_limit = 3
    overflow = "drop_newest"


class Brief(Agent):
    """Ends as soon as it has begun."""

    def init(self) -> None:
        self.ref.cast("end")

    def handle(self, message: Any) -> None:
        self.stop()


class Scribe(Agent):
    """Logs what it gets."""

    async def handle(self, message: Any) -> int:
        logging.getLogger("shop.far").warning("far %s", message)
        return os.getpid()


class Thinker(Agent):
    """Uses a model, so many tokens."""

    async def handle(self, tokens: int) -> None:
        async with self.activity("model:chat") as chat:
            chat.usage(input_tokens=tokens, output_tokens=tokens // 10, cost=tokens / 1000)


class Guarded(Agent):
    """Tries what it is told to, and keeps what it has done."""

    restricted_tools = ("tool:safe",)
    audited = ("done",)

    async def init(self, tool: str = "") -> None:
        self.done: list[Any] = []
        self.tool = tool
        if tool:
            async with self.activity(tool):
                pass

    async def handle(self, message: Any) -> Any:
        match message:
            case ("tool", name):
                async with self.activity(name):
                    self.done.append(name)
            case ("try", further):
                try:
                    return await self.handle(further)
                except Denied as error:
                    return str(error)
            case ("both", one, other):
                return [await self.handle(one), await self.handle(other)]
            case ("long", name):
                async with self.activity(name):
                    await asyncio.sleep(60)
            case ("cast", name):
                self.node.ref(name).cast("hello")
            case ("spin until", path):
                while not os.path.exists(path):  # noqa: ASYNC240  # as below
                    time.sleep(0.01)  # noqa: ASYNC251  # its process is stuck
            case "fall":
                raise RuntimeError("asked for")
            case _:
                self.done.append(message)
        return list(self.done)
