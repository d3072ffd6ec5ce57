"""YAML as people write policies in it, with the line of everything: plain data, of which nothing is guessed.

Narrower than YAML 1.1 on purpose: `on`, `yes` and `12:30` are texts, a key that stands twice is an error, and so are aliases,
tags and whatever is deeper or longer than a person writes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.errors import PolicyFault

if TYPE_CHECKING:
    import yaml

MOST_BYTES: Final = 1 << 20
MOST_DEPTH: Final = 12
MOST_NODES: Final = 50_000

Path = tuple[int | str, ...]
"""Where something stands: `("rules", 3, "where")`."""

NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FRACTION: Final = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
TAGS: Final = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
}
"""Of plain scalars, as YAML 1.1 guesses them. What they are we decide ourselves."""

CONSTANTS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


class Unreadable(Exception):
    """It is no YAML as we take it."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.fault = PolicyFault(text, line)


class Document:
    """A file as plain data."""

    def __init__(self, text: bytes) -> None:
        """
        Raises:
            Unreadable: the text is none that we take.
        """
        import yaml  # a tenth of a second, not for a service without a file

        if len(text) > MOST_BYTES:
            raise Unreadable(f"it has more than {MOST_BYTES:,} bytes", 0)
        self.lines: dict[Path, int] = {}
        self._left = MOST_NODES
        try:
            loader = yaml.SafeLoader(text)
            try:
                node = loader.get_single_node()
            finally:
                loader.dispose()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            said = str(getattr(error, "problem", None) or error).splitlines()[0]
            raise Unreadable(f"no YAML: {said}", mark.line + 1 if mark is not None else 0) from None
        except (UnicodeError, RecursionError, ValueError) as error:
            raise Unreadable(f"no YAML: {type(error).__name__}", 0) from None
        self._known: set[int] = set()
        self.data = None if node is None else self._plain(node, ())

    def line_of(self, path: Path) -> int:
        """The line where this begins, or what it stands in; 0 for an empty file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        import yaml

        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._left -= 1
        if self._left < 0 or len(path) > MOST_DEPTH:
            raise Unreadable("it is longer or deeper than policies are", line)
        if id(node) in self._known:
            raise Unreadable("aliases are not taken: write it out", line)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, line)
        self._known.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(one, (*path, place)) for place, one in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key, value in node.value:
            where = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag.startswith("!"):
                raise Unreadable("a key is a text", where)
            if key.value in found:
                raise Unreadable(f"{key.value!r} stands twice", where)
            self.lines[(*path, key.value)] = where
            found[key.value] = self._plain(value, (*path, key.value))
        return found


def _scalar(node: yaml.ScalarNode, line: int) -> Any:
    if node.tag not in TAGS:
        raise Unreadable(f"the tag {node.tag[:50]!r} is not taken", line)
    text = str(node.value)
    if node.style is not None:  # in quotes, or a block: a text
        return text
    if text in CONSTANTS:
        return CONSTANTS[text]
    if NUMBER.fullmatch(text):
        return int(text) if len(text) < 20 else text
    if FRACTION.fullmatch(text):
        return float(text)
    return text
