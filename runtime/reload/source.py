"""Sources of modules: which may be reloaded, what their texts define, and how they are run beside what is loaded.

The new text runs in a namespace of its own, in no module that anybody can import. Names that it imports from other modules
of the same reload come from their new namespaces; everything else is as it is.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import sysconfig
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from observe.runtime.errors import ReloadRefused

MAX_SOURCE_BYTES: Final = 4 << 20
"""Longer sources are no modules that people write."""


@dataclass(slots=True)
class Loaded:
    """A module, and its new text as it ran beside it."""

    module: ModuleType
    source: str
    beside: ModuleType
    """Holds the new namespace."""
    before: str | None
    """The text that is loaded, when it is known."""
    definitions: Definitions = field(init=False)
    old: Definitions | None = field(init=False)
    changed: set[str] = field(init=False, default_factory=set)
    """Names that are defined otherwise than before, values made of such names among them."""
    changed_without_classes: set[str] = field(init=False, default_factory=set)
    """The same without values that were only made of a class that changed: it has the same identity as before."""

    def __post_init__(self) -> None:
        self.definitions = Definitions(self.source)
        if self.before is not None:
            self.old = Definitions(self.before)
            self.changed = self.definitions.changed_since(self.old)
            self.changed_without_classes = self.definitions.changed_since(self.old, self.old.classes)
        else:
            self.old = None


def module_of(name: str) -> ModuleType:
    """The loaded module of this name.

    Raises:
        ReloadRefused: it is not loaded, or may not be reloaded; the text says why.
    """
    module = sys.modules.get(name)
    if name == "__main__":
        raise ReloadRefused("__main__ is the script itself and runs once; put its agents into a module")
    if module is None:
        raise ReloadRefused(f"no module {name} is loaded; it is named as in `import {name}`")
    if name.split(".")[0] == "observe" and not name.startswith("observe.examples."):
        raise ReloadRefused(f"{name} belongs to observe itself")
    if _is_pythons_own(file_of(module)):
        raise ReloadRefused(f"{name} belongs to Python itself")
    return module


def _is_pythons_own(file: Path) -> bool:
    """In the standard library. What is installed below that may be the service itself."""
    for name in ("stdlib", "platstdlib"):
        place = Path(sysconfig.get_path(name))
        if file.is_relative_to(place):
            return not {"site-packages", "dist-packages"} & set(file.relative_to(place).parts)
    return False


def file_of(module: ModuleType) -> Path:
    """The file with its source.

    Raises:
        ReloadRefused: it has none.
    """
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        raise ReloadRefused(f"{module.__name__} has no source file in Python")
    return Path(file)


def read_source(module: ModuleType) -> str:
    """What is in its file now.

    Raises:
        ReloadRefused: the file cannot be read.
    """
    path = file_of(module)
    try:
        data = path.read_bytes()
        if len(data) > MAX_SOURCE_BYTES:
            raise ReloadRefused(f"{path} is too large for a module")
        return importlib.util.decode_source(data)
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise ReloadRefused(f"{path} cannot be read: {error}") from error


_TEXTS: Final[dict[str, tuple[ModuleType, str]]] = {}
"""What each module's text was when it was first looked at, or reloaded: modules belong to the process, not to a node."""


def remember_all() -> None:
    """Note the texts of all loaded modules that are neither installed nor Python's own. Any thread; once for each."""
    installed = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    for name, module in list(sys.modules.items()):
        known = _TEXTS.get(name)
        if known is not None and known[0] is module:
            continue
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py") or file.startswith(installed):
            continue
        if getattr(module, "__name__", None) != name:
            continue  # another name of one that is there under its own, as `__mp_main__` of multiprocessing is
        if name == "__main__" or (name.startswith("observe.") and not name.startswith("observe.examples.")):
            continue
        try:
            _TEXTS[name] = module, read_source(module)
        except ReloadRefused:
            continue  # told when somebody wants to reload it


def remembered() -> list[ModuleType]:
    """The modules whose texts are known, as far as they are still loaded."""
    return [module for name, (module, _) in list(_TEXTS.items()) if sys.modules.get(name) is module]


def text_of(module: ModuleType) -> str | None:
    """The text that is loaded, when it is known."""
    known = _TEXTS.get(module.__name__)
    return known[1] if known is not None and known[0] is module else None


def note_text(module: ModuleType, text: str | None) -> None:
    """From here on this text is loaded."""
    if text is None:
        _TEXTS.pop(module.__name__, None)
    else:
        _TEXTS[module.__name__] = module, text


