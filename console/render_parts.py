"""What several pictures are made of: styles, tables without lines, stacks, values.

Text that comes from agents goes through `one_line`, so that no name or repr can move the cursor or pass for markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from observe.console.format import count, one_line, size

Document = Mapping[str, Any]

STATUS_STYLES: Final = {
    "running": "bold green",
    "runnable": "yellow",
    "frozen": "bold yellow",
    "waiting": "cyan",
    "suspended": "magenta",
    "starting": "blue",
    "idle": "dim",
}


def plain_table(headings: bool = True) -> Table:
    """A table without lines."""
    return Table(box=None, pad_edge=False, show_header=headings, header_style="bold", padding=(0, 2, 0, 0))


def plain(value: object) -> Text:
    """Text without a style, in one line."""
    return Text(one_line(str(value)))


def heading(text: str) -> Text:
    """Above a part of a picture."""
    return Text(f"\n{text}", "bold")


def status_text(status: str) -> Text:
    """An agent's status in its colour."""
    return Text(status, STATUS_STYLES.get(status, ""))


def frames(stack: Sequence[Document]) -> list[RenderableType]:
    """The levels of a stack, outermost first."""
    lines: list[RenderableType] = []
    for frame in stack:
        where = one_line(f"{frame['file']}:{frame['line']}")
        lines.append(Text.assemble("  ", (where, "dim"), "  ", (one_line(frame["function"]), "bold")))
        if frame["source"]:
            lines.append(Text(f"      {one_line(frame['source'])}"))
    return lines


def value_tree(value: Document) -> Tree:
    """A value with its parts, as far as they came over the wire."""
    root = Tree(_value_line("", value), guide_style="dim", hide_root=False)
    _grow_value(root, value)
    return root


def _value_line(key: str, value: Document) -> Text:
    line = Text()
    if key:
        line.append(f"{one_line(key)}: ", "cyan")
    if value.get("error"):
        line.append(f"({one_line(value['type'])} that cannot be shown: {one_line(value['error'])})", "red")
    elif value.get("masked"):
        line.append("(masked)", "dim")
    else:
        line.append(one_line(value["text"]))
        if value.get("cut"):
            is_text = value["type"] in (
                "str",
                "bytes",
                "bytearray",
            )  # the size of others is no number of bytes
            of = f" of {size(value['size'])}" if value.get("size") and is_text else ""
            line.append(f" (cut{of})", "dim")
    return line


def _grow_value(node: Tree, value: Document) -> None:
    for key, part in value.get("items") or ():
        _grow_value(node.add(_value_line(str(key), part)), part)
    if value.get("more"):
        node.add(Text(f"… {count(value['more'])} more", "dim"))
