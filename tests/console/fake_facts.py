"""What the node in memory holds before a test changes anything: its agents as columns, its tasks, its history."""

from __future__ import annotations

from typing import Any

import numpy as np

from observe.probe.wire_agent import Value
from observe.probe.wire_tasks import TaskLine

AT = 1_700_000_000.0
"""The time at which the node stands still."""


def value(content: Any) -> Value:
    """A Python value as the node would send it."""
    kind = type(content).__name__
    if isinstance(content, dict):
        items = [
            (key, Value(type="str", text="", masked=True) if "key" in key else value(inner))
            for key, inner in content.items()
        ]
        return Value(type=kind, text=repr(content)[:120], size=len(content), items=items)
    if isinstance(content, list):
        return Value(
            type=kind, text=repr(content)[:120], size=len(content),
            items=[(str(number), value(inner)) for number, inner in enumerate(content)],
        )  # fmt: skip
    return Value(type=kind, text=repr(content))


def history_of_shop() -> dict[str, list[float]]:
    wave = [abs(((n * 7) % 23) - 11) for n in range(120)]
    flat = [0.0] * 120
    return {
        "agents": [400.0 + n % 3 for n in range(120)],
        "rate": [800 + 50.0 * w for w in wave],
        "run_queue": [float(w % 5) for w in wave],
        "use": [0.2 + w / 40 for w in wave],
        "lag_s": [0.001 + w / 5000 for w in wave],
        "memory": [400e6 + n * 1e5 for n in range(120)],
        "crashes_min": flat,
        "restarts_min": flat,
        "tokens_min": [4000.0 + 100 * w for w in wave],
        "cost_min": [0.2 + 0.01 * w for w in wave],
        "probe_cost": [0.008] * 120,
    }


def columns_of_shop(number: int) -> dict[str, Any]:
    """The root, one supervisor, and `number` sessions that do various things, always the same."""
    total = number + 2
    n = np.arange(total)
    turn = n * 7919 % 101
    status = np.array(["idle", "waiting", "running", "runnable", "idle", "waiting"], dtype=object)[turn % 6]
    activity = np.array([None, "model:chat", None, None, None, "tool:lookup_order"], dtype=object)[turn % 6]
    columns: dict[str, Any] = {
        "pid": n + 1,
        "name": np.array([f"session-{i - 2}" for i in n], dtype=object),
        "class": np.array(["Session"] * total, dtype=object),
        "status": status,
        "status_s": turn * 0.13,
        "mailbox": np.where(turn % 11 == 0, turn, turn % 2).astype(np.int64),
        "mailbox_max": (turn + 3).astype(np.int64),
        "handled": (n * 37 % 5000).astype(np.int64),
        "rate": (turn % 20) * 0.7,
        "reductions": (n * 7907 % 1_000_003 + 1).astype(np.int64),
        "load": (turn % 40) * 0.004,
        "restarts": np.zeros(total, dtype=np.int64),
        "crashes": np.zeros(total, dtype=np.int64),
        "activity": activity,
        "activity_s": np.where(activity == None, 0.0, turn * 0.2),
        "age_s": 7500.0 - n * 0.001,
        "supervisor": np.full(total, 2, dtype=np.int64),
        "child": np.array([f"s{i - 2}" for i in n], dtype=object),
        "process": np.zeros(total, dtype=np.int64),
        "containment": np.array(["none"] * total, dtype=object),
        "restarts_min": np.zeros(total, dtype=np.int64),
        "crashes_min": np.zeros(total, dtype=np.int64),
        "risk": np.zeros(total),
        "tokens": np.where(turn % 7 == 3, n * 997 % 60_000, 0).astype(np.int64),
        "cost": np.where(turn % 7 == 3, n * 997 % 60_000, 0) / 40_000,
    }
    for index, (name, kind, supervisor, child) in enumerate(
        [("root", "RootSupervisor", 0, ""), ("sessions", "Supervisor", 1, "sessions")]
    ):
        columns["name"][index], columns["class"][index] = name, kind
        columns["status"][index], columns["activity"][index] = "idle", None
        columns["supervisor"][index], columns["child"][index] = supervisor, child
        columns["mailbox"][index] = 0
        columns["activity_s"][index] = 0.0
    return columns


def tasks_of_shop() -> list[TaskLine]:
    """A service that packs orders; two of its tasks wait for each other."""
    more: dict[str, Any] = {"created_at": "shop.py:12 in main", "creator": 1, "creator_name": "Task-1"}
    tasks = [
        TaskLine(id=1, name="Task-1", coroutine="main", state="waiting", waiting_on="Event.wait", place="shop.py:9 in main",
                 age_s=None, protected="the node was started in it")
    ]  # fmt: skip
    for number in range(3):
        tasks.append(
            TaskLine(id=2 + number, name=f"packer-{number}", coroutine="pack", module="shop.pack", state="waiting",
                     waiting_on="Queue.get", place="pack.py:31 in pack", age_s=7000.0 - number, **more)
        )  # fmt: skip
    tasks.append(
        TaskLine(id=5, name="cruncher", coroutine="Cruncher.run", module="shop.crunch", state="frozen",
                 place="crunch.py:77 in spin", age_s=31.0, **more)
    )  # fmt: skip
    for number, other in ((6, 7), (7, 6)):
        tasks.append(
            TaskLine(id=number, name=f"Task-{number}", coroutine="waits", module="shop", state="waiting",
                     waiting_on=f"the task Task-{other}", waits_for=[other], ring=[6, 7], place="shop.py:70 in waits",
                     age_s=12.0, **more)
        )  # fmt: skip
    return tasks
