"""Names that other modules of the project have imported from those of a reload: `from shop.prices import RATE`."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from observe.runtime.reload import source as sources
from observe.runtime.reload.journal import MISSING, Journal


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A name of a module that is another module's."""

    module: ModuleType
    name: str
    owner: ModuleType
    original: str
    """Its name there."""


def borrowed(owners: Mapping[str, ModuleType]) -> list[Borrowed]:
    """All such names at the top level of modules whose texts are known, except of the owners themselves. Any thread; parses
    the texts in which the name of an owner occurs."""
    found: list[Borrowed] = []
    last_parts = {name.rpartition(".")[2] for name in owners}
    for module in sources.remembered():
        text = sources.text_of(module)
        if module.__name__ in owners or text is None or not any(part in text for part in last_parts):
            continue
        try:
            body = ast.parse(text).body
        except SyntaxError:
            continue  # it was edited between its import and our first look
        found += _imports(module, body, owners)
    return found


def _imports(
    module: ModuleType, body: list[ast.stmt], owners: Mapping[str, ModuleType]
) -> Iterator[Borrowed]:
    package = getattr(module, "__package__", None) or module.__name__.rpartition(".")[0]
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from _imports(
                module, [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)], owners
            )
        if not isinstance(node, ast.ImportFrom):
            continue
        name = node.module or ""
        if node.level:
            name = importlib.util.resolve_name("." * node.level + name, package)
        owner = owners.get(name)
        for alias in node.names if owner is not None else ():
            assert owner is not None
            if alias.name == "*":
                yield from (
                    Borrowed(module, one, owner, one) for one in list(vars(owner)) if not one.startswith("_")
                )
            else:
                yield Borrowed(module, alias.asname or alias.name, owner, alias.name)


class Lenders:
    """Sees to it that who has imported a name has what the name stands for after the reload."""

    def __init__(self, names: list[Borrowed]) -> None:
        self._before: list[tuple[Borrowed, Any]] = [
            (one, vars(one.owner).get(one.original, MISSING)) for one in names
        ]

    def follow(self, journal: Journal) -> None:
        """To be called when the owners are as they shall be."""
        for one, before in self._before:
            names, now = vars(one.module), vars(one.owner).get(one.original, MISSING)
            # Who has put something else there since the import means that.
            if now is not MISSING and now is not before and names.get(one.name, MISSING) is before:
                journal.item(names, one.name, now)
