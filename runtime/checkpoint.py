"""Checkpoints as the tree sees them: where in the store an agent's is, when it goes, and who comes back by it.

What an agent does about its own is in `care`; what a store is, in `stores`; how states are written down, in `encoding`.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from observe.runtime import encoding
from observe.runtime.errors import RuntimeFault, StoreFault
from observe.runtime.stores import RESULT, Record, Store

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.dynamic_supervisor import DynamicSupervisor
    from observe.runtime.node import Node

logger = logging.getLogger("observe.runtime")

STATE: Final = "state:"
"""How the keys of agents' checkpoints begin."""

_PAGE: Final = 500
"""Records read from the store at a time."""

PASSING: Final = "!"
"""Begins the part of a key that only this run of the node has. `quote` lets no id begin like it."""


def key_of(child: Child) -> str:
    """The place of a child in words that the next process finds again: ids from below the root down, with slashes.

    A child without an id or a name has a place that is unique to this run of the node. An item of a `supervised_map`
    has the place of the agent for which it works.
    """
    parts: list[str] = []
    place = child
    while (supervisor := place.supervisor) is not None:
        if supervisor._o_caller is not None:
            parts.clear()
            place = supervisor._o_caller._o_child
        else:
            parts.append(_part_of(place))
            place = supervisor._o_child
    if place.far_key:
        parts.append(place.far_key)
    return "/".join(reversed(parts))


def _part_of(child: Child) -> str:
    child_id = child.id
    if type(child_id) is str:
        return quote(child_id, safe="", errors="surrogatepass")
    if child.spec.id is not None:
        return "#" + quote(repr(child_id), safe="")
    if child.name is not None:
        return quote(child.name, safe="", errors="surrogatepass")
    assert child.supervisor is not None
    return f"{PASSING}{child.supervisor._o_node.incarnation}-{child_id}"


def node_store(node: Node) -> Store:
    """The node's store.

    Raises:
        StoreFault: it has none.
    """
    if node.store is None:
        raise StoreFault(
            f"node {node.name}",
            "it has no store; start it as Node(name, store=SQLiteStore(path)), in tests MemoryStore()",
        )
    return node.store


async def load(store: Store, prefix: str) -> AsyncIterator[Record]:
    """All records whose keys begin with `prefix`, page by page."""
    after = ""
    while True:
        page = await store.scan(prefix, after, _PAGE)
        for record in page:
            yield record
        if len(page) < _PAGE:
            return
        after = page[-1].key


def discard(child: Child) -> None:
    """The child has ended for good: forget its checkpoint and the results of its keyed activities."""
    plan = child.spec.plan
    if plan is None or not plan.saves or child.supervisor is None:
        return
    node = child.supervisor._o_node
    if node.store is not None:
        key = key_of(child)
        node.store.delete(STATE + key, below=f"{RESULT}{key}:").add_done_callback(_discarded)


def _discarded(deleting: Future[None]) -> None:
    if not deleting.cancelled() and (fault := deleting.exception()) is not None:
        logger.error(
            "the checkpoint of an agent that has ended for good stays, and will bring it back: %s", fault
        )


# -- Children of dynamic supervisors


def start_of(child: Child) -> bytes | None:
    """How a dynamic supervisor is to start this child again in another process; None for children of others."""
    if child.far_start is not None:
        return child.far_start
    supervisor = child.supervisor
    template = getattr(supervisor, "_o_template", None)
    if template is None or not child.spec.plan.restore:  # type: ignore[union-attr]  # a child with a care has a plan
        return None
    own = child.kwargs
    about = {
        "name": child.name,
        "args": child.args[len(template.args) :],
        "kwargs": {
            key: own[key] for key in own if key not in template.kwargs or own[key] is not template.kwargs[key]
        },
    }
    return encoding.encode(about, f"how {child.name or child.id} was started")


async def revive(supervisor: DynamicSupervisor) -> int:
    """Bring the children back whose checkpoints lie below this supervisor. Tells how many.

    One that cannot come back does not keep the others from it: it stays a child that is not running, and its
    checkpoint stays.
    """
    plan = supervisor._o_template.plan
    store = supervisor._o_node.store
    if plan is None or not plan.restore or store is None:
        return 0
    prefix = f"{STATE}{key_of(supervisor._o_child)}/"
    revived = 0
    starting: list[Future[Agent]] = []
    async for record in load(store, prefix):
        if record.start is None or "/" in record.key[len(prefix) :]:
            continue
        try:
            about = encoding.decode(record.start, record.key, supervisor._o_node)
            started = supervisor._o_node.lifecycle.start(supervisor._o_add_revived(record, about))
        except RuntimeFault as fault:
            logger.error("a child of %s does not come back: %s", supervisor._o_text(), fault)
            continue
        if isinstance(started, Future):
            starting.append(started)
        if len(starting) >= _PAGE:
            revived += await _all_started(supervisor, starting)
    return revived + await _all_started(supervisor, starting)


async def _all_started(supervisor: DynamicSupervisor, starting: list[Future[Agent]]) -> int:
    outcomes = await asyncio.gather(*starting, return_exceptions=True)
    starting.clear()
    faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for fault in faults:
        logger.error("a child of %s does not come back: %s", supervisor._o_text(), fault)
    return len(outcomes) - len(faults)
