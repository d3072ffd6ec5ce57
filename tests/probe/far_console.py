"""A console on another machine, without a screen: attaches, watches, and does what it reads on stdin. See `test_machines`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from observe.probe.client import connect
from observe.probe.errors import AttachError


def say(**facts: Any) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main(node: str) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    states: list[str] = []
    async with connect(node, timeout_s=20.0, reconnect=True) as client:
        client.on_state = lambda state: states.append(state.state)
        pushes = 0

        async def follow() -> None:
            nonlocal pushes
            async for _ in await client.watch_vitals(interval_s=0.1):
                pushes += 1

        following = asyncio.create_task(follow())
        say(node=client.info.name, endpoint=client.endpoint, way=client.way)
        while line := await reader.readline():
            verb, *args = json.loads(line)
            began = time.monotonic()
            if verb == "facts":
                say(states=states, state=client.state, pushes=pushes)
                continue
            try:
                told = await getattr(client, verb)(*args)
                say(done=True, took_s=time.monotonic() - began, told=str(told))
            except AttachError as error:
                say(done=False, took_s=time.monotonic() - began, told=str(error))
        following.cancel()


asyncio.run(main(sys.argv[1]))
