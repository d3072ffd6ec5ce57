"""What the runtime's tests share: a running node, and agents small enough to read at a glance."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from observe.runtime import Node
from tests.runtime.project import Project


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node whose root supervisor allows many restarts."""
    async with Node("test", intensity=1000) as node:
        yield node


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Modules on the disk, which can be imported; forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(tmp_path)
    yield made
    for name in made.names:
        sys.modules.pop(name, None)
