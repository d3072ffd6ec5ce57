"""The local variables of agents that crashed: taken when it happens, as bounded and masked values, and told on demand.

Later they are gone: a traceback that was kept would keep all that its frames hold, such as connections, alive. What is taken here
holds nothing. Taking it may use a fiftieth of the time: of a storm of crashes the first ones have locals.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final
from weakref import WeakKeyDictionary

from observe.probe.describe_names import line
from observe.runtime.exits import Crash
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node
from observe.tracing.payload import Limits, encode_fields

FRAMES: Final = 6
"""Innermost frames whose variables are taken."""

KEPT: Final = 100
"""Crashes whose variables are kept: some megabytes at most."""

SHARE: Final = 50
"""After it took t, nothing is taken for so many t."""

LIMITS: Final = Limits(
    items=20, depth=3, nodes=120, text=300, total_text=10_000, seconds=0.001, repr_s=0.0005
)
"""Of one frame."""


class CrashLocals(Instrument):
    """Takes and keeps them, of one node. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._kept: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._next = 0.0
        self.skipped = 0
        """Crashes that came too quickly after another one."""

    def on_crash(self, crash: Crash) -> None:
        began = time.monotonic()
        if began < self._next:
            self.skipped += 1
            return
        frames = crash.frames()[-FRAMES:]
        if not frames:
            return
        self._kept[crash.pid] = [
            {
                "file": line(frame.f_code.co_filename, 1000),
                "line": number,
                "function": line(frame.f_code.co_qualname),
                "values": encode_fields(
                    frame.f_code.co_name,
                    [(name, value) for name, value in frame.f_locals.items() if not name.startswith("__")],
                    LIMITS,
                ),
            }
            for frame, number in frames
        ]
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        now = time.monotonic()
        self._next = now + SHARE * (now - began)

    def of(self, crash: Crash | None) -> dict[str, Any]:
        """`crash_locals` and `locals_note` of **detail**."""
        if crash is None:
            return {}
        found = self._kept.get(crash.pid)
        if found is not None:
            return {"crash_locals": found}
        why = "it was in another process, came in a storm of crashes, or is long ago"
        return {"locals_note": f"the variables of this crash were not kept: {why}"}

    def begin(self) -> None:
        """Take them from now on; before others format the traceback, which lets go of the frames."""
        self._node.instruments.add(self, first=True)

    def end(self) -> None:
        """Take no more."""
        self._node.instruments.remove(self)


_of_nodes: WeakKeyDictionary[Node, CrashLocals] = WeakKeyDictionary()


def crash_locals_of(node: Node) -> CrashLocals:
    """Those of this node."""
    found = _of_nodes.get(node)
    if found is None:
        found = _of_nodes[node] = CrashLocals(node)
    return found
