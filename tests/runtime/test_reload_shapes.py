"""Hot reload of what stands in real modules: unions of messages, models of pydantic, decorators of libraries, values by name."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from observe.runtime import Node
from observe.runtime.reload import loading
from observe.runtime.reload.looking import CodeLook
from tests.runtime.project import Project, refused, reload


async def test_unions_and_lists_of_message_classes_know_old_and_new_messages(project: Project) -> None:
    text = """
        from dataclasses import dataclass
        from typing import Optional, Union

        @dataclass
        class Order:
            item: str = ""

        @dataclass
        class Cancel:
            number: int = 0

        Message = Order | Cancel
        Either = Union[Order, Cancel]
        Many = list[Order]
        Maybe = Optional[Order]

        def known(message):
            return isinstance(message, Message), isinstance(message, Either)
    """
    shop = project.load("shapes_a", text)
    order = shop.Order("tea")
    await reload(
        project, "shapes_a", text.replace('item: str = ""', 'item: str = ""\n            count: int = 1')
    )
    for one in (order, shop.Order("tea", 2), shop.Cancel()):
        assert shop.known(one) == (True, True)
    assert shop.Many.__args__ == (shop.Order,)
    assert shop.Order in shop.Maybe.__args__


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is of 3.12")
async def test_a_named_type_means_the_classes_that_live(project: Project) -> None:
    text = """
        class Order:
            def text(self):
                return "old"

        type Message = Order | int
    """
    shop = project.load("shapes_b", text)
    await reload(project, "shapes_b", text.replace("old", "new").replace("| int", "| int | str"))
    assert isinstance(shop.Order(), shop.Message.__value__)
    assert isinstance("", shop.Message.__value__)


async def test_defaults_of_dataclasses_are_members_and_objects_that_everybody_knows(project: Project) -> None:
    text = """
        from dataclasses import dataclass, field, fields
        from enum import Enum

        class State(Enum):
            OPEN = 1

        class Basket:
            pass

        @dataclass
        class Order:
            basket: Basket = field(default_factory=Basket)
    """
    shop = project.load("shapes_c", text)
    old = shop.Order()
    await reload(project, "shapes_c", text.rstrip() + "\n            state: State = State.OPEN\n")
    assert shop.Order().state is shop.State.OPEN
    assert old.state is shop.State.OPEN
    assert type(shop.Order().basket) is shop.Basket
    assert [one.type for one in shop.fields(shop.Order)] == [shop.Basket, shop.State]


async def test_typed_dicts_and_protocols_are_no_obstacle(project: Project) -> None:
    """They raise when somebody asks what their subclasses are."""
    text = """
        from typing import Protocol, TypedDict
        from observe.runtime import Agent

        class Order(TypedDict):
            item: str

        class Priced(Protocol):
            price: int

        class Shop(Agent):
            def handle(self, message):
                return "old"
    """
    shop = project.load("shapes_d", text)
    async with Node("shop") as node:
        ref = await node.spawn(shop.Shop)
        project.write(
            "shapes_d", text.replace("old", "new").replace("item: str", "item: str\n            count: int")
        )
        assert (await node.reloader.reload(["shapes_d"])).classes == {"Shop": 1}
        assert await ref.call(1) == "new"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(self):\n        return 'old'", "@property\n    def f(self):\n        return 'new'"),
        ("@property\n    def f(self):\n        return 'old'", "@property\n    def f(self):\n        return 'new'\n    @f.setter\n    def f(self, value):\n        pass"),
        ("def f(self):\n        return 'old'", "@staticmethod\n    def f():\n        return 'new'"),
        ("@staticmethod\n    def f():\n        return 'old'", "@classmethod\n    def f(cls):\n        return 'new'"),
    ],
)  # fmt: skip
async def test_a_method_that_becomes_something_else_has_its_new_body(
    project: Project, before: str, after: str
) -> None:
    shop = project.load("shapes_e", f"class Shop:\n    {before}\n")
    one = shop.Shop()
    await reload(project, "shapes_e", f"class Shop:\n    {after}\n")
    assert (one.f() if callable(one.f) else one.f) == "new"


async def test_values_that_others_have_imported_by_name_follow(project: Project) -> None:
    """Also under another name, by a star, or inside `try`; not what somebody has put there since, and not what was made of it."""
    text = "RATE = 3\nTABLE = {'a': 1}\n"
    project.load("shapes_f", text)
    user = project.load(
        "shapes_f_user",
        "from shapes_f import RATE, RATE as R\ntry:\n    from shapes_f import TABLE as T\nexcept ImportError:\n    T = {}\n"
        "def price(rate=RATE):\n    return rate\n",
    )
    star = project.load("shapes_f_star", "from shapes_f import *\n")
    own = project.load("shapes_f_own", "from shapes_f import RATE\nRATE = 7\n")
    async with Node("shop") as node:
        node.reloader.remember()
        project.write("shapes_f", "RATE = 4\nTABLE = {'a': 2}\n")
        await node.reloader.reload(["shapes_f"])
        assert (user.RATE, user.R, user.T, star.RATE, own.RATE) == (4, 4, {"a": 2}, 4, 7)
        assert user.price() == 3
        await node.reloader.rollback()
        assert (user.RATE, user.R, user.T, star.RATE, own.RATE) == (3, 3, {"a": 1}, 3, 7)
        await node.reloader.reload(["shapes_f", "shapes_f_user"])
        assert user.price() == 4


async def test_functions_in_objects_of_a_librarys_decorator_are_at_home(project: Project) -> None:
    """As tools of an agent framework are. They see the service's state, not that of the text as it ran beside."""
    project.load("shapes_g_lib", "class Tool:\n    def __init__(self, run):\n        self.run = run\n")
    text = """
        from shapes_g_lib import Tool

        seen = []

        @Tool
        def search(what):
            seen.append(what)
            return "old"

        @Tool
        def other():
            return 1
    """
    shop = project.load("shapes_g", text)
    other = shop.other
    assert shop.search.run("a") == "old"
    told = await reload(project, "shapes_g", text.replace("old", "new"))
    assert shop.search.run("b") == "new"
    assert shop.seen == ["a", "b"]
    assert shop.other is other
    assert told.changes.changed == ["shapes_g.search"]


