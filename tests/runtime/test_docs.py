"""What docs/runtime.md says is so: its examples run, and it knows every public name and option."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

import observe.runtime
from observe.runtime import Budget, ChildSpec, Instrument, MemoryStore, Node
from observe.runtime.testing import eventually, settled

TEXT = (Path(__file__).parent.parent.parent / "docs" / "runtime.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def compiled(example: str) -> CodeType:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(example, "docs/runtime.md", "exec", flags=flags, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.split("\n")[2][:40] for example in EXAMPLES])
async def test_the_examples_of_the_documentation_run(example: str) -> None:
    """Each by itself, as a reader would copy it."""
    async with Node("docs", store=MemoryStore(), intensity=5) as node:
        names: dict[str, Any] = {
            "node": node,
            "settled": settled,
            "eventually": eventually,
            "__name__": __name__,
        }
        body: Callable[[], Any] = FunctionType(compiled(example), names)
        result = body()
        if inspect.iscoroutine(result):
            await result
        if "main" in names:
            await names["main"]()


@pytest.mark.parametrize(
    "names",
    [
        observe.runtime.__all__,
        list(inspect.signature(ChildSpec).parameters),
        list(inspect.signature(Budget).parameters),
        [name for name in vars(Instrument) if name.startswith("on_")],
    ],
    ids=["names", "ChildSpec", "Budget", "Instrument"],
)
def test_the_documentation_knows_every_name(names: list[str]) -> None:
    """What is public and not written down is found by nobody."""
    assert [name for name in names if not re.search(rf"\b{name}\b", TEXT)] == []
