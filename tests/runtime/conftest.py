"""What the runtime's tests share: a running node, and agents small enough to read at a glance."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from observe.runtime import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node whose root supervisor allows many restarts."""
    async with Node("test", intensity=1000) as node:
        yield node