async def test_what_holds_new_code_out_of_reach_is_refused(project: Project) -> None:
    project.load(
        "shapes_h_lib",
        "class Tool:\n    __slots__ = ('run',)\n    def __init__(self, run):\n        self.run = run\n",
    )
    text = "from shapes_h_lib import Tool\n@Tool\ndef search():\n    return 'old'\n"
    shop = project.load("shapes_h", text)
    async with Node("shop") as node:
        node.reloader.remember()
        project.write("shapes_h", text.replace("old", "new"))
        assert "shapes_h.search, a Tool, holds the new search where it cannot be exchanged" in await refused(
            node, "shapes_h"
        )
        assert shop.search.run() == "old"


async def test_models_of_pydantic_keep_their_validators(project: Project) -> None:
    """What they validate is still of the class that handlers match; methods and bodies of validators are new."""
    text = """
        from pydantic import BaseModel, TypeAdapter, field_validator

        class Item(BaseModel):
            name: str = "tea"

        class Order(BaseModel):
            item: Item = Item()
            count: int = 1

            @field_validator("count")
            def check(cls, value):
                return value

            def text(self):
                return "old"

        ADAPTER = TypeAdapter(Order | int)
    """
    shop = project.load("shapes_i", text)
    old = shop.Order()
    async with Node("shop") as node:
        node.reloader.remember()
        project.write("shapes_i", text.replace("old", "new").replace("return value", "return value + 1"))
        await node.reloader.reload(["shapes_i"])
        made = shop.Order.model_validate_json('{"count": 2, "item": {"name": "a"}}')
        assert (type(made), type(made.item), made.count) == (shop.Order, shop.Item, 3)
        assert shop.Order(item=shop.Item()).text() == old.text() == "new"
        assert type(shop.ADAPTER.validate_python({})) is shop.Order
        project.write("shapes_i", text.replace("count: int = 1", "count: int = 1\n            more: int = 2"))
        assert "the fields, validators or settings of shapes_i.Order were changed" in await refused(
            node, "shapes_i"
        )
        project.write("shapes_i", text.replace("Order | int", "Order | str"))
        assert "shapes_i.ADAPTER, a TypeAdapter, holds the new " in await refused(node, "shapes_i")


async def test_agents_with_a_mixin_of_the_module_wait_for_it(project: Project) -> None:
    text = "class Mixin:\n    def migrate(self, old_version, state):\n        return state | {'by': old_version}\n"
    project.load("shapes_j", text)
    user = project.load(
        "shapes_j_user",
        "from observe.runtime import Agent\nfrom shapes_j import Mixin\n\nclass Shop(Mixin, Agent):\n    def handle(self, message):\n        return self.by\n",
    )
    async with Node("shop") as node:
        ref = await node.spawn(user.Shop)
        project.write("shapes_j", text + "# changed\n")
        told = await node.reloader.reload(["shapes_j"])
        assert (told.agents, told.migrated) == (1, 1)
        assert await ref.call(0) == 1


