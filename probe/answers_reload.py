"""The service's side of hot reload: from the op of the control link to the runtime, and what came of it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from observe.probe.describe_names import line
from observe.runtime.errors import ReloadRefused
from observe.runtime.node import Node
from observe.runtime.wording import counted

MAX_NAMES: Final = 200
MAX_DIFF_LINES: Final = 300

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]


class Reloads:
    """Carries out reloads. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        """Reload; exactly one of `tell` and `fail` is called when it is over."""
        task = self._node.loop.create_task(self._reload(request, tell, fail), name="observe:reload")
        self._under_way.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._under_way.discard)

    async def _reload(self, request: dict[str, Any], tell: Tell, fail: Fail) -> None:
        began = time.monotonic()
        reloader = self._node.reloader
        names = [str(name) for name in request.get("modules") or ()]
        timeout_s = float(request.get("timeout_s") or 3.0)
        dry_run, rollback = request.get("dry_run") is True, request.get("rollback") is True
        try:
            if rollback:
                made = await reloader.rollback(names, timeout_s, by="")  # the operator's command is on record
            elif dry_run:
                made = await reloader.plan(names)
            else:
                made = await reloader.reload(names, timeout_s, by="")
        except ReloadRefused as error:
            fail("refused", line(str(error)), "everything is as it was")
            return
        except Exception as error:  # noqa: BLE001  # what fails here is an answer, never a fault of the node
            fail("internal", f"the node could not reload: {type(error).__name__}", "")
            return
        changes = made.changes
        versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
        verb = "undone: back to" if rollback else "would become" if dry_run else "now"
        concerned = counted(made.agents, "agent")
        what = f"{verb} {versions}; {concerned} concerned"
        what += "" if dry_run else f", {made.migrated:,} migrated"
        if made.workers:  # they have loaded the modules themselves, and what of them nobody here knows
            who = "1 worker process keeps" if made.workers == 1 else f"{made.workers} worker processes keep"
            what += f"; {who} the code loaded there"
        if changes.refusals:
            what = f"cannot be reloaded: {changes.refusals[0]}"
        named = {
            name: [line(text) for text in getattr(changes, name)[:MAX_NAMES]]
            for name in ("added", "changed", "removed", "kept", "refusals")
        }
        tell(
            {
                "done": True,
                "what": line(what),
                "modules": made.modules,
                "versions": made.versions,
                "agents": made.agents,
                "classes": dict(list(made.classes.items())[:MAX_NAMES]),
                "migrated": made.migrated,
                "paused_s": made.paused_s,
                "took_s": time.monotonic() - began,
                "dry_run": dry_run,
                "diff": [line(text) for text in made.diff[:MAX_DIFF_LINES]],
                **named,
            }
        )
