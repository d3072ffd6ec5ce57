"""Opens the console on a made-up node, to look at it: `python -P tests/console/try_console.py [agents]`.

Agents work, crash and restart; `--held`, `--dead` and `--lost` show those states.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from time import time
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from observe.console.app import ObserveApp
from tests.console.fake_node import FakeNode


async def live(node: FakeNode, flags: set[str]) -> None:
    """Something happens all the time."""
    chance = random.Random(1)
    ticks = 0
    while True:
        await asyncio.sleep(0.25)
        ticks += 1
        columns = node.columns
        node.at = time()
        some = np.array(chance.sample(range(2, len(columns["pid"])), max(1, node.number // 20)))
        columns["handled"][some] += 1
        columns["mailbox"][some] = [chance.choice([0, 0, 0, 1, 2, 15]) for _ in some]
        columns["status"][some] = [chance.choice(["idle", "waiting", "running", "runnable"]) for _ in some]
        columns["activity"][some] = [chance.choice([None, "model:chat", "tool:search"]) for _ in some]
        columns["activity_s"][some] = 0
        columns["activity_s"] += np.where(columns["activity"] == None, 0.0, 0.25)
        columns["load"][some] = [chance.random() ** 4 for _ in some]
        columns["rate"][some] = [chance.random() * 20 for _ in some]
        columns["status_s"] += 0.25
        columns["age_s"] += 0.25
        if ticks % 3 == 0:
            pid = int(columns["pid"][2 + chance.randrange(8)])
            new = node.restarted(pid)
            node.crashed(pid, chance.choice(["JSONDecodeError: Expecting value", "TimeoutError: model"]), new)
            node.happened("restart", new, f"#{pid} is #{new}")
        if ticks % 4 == 0:
            recent = sum(1 for crash in node.crash_list if node.at - crash.at < 60)
            if "--held" in flags and node.vital.state == "up":
                node.hold(9)
            elif "--dead" in flags and ticks > 12:
                node.push_vitals(state="dead", held=None)
            elif "--lost" in flags and ticks == 12:
                node.lose()
            else:
                node.push_vitals(crashes_min=recent, restarts_min=recent, rate=900 + chance.random() * 400)
            node.vital = node.vital.model_copy(update={"at": time()})


async def main() -> None:
    flags = {word for word in sys.argv[1:] if word.startswith("--")}
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    node = FakeNode(number=numbers[0] if numbers else 400, at=time())
    app = ObserveApp(cast(Any, lambda: node), "shop", readonly="--readonly" in flags)
    task = asyncio.ensure_future(live(node, flags))
    await app.run_async()
    task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