async def test_a_text_that_does_not_come_to_its_end_is_given_up(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asked is told where it is, its thread ends, and the next reload is served."""
    monkeypatch.setattr(loading, "LOAD_S", 0.1)
    monkeypatch.setattr(loading, "END_S", 0.2)
    text = "def price():\n    return 1\n"
    shop = project.load("shapes_k", text)
    async with Node("shop") as node:
        project.write("shapes_k", text + "while True:\n    pass\n")
        why = await refused(node, "shapes_k")
        assert "not loaded within 0.1 s" in why
        assert "shapes_k.py, line " in why
        async with asyncio.timeout(30):
            while any(one.name == "observe:load" for one in threading.enumerate()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        project.write("shapes_k", text.replace("1", "2"))
        await node.reloader.reload(["shapes_k"])
        assert shop.price() == 2


async def test_worker_processes_that_keep_older_code_are_counted(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A helper's new text reaches this process alone."""
    monkeypatch.setenv("PYTHONPATH", str(project.directory))
    project.load("shapes_l", "def price():\n    return 1\n")
    shop = project.load(
        "shapes_l_shop",
        "import shapes_l\nfrom observe.runtime import Agent\n\nclass Shop(Agent):\n    def handle(self, message):\n        return shapes_l.price()\n",
    )
    async with Node("shop") as node:
        here, there = await node.spawn(shop.Shop), await node.spawn(shop.Shop, isolation="process")
        assert (await here.call(0), await there.call(0)) == (1, 1)
        project.write("shapes_l", "def price():\n    return 2\n")
        assert (await node.reloader.reload(["shapes_l"])).workers == 1
        assert (await here.call(0), await there.call(0)) == (2, 1)


async def test_objects_of_a_decorator_are_made_again_when_its_arguments_change(project: Project) -> None:
    project.load(
        "shapes_m_lib",
        "class Tool:\n    def __init__(self, name, run):\n        self.name, self.run = name, run\n"
        "def tool(name):\n    return lambda run: Tool(name, run)\n",
    )
    text = """
        from shapes_m_lib import tool

        PREFIX = "shop-"
        seen = []

        @tool(PREFIX + "search")
        def search():
            seen.append(1)
            return len(seen)

        @tool("other")
        def other():
            return 1
    """
    shop = project.load("shapes_m", text)
    other = shop.other
    assert shop.search.run() == 1
    await reload(project, "shapes_m", text.replace('"shop-"', '"new-"'))
    assert shop.search.name == "new-search"
    assert shop.search.run() == 2
    assert shop.other is other


async def test_functions_that_were_made_at_run_time_stay_until_they_are_made_again(project: Project) -> None:
    text = "def make(n):\n    def handler():\n        return 'old', n\n    return handler\n"
    shop = project.load("shapes_n", text)
    kept = shop.make(3)
    await reload(project, "shapes_n", text.replace("old", "new"))
    assert kept() == ("old", 3)
    assert shop.make(3)() == ("new", 3)


async def test_a_generator_of_new_code_is_refused(project: Project) -> None:
    text = "def numbers():\n    yield 1\nNUMBERS = numbers()\n"
    shop = project.load("shapes_o", text)
    async with Node("shop") as node:
        node.reloader.remember()
        project.write("shapes_o", text.replace("yield 1", "yield 2"))
        why = await refused(node, "shapes_o")
        assert "shapes_o.NUMBERS, a generator, holds the new numbers where it cannot be exchanged" in why
    assert next(shop.NUMBERS) == 1


async def test_a_class_that_moves_to_another_module_is_another_class(project: Project) -> None:
    """Objects from before are of the old one. Where the old name stands for it as well, that is refused."""
    text = "class Order:\n    pass\n"
    orders = project.load("shapes_p", text)
    more = project.load("shapes_p_more", "X = 1\n")
    old = orders.Order()
    async with Node("shop") as node:
        project.write("shapes_p", "from shapes_p_more import Order\n")
        project.write("shapes_p_more", text)
        assert "shapes_p.Order was another class before" in await refused(node, "shapes_p", "shapes_p_more")
        project.write("shapes_p", "Y = 1\n")
        await node.reloader.reload(["shapes_p", "shapes_p_more"])
    assert not hasattr(orders, "Order")
    assert not isinstance(old, more.Order)


async def test_a_second_name_of_a_module_is_no_module(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`multiprocessing` gives one to the script: it would be shown as changed, and as without a line before."""
    shop = project.load("shapes_q", "X = 1\n")
    monkeypatch.setitem(sys.modules, "shapes_q_again", shop)
    async with Node("shop") as node:
        found = CodeLook(node).modules()
    assert [(one.name, one.lines, one.state) for one in found if one.file == shop.__file__] == [
        ("shapes_q", 1, "same")
    ]
