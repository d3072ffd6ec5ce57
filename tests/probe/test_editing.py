"""A field is edited as its class declares it, and a path leads through state only: no code is named, run or loaded."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import pydantic
import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime

if TYPE_CHECKING:
    Unknown = int


class Slotted:
    __slots__ = ("empty", "size")

    def __init__(self) -> None:
        self.size = 1


@dataclass
class Basket:
    items: dict[str, int] = field(default_factory=lambda: {"tea": 1})


@dataclass
class Loader:
    load: pydantic.ImportString[Any] = None


LOOKED: list[str] = []


class Desk(Agent):
    total: int
    note: str | None
    rate: Annotated[float, pydantic.Field(ge=0, le=1)]
    names: list[str]
    limits: dict[str, float] | None
    more: Optional[Annotated[list[int], "of people"]]  # noqa: UP045  # as many write it
    fixed: Final[int]  # type: ignore[misc]  # it is set where agents set their attributes
    elsewhere: Unknown
    plugin: pydantic.ImportString[Any]
    plugins: list[Loader]

    def init(self) -> None:
        self.total = 0
        self.note = None
        self.rate = 0.5
        self.names = ["a"]
        self.limits = {"day": 1.0}
        self.more = [1]
        self.fixed = 1  # type: ignore[misc]  # Final, as an edit finds out
        self.elsewhere = 1
        self.plugin = None
        self.plugins = [Loader()]
        self.bare = 1
        self.basket = Basket()
        self.slotted = Slotted()
        self.module = logging
        self.kind = Basket
        self.function = field
        self.own = self.handle
        self.friend: Any = None
        self.home: Any = None

    @property
    def priced(self) -> int:
        LOOKED.append("priced")
        return 1

    @cached_property
    def later(self) -> int:
        LOOKED.append("later")
        return 1

    def __getattr__(self, name: str) -> Any:
        LOOKED.append(name)
        raise AttributeError(name)

    def handle(self, message: Any) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
async def desk() -> AsyncIterator[tuple[Any, NodeClient]]:
    async with Node("edited") as node, Probe(node, tick_s=0.05), connect("edited", timeout_s=10.0) as client:
        ref = await node.spawn(Desk, name="desk")
        friend = await node.spawn(Desk, name="friend")
        agent: Any = node.agents[ref.pid]
        agent.friend, agent.home = node.agents[friend.pid], node
        await eventually(client.vitals, lambda vitals: vitals.agents == 3)
        yield agent, client


@pytest.mark.parametrize(
    ("path", "value", "becomes"),
    [
        ("total", 3, 3),
        ("note", "x", "x"),
        ("rate", 1, 1.0),
        ("names", ["b", "c"], ["b", "c"]),
        ("names.0", "z", "z"),
        ("limits.day", 2, 2.0),
        ("limits", None, None),
        ("more.0", 4, 4),
        ("fixed", 2, 2),
        ("elsewhere", 5, 5),
        ("bare", 6, 6),
        ("basket.items.tea", 7, 7),
        ("basket.items", {"a": 1}, {"a": 1}),
        ("slotted.size", 2, 2),
    ],
)
async def test_what_fits_the_declaration_is_put_there(
    desk: tuple[Any, NodeClient], path: str, value: Any, becomes: Any
) -> None:
    agent, client = desk
    await client.edit("desk", path, value)
    found = agent
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else found[int(part)] if isinstance(found, list) else getattr(found, part)  # fmt: skip
    assert (type(found), found) == (type(becomes), becomes)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("total", "3", "total is declared as int"),
        ("total", True, "total is declared as int"),
        ("note", 3, "note.* is declared as str | None"),
        ("rate", 1.5, "less than or equal to 1"),
        ("names", ["a", 3], r"names.1 is declared as list\[str\]"),
        ("names.0", 3, "names.0 is declared as str"),
        ("limits.day", "x", "limits.day is declared as float"),
        ("limits.day", None, "limits.day is declared as float"),
        ("more.0", "x", "more.0 is declared as int"),
        ("fixed", "x", "fixed is declared as int"),
        ("elsewhere", "x", "no type annotation that can be read"),
        ("basket.items.tea", "x", "basket.items.tea is declared as int"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_declaration(
    desk: tuple[Any, NodeClient], path: str, value: Any, why: str
) -> None:
    agent, client = desk
    before = repr({name: part for name, part in vars(agent).items() if not name.startswith("_o_")})
    with pytest.raises(RemoteError, match=why):
        await client.edit("desk", path, value)
    assert repr({name: part for name, part in vars(agent).items() if not name.startswith("_o_")}) == before


@pytest.mark.parametrize(
    "path",
    ["priced", "later", "nothing", "handle", "_o_pid", "__class__", "__dict__", "handle.__code__", "own.x", "module.lastResort", "module.raiseExceptions",
     "kind.items", "function.x", "friend.total", "home.name", "node.name", "slotted.empty", "names.append", "basket.__class__.items", "bare.real", ".", "a..b"],
)  # fmt: skip
async def test_a_path_leads_through_state_only(desk: tuple[Any, NodeClient], path: str) -> None:
    """And looking for it runs no code of the service: no property, no `__getattr__`."""
    _, client = desk
    LOOKED.clear()
    raises = logging.raiseExceptions
    with pytest.raises(RemoteError) as caught:
        await client.edit("desk", path, True)
    assert caught.value.code == "refused"
    assert LOOKED == []
    assert logging.raiseExceptions == raises


@pytest.mark.parametrize(("path", "value"), [("plugin", "os.system"), ("plugins", [{"load": "os.system"}])])
async def test_nothing_is_imported_by_a_name_that_comes_over_the_wire(
    desk: tuple[Any, NodeClient], path: str, value: Any
) -> None:
    agent, client = desk
    with pytest.raises(RemoteError, match="no code comes over the wire"):
        await client.edit("desk", path, value)
    assert agent.plugin is None
