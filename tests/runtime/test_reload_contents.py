"""Hot reload: what stands in a module, and what becomes of those that have it."""

from __future__ import annotations

from observe.runtime import Node
from tests.runtime.project import Project, refused, reload


async def test_messages_of_old_and_new_classes_are_the_same_to_new_code(project: Project) -> None:
    """`isinstance` and pattern matching across versions: a class keeps its identity."""
    text = """
        from dataclasses import dataclass, field
        from observe.runtime import Agent

        @dataclass(frozen=True)
        class Order:
            item: str

        class Shop(Agent):
            def handle(self, message):
                match message:
                    case Order(item):
                        return item
    """
    shop = project.load("shop_h", text)
    async with Node("shop") as node:
        ref, order = await node.spawn(shop.Shop), shop.Order("tea")
        new = text.replace("item: str", "item: str\n            count: int = 1").replace(
            "case Order(item):\n                        return item",
            "case Order(item, count) if isinstance(message, Order):\n                        return item, count",
        )
        project.write("shop_h", new)
        await node.reloader.reload(["shop_h"])
        assert await ref.call(order) == ("tea", 1)
        assert await ref.call(shop.Order("tea", 3)) == ("tea", 3)
        assert repr(shop.Order("a", 2)) == "Order(item='a', count=2)"
        assert shop.Order("a", 2) == shop.Order("a", 2) != shop.Order("a")
        project.write(
            "shop_h",
            new.replace(
                "count: int = 1", "count: int = 1\n            tags: list = field(default_factory=list)"
            ),
        )
        assert "the field tags of shop_h.Order has no default value" in await refused(node, "shop_h")


async def test_enums_stay_and_may_not_change_their_members(project: Project) -> None:
    text = """
        from enum import Enum

        class State(Enum):
            OPEN = 1
            SHUT = 2

            def text(self):
                return "old"

        DEFAULT = State.OPEN

        def is_open(state=State.OPEN):
            return state is State.OPEN
    """
    shop = project.load("shop_i", text)
    open_state = shop.State.OPEN
    await reload(project, "shop_i", text.replace('"old"', '"new"').replace("def is_open", "def is_ajar"))
    assert open_state.text() == "new"
    assert shop.is_ajar(open_state)
    assert shop.is_ajar()
    assert shop.DEFAULT is open_state
    assert not hasattr(shop, "is_open")
    async with Node("shop") as node:
        project.write("shop_i", text.replace("SHUT = 2", "SHUT = 2\n            AJAR = 3"))
        assert "the members of the enum shop_i.State were changed" in await refused(node, "shop_i")


async def test_functions_that_others_have_imported_by_name_are_new(project: Project) -> None:
    """In place where it can be; where the code closes over other variables, wherever somebody holds it by name."""
    text = """
        import functools

        def price(item, factor=1):
            return factor

        def make():
            rate = 1
            def total(x):
                return x * rate
            return total

        total = make()

        @functools.lru_cache
        def cached(x):
            return x
    """
    prices = project.load("prices_j", text)
    user = project.load("user_j", "from prices_j import price, total, cached\nTABLE = {'a': price}\n")
    assert (user.price("x"), user.total(2), user.cached(1)) == (1, 2, 1)
    new = (
        text.replace("factor=1", "factor=7")
        .replace("rate = 1", "rate = 3; more = 100")
        .replace("x * rate", "x * rate + more")
        .replace("            return x\n", "            return x + 1\n")
    )
    await reload(project, "prices_j", new)
    assert user.price("x") == user.TABLE["a"]("x") == 7
    assert user.total(2) == prices.total(2) == 106
    assert user.cached(1) == 2