def load_beside(wanted: Mapping[str, str]) -> list[Loaded]:
    """Run new texts, by name of module, each after those that it imports. Any thread but the scheduler's.

    Raises:
        ReloadRefused: a text is no Python, or raises while it runs.
    """
    codes = {name: _compile(name, source) for name, source in wanted.items()}
    beside: dict[str, ModuleType] = {}
    loaded: list[Loaded] = []
    for name in _in_order(wanted):
        module = sys.modules[name]
        made = ModuleType(name)
        for attribute in ("__file__", "__package__", "__path__", "__spec__", "__loader__"):
            if hasattr(module, attribute):
                setattr(made, attribute, getattr(module, attribute))
        made.__dict__["__builtins__"] = vars(builtins) | {"__import__": _importer(beside)}
        try:
            exec(codes[name], made.__dict__)  # noqa: S102 - a module of the service, from its own disk
        except BaseException as error:  # strangers' code: whatever it raises, nothing has changed
            raise ReloadRefused(f"{name} cannot be loaded: {_where(error, module)}") from error
        beside[name] = made
        loaded.append(Loaded(module, wanted[name], made, text_of(module)))
    return loaded


def _compile(name: str, source: str) -> CodeType:
    try:
        return compile(source, str(file_of(sys.modules[name])), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        why = getattr(error, "msg", str(error))
        raise ReloadRefused(f"{name} cannot be compiled: {why}{f' (line {line})' if line else ''}") from error


def _where(error: BaseException, module: ModuleType) -> str:
    text = f"{type(error).__name__}: {error}"
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == module.__file__:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{text} (line {line})" if line else text


def _importer(beside: Mapping[str, ModuleType]) -> Any:
    def imported(name: str, *rest: Any, **named: Any) -> Any:
        found = builtins.__import__(name, *rest, **named)
        fromlist = named.get("fromlist", rest[2] if len(rest) > 2 else ())
        return beside.get(found.__name__, found) if fromlist else found

    return imported


def _in_order(wanted: Mapping[str, str]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for name, source in wanted.items():
        module = sys.modules[name]
        package = getattr(module, "__package__", None) or name.rpartition(".")[0]
        graph[name] = {found for found in _imports(ast.parse(source), package) if found in wanted} - {name}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ReloadRefused(f"{' and '.join(error.args[1][:-1])} import each other") from error


def _imports(tree: ast.Module, package: str) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level:
                name = importlib.util.resolve_name("." * node.level + name, package)
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


class Definitions:
    """What a text defines, by qualified name, in a form that tells whether it was changed."""

    def __init__(self, source: str) -> None:
        self.functions: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        self.values: dict[str, str] = {}
        """What is assigned, all assignments to one name together."""
        self._uses: dict[str, set[str]] = {}
        self._collect(ast.parse(source).body, "")

    def _collect(self, body: Iterable[ast.AST], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions[prefix + node.name] = self.functions.get(prefix + node.name, "") + ast.dump(
                    node
                )
                uses = self._uses.setdefault(prefix + node.name, set())
                for one in node.decorator_list:
                    uses |= {name.id for name in ast.walk(one) if isinstance(name, ast.Name)}
            elif isinstance(node, ast.ClassDef):
                head = [ast.dump(one) for one in (*node.bases, *node.keywords, *node.decorator_list)]
                self.classes[prefix + node.name] = "".join(head)
                self._collect(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            else:
                self._assignments(node, prefix)

    def _assignments(self, node: ast.AST, prefix: str) -> None:
        inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
        inner += [
            one
            for part in ast.iter_child_nodes(node)
            if isinstance(part, (ast.ExceptHandler, ast.match_case))
            for one in part.body
        ]
        if inner:  # if, try, with, for: what stands inside is at the same level
            self._collect(inner, prefix)
            return
        names = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
        text = ast.dump(node)
        for one in names:
            if isinstance(one.ctx, ast.Store):
                self.values[prefix + one.id] = self.values.get(prefix + one.id, "") + text
                uses = self._uses.setdefault(prefix + one.id, set())
                uses |= {other.id for other in names if isinstance(other.ctx, ast.Load)}

    def all(self) -> dict[str, str]:
        """Everything, by qualified name."""
        return self.functions | self.classes | self.values

    def changed_since(self, old: Definitions, beside: Collection[str] = ()) -> set[str]:
        """The names that are defined otherwise than before, what is made of such names among them; but for what is made of
        names `beside` alone."""
        before, now = old.all(), self.all()
        changed = {name for name in now if before.get(name) != now[name]}
        while True:
            top = {name.partition(".")[0] for name in changed} | {name.rpartition(".")[2] for name in changed}
            top -= set(beside)
            more = {name for name, uses in self._uses.items() if uses & top} - changed
            if not more:
                return changed
            changed |= more
