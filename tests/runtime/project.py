"""Modules of a service on the disk, and a node that reloads them: what the tests of hot reload share. The fixture `project` is in
`conftest.py`."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Node
from observe.runtime.errors import ReloadRefused
from observe.runtime.reload.reloader import Reloaded


class Project:
    """Modules of a service, on the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: list[str] = []

    def write(self, name: str, text: str) -> None:
        (self.directory / f"{name}.py").write_text(textwrap.dedent(text))
        if name not in self.names:
            self.names.append(name)

    def load(self, name: str, text: str) -> Any:
        self.write(name, text)
        importlib.invalidate_caches()
        return importlib.import_module(name)


async def refused(node: Node, *names: str, **options: Any) -> str:
    with pytest.raises(ReloadRefused) as caught:
        await node.reloader.reload(names, **options)
    return str(caught.value)


async def reload(project: Project, name: str, text: str, *others: str, remember: bool = True) -> Reloaded:
    """Reload `name` with another text in a node of its own."""
    async with Node("shop") as node:
        if remember:
            node.reloader.remember()
        project.write(name, text)
        return await node.reloader.reload([name, *others])