async def test_methods_by_super_properties_and_wrapped_ones_are_new(project: Project) -> None:
    text = """
        import functools

        def twice(times):
            def decorate(function):
                @functools.wraps(function)
                def wrapped(*arguments):
                    return [function(*arguments)] * times
                return wrapped
            return decorate

        class Base:
            def greet(self):
                return "base"

        class Child(Base):
            def greet(self):
                return super().greet() + " old"

            @property
            def size(self):
                return 1

            @staticmethod
            def plain():
                return 1

            @classmethod
            def name(cls):
                return cls.__name__ + "1"

            @twice(2)
            def many(self):
                return 1

            def gone(self):
                return 1
    """
    shop = project.load("shop_k", text)
    child = shop.Child()
    bound = child.many
    await reload(
        project, "shop_k",
        text.replace(" old", " new").replace("return 1\n", "return 9\n").replace('+ "1"', '+ "9"')
        .replace("@twice(2)", "@twice(3)").replace("def gone", "def come"),
    )  # fmt: skip
    assert child.greet() == "base new"
    assert (child.size, child.plain(), child.name()) == (9, 9, "Child9")
    assert child.many() == bound() == [9, 9, 9]
    assert child.come() == 9
    assert not hasattr(child, "gone")


async def test_values_are_taken_where_their_assignment_was_changed(project: Project) -> None:
    """What the service has put into the others is its state: connections, caches, counters."""
    text = """
        LIMIT = 3
        TWICE = LIMIT * 2
        cache = {}
        connection = object()
        count = 0

        class Config:
            rate = 1
            seen = 0
    """
    shop = project.load("shop_l", text)
    shop.cache["a"], shop.count, shop.Config.seen = 1, 41, 17
    connection = shop.connection
    told = await reload(
        project,
        "shop_l",
        text.replace("LIMIT = 3", "LIMIT = 5").replace("rate = 1", "rate = 2") + "\n        more = [1]\n",
    )
    assert (shop.LIMIT, shop.TWICE, shop.Config.rate, shop.more) == (5, 10, 2, [1])
    assert (shop.cache, shop.count, shop.Config.seen) == ({"a": 1}, 41, 17)
    assert shop.connection is connection
    assert set(told.changes.changed) == {"shop_l.LIMIT", "shop_l.TWICE", "shop_l.Config.rate"}
    assert {"shop_l.cache", "shop_l.count"} <= set(told.changes.kept)


async def test_without_the_text_before_only_what_is_written_in_capitals_is_taken(project: Project) -> None:
    shop = project.load("shop_m", "LIMIT = 3\ncount = 0\n")
    shop.count = 8
    told = await reload(project, "shop_m", "LIMIT = 4\ncount = 1\n", remember=False)
    assert (shop.LIMIT, shop.count) == (4, 8)
    assert told.diff == []


async def test_modules_that_import_each_other_reload_in_their_order(project: Project) -> None:
    base = project.load("base_n", "class Base:\n    def who(self):\n        return 1\n")
    sub = project.load("sub_n", "from base_n import Base\n\nclass Sub(Base):\n    pass\n")
    thing = sub.Sub()
    project.write(
        "base_n",
        "class Base:\n    def who(self):\n        return extra() + 1\n\ndef extra():\n    return 5\n",
    )
    told = await reload(
        project, "sub_n", "from base_n import Base, extra\n\nclass Sub(Base):\n    def more(self):\n        return extra()\n",
        "base_n",
    )  # fmt: skip
    assert told.modules == ["base_n", "sub_n"]
    assert (thing.who(), thing.more()) == (6, 5)
    assert sub.extra is base.extra
    assert sub.Sub.__bases__ == (base.Base,)


async def test_new_classes_are_at_home_in_the_module(project: Project) -> None:
    text = "FACTOR = 2\n"
    shop = project.load("shop_p", text)
    await reload(
        project, "shop_p",
        text + "class New:\n    def __init__(self):\n        self.x = FACTOR\n    def me(self):\n        return New, helper\n\n"
        "def helper():\n    return New()\nONE = New()\n",
    )  # fmt: skip
    shop.FACTOR = 9
    assert shop.helper().x == 9
    assert shop.ONE.me() == (shop.New, shop.helper)
