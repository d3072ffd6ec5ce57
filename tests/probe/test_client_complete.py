"""The client library can do all that there is: a verb without a method, or a method that no document names, fails here."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from observe.probe.client import NodeClient
from observe.probe.wire import VERBS

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = ("client.md", "actions.md", "audit.md", "recording.md", "reload.md", "tasks.md")

METHODS = {
    "audit": "audit_lines",
    "log_level": "set_log_level",
    "watch": "watch_agents",
}
"""Verbs whose method has another name."""

ITS_OWN = {"hello", "where", "rewatch", "credit", "unwatch", "yield"}
"""Verbs of the connection and of watches, which the client sends by itself, and the one by which a probe makes way."""


def methods() -> dict[str, object]:
    """The public methods of the client."""
    found = {name: part for name, part in inspect.getmembers(NodeClient) if not name.startswith("_")}
    return {name: part for name, part in found.items() if inspect.isfunction(part)}


def test_every_verb_has_a_typed_method() -> None:
    for verb in VERBS.keys() - ITS_OWN:
        method = methods().get(METHODS.get(verb, verb))
        assert method is not None, verb
        assert inspect.signature(method).return_annotation not in (inspect.Signature.empty, "Any"), verb  # type: ignore[arg-type]  # it is a function


def test_every_method_is_in_a_document() -> None:
    text = "\n".join((ROOT / "docs" / name).read_text() for name in DOCUMENTS)
    for name in methods().keys() - {"open", "close"}:
        assert re.search(rf"\b{name}\(", text), f"{name} is in none of {', '.join(DOCUMENTS)}"


def test_the_console_and_its_commands_use_nothing_below_the_client() -> None:
    """What the terminal can do, a script can do."""
    below = {
        f"observe.probe.{name}"
        for name in ("connection", "exchange", "codec", "link", "server", "desk", "asks")
    }
    for path in (ROOT / "console").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not below & set(names), f"{path.name} imports {below & set(names)}"
            assert not any(name.split(".")[0] in ("zmq", "msgpack") for name in names), path.name
