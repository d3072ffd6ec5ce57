"""What a node takes before its first agent runs, and gives back after the last: settings of the process and the event loop,
the store, the watchdog's thread."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from observe.runtime.errors import StoreFault
from observe.runtime.growth import RARE_FULL_GC, Growth
from observe.runtime.preempt import Preempter
from observe.runtime.watchdog import Watchdog

if TYPE_CHECKING:
    from observe.runtime.lifecycle import Lifecycle
    from observe.runtime.node import Node
    from observe.runtime.node_options import NodeOptions
    from observe.runtime.scheduler import Scheduler

logger = logging.getLogger("observe.runtime")


class NodeResources:
    """Those of one run of a node. Belongs to its scheduler's thread."""

    def __init__(self, node: Node, scheduler: Scheduler, lifecycle: Lifecycle, options: NodeOptions) -> None:
        self._node = node
        self._scheduler = scheduler
        self._lifecycle = lifecycle
        self._options = options
        self._watchdog: Watchdog | None = None
        self._gc_thresholds: tuple[int, int, int] | None = None

    async def open(self) -> None:
        """Take them, in the order in which they need each other.

        Raises:
            StoreFault: the store cannot be used.
            PreemptionUnavailable: the node was to preempt, and cannot here.
        """
        node, options = self._node, self._options
        if options.rare_full_gc:
            self._gc_thresholds = gc.get_threshold()
            gc.set_threshold(*self._gc_thresholds[:2], RARE_FULL_GC)
        elif options.rare_full_gc is None:
            self._lifecycle.growth = Growth(self._scheduler, self._lifecycle.agents)
        node.tasks.open(record=options.tasks, preempt=options.preempt_tasks)
        if options.preemption is not None:
            Preempter(self._scheduler, options.preemption).open()
        self._scheduler.interrupter.open()
        if node.store is not None:
            try:
                await node.store.open()
                await node.parked.recall()
            except BaseException:
                self._let_go()
                with suppress(StoreFault):
                    await node.store.close()
                raise
        if options.watchdog_s is not None:
            self._watchdog = Watchdog(self._scheduler, node.findings, options.watchdog_s)
            self._watchdog.start()

    async def close(self) -> None:
        """Give all of them back."""
        node = self._node
        self._let_go()
        if node.store is not None:
            try:
                await node.store.close()  # what the agents' ends had to save is on record then
            except StoreFault as fault:
                logger.error("node %s: %s", node.name, fault)
        if self._watchdog is not None:
            self._watchdog.stop()
        await asyncio.sleep(0)  # the spare task ends at the event loop's next turn

    def _let_go(self) -> None:
        """Of the event loop and of Python's settings."""
        self._scheduler.close()
        self._node.tasks.close()
        if self._lifecycle.growth is not None:
            self._lifecycle.growth.close()
            self._lifecycle.growth = None
        if self._gc_thresholds is not None:
            gc.set_threshold(*self._gc_thresholds)
            self._gc_thresholds = None
