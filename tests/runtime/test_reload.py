"""Hot reload: modules on the disk, in a running node; all of it takes effect, or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from observe.runtime import Agent, CallTimeout, Node
from observe.runtime.agent import SUSPENDED
from observe.runtime.errors import ReloadRefused
from tests.runtime.project import Project, refused

FIRST = """
    from observe.runtime import Agent

    class Counter(Agent):
        def init(self, start=0):
            self.count = start

        def handle(self, message):
            self.count += message
            return self.count
"""

SECOND = """
    from observe.runtime import Agent

    class Counter(Agent):
        def init(self, start=0):
            self.total = start
            self.log = []

        def handle(self, message):
            self.total += message * 10
            self.log.append(message)
            return self.total

        @classmethod
        def migrate(cls, old_version, state):
            return {"total": state["count"] * 100, "log": [old_version]}
"""


async def test_live_agents_go_on_with_new_code_and_migrated_state(project: Project) -> None:
    """The agent, its pid, its place, who holds a ref of it: all stay."""
    shop = project.load("shop_a", FIRST)
    async with Node("shop") as node:
        node.reloader.remember()
        ref = await node.spawn(shop.Counter, 5, name="counter")
        assert await ref.call(1) == 6
        project.write("shop_a", SECOND)
        plan = await node.reloader.plan(["shop_a"])
        assert (plan.dry_run, plan.agents, plan.classes) == (True, 1, {"Counter": 1})
        assert plan.changes.added == ["shop_a.Counter.migrate"]
        assert plan.changes.changed == ["shop_a.Counter.init", "shop_a.Counter.handle"]
        assert "-        self.count = start" in plan.diff
        assert await ref.call(0) == 6
        done = await node.reloader.reload(["shop_a"])
        assert (done.versions, done.migrated) == ({"shop_a": 2}, 1)
        assert await ref.call(2) == 620
        assert vars(node.agents[ref.pid]) == {"total": 620, "log": [1, 2]}
        assert node.registry["counter"] is node.agents[ref.pid]
        assert isinstance(node.agents[ref.pid], shop.Counter)
        assert await (await node.spawn(shop.Counter, 1)).call(1) == 11


async def test_a_rollback_returns_to_the_code_before(project: Project) -> None:
    shop = project.load("shop_b", FIRST)
    async with Node("shop") as node:
        ref = await node.spawn(shop.Counter)
        before = dict(vars(shop.Counter))
        for number in (2, 3):
            project.write("shop_b", FIRST.replace("+= message", f"+= message * {number}"))
            assert (await node.reloader.reload(["shop_b"])).versions == {"shop_b": number}
        assert await ref.call(1) == 3
        assert (await node.reloader.rollback(["shop_b"])).versions == {"shop_b": 2}
        assert await ref.call(1) == 5
        with pytest.raises(ReloadRefused, match="undo that first"):
            await node.reloader.rollback(["other"])
        await node.reloader.rollback()
        assert await ref.call(1) == 6
        assert dict(vars(shop.Counter)) == before
        with pytest.raises(ReloadRefused, match="nothing was reloaded"):
            await node.reloader.rollback()


async def test_messages_calls_timers_and_links_survive(project: Project) -> None:
    """Nothing is lost, and nothing is handled twice; in order."""
    shop = project.load(
        "shop_c",
        """
        from observe.runtime import Agent

        class Slow(Agent):
            def init(self):
                self.seen = []

            async def handle(self, message):
                if message == "gate":
                    await self.gate.wait()
                    return helper()
                self.seen.append(("old", message))
                return "old"

        def helper():
            return "helper of before"
        """,
    )
    async with Node("shop") as node:
        ref = await node.spawn(shop.Slow)
        agent: Any = node.agents[ref.pid]
        agent.gate = asyncio.Event()
        under_way = asyncio.ensure_future(ref.call("gate", timeout=20))
        await asyncio.sleep(0)
        for number in range(5):
            ref.cast(number)
        waiting = asyncio.ensure_future(ref.call("call", timeout=20))
        text = (
            (project.directory / "shop_c.py")
            .read_text()
            .replace('"old"', '"new"')
            .replace("of before", "of now")
        )
        project.write("shop_c", text)
        reloading = asyncio.ensure_future(node.reloader.reload(["shop_c"], timeout_s=20))
        while node.agents[ref.pid]._o_bonds is None:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.001)
        assert not reloading.done()
        agent.gate.set()
        assert await under_way == "helper of before"  # the step under way has ended on the old code
        await reloading
        assert await waiting == "new"
        assert agent.seen == [*(("new", number) for number in range(5)), ("new", "call")]


BROKEN = [
    ("syntax", FIRST.replace("def handle", "def handle("), "cannot be compiled"),
    ("import", "import no_such_module_here\n", r"cannot be loaded: ModuleNotFoundError.*\(line 1\)"),
    ("raises", "x = 1\nraise RuntimeError('no')\n", r"RuntimeError: no \(line 2\)"),
    ("exits", "raise SystemExit(3)\n", "SystemExit: 3"),
    ("gone", "from observe.runtime import Agent\n", "Counter is gone, and 3 agents of it live"),
    (
        "bases",
        FIRST.replace("(Agent)", "(Agent, list)").replace("class Counter", "class Counter"),
        "bases|loaded",
    ),
    ("function", "def Counter(): pass\n", "is a function now and was a class"),
    (
        "limit",
        FIRST.replace("def init", "mailbox_limit = 3\n\n        def init"),
        "mailbox_limit was changed",
    ),
    ("slots", FIRST.replace("def init", '__slots__ = ("more",)\n\n        def init'), "slots"),
    ("yield", FIRST.replace("return self.count", "yield self.count"), "must not use yield"),
]


@pytest.mark.parametrize(("text", "why"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_what_cannot_be_reloaded_changes_nothing(project: Project, text: str, why: str) -> None:
    shop = project.load("shop_d", FIRST)
    async with Node("shop") as node:
        refs = [await node.spawn(shop.Counter) for _ in range(3)]
        before, names = dict(vars(shop.Counter)), dict(vars(shop))
        project.write("shop_d", text)
        with pytest.raises(ReloadRefused, match=why):
            await node.reloader.reload(["shop_d"])
        assert dict(vars(shop.Counter)) == before
        assert dict(vars(shop)) == names
        assert [await ref.call(1) for ref in refs] == [1, 1, 1]
        assert node.reloader.version("shop_d") == 1


async def test_one_migration_of_many_that_raises_undoes_all(project: Project) -> None:
    """Also the states of those that were migrated already."""
    shop = project.load("shop_e", FIRST)
    async with Node("shop") as node:
        refs = [await node.spawn(shop.Counter, number) for number in range(2000)]
        text = SECOND.replace(
            'return {"total": state',
            'if state["count"] == 1500:\n                raise ValueError("this one")\n            return {"total": state',
        )
        project.write("shop_e", text)
        why = await refused(node, "shop_e")
        assert f"Counter {refs[1500].pid} could not be migrated: ValueError: this one" in why
        assert [vars(node.agents[ref.pid]) for ref in refs] == [{"count": number} for number in range(2000)]
        assert [await ref.call(1) for ref in refs[:3]] == [1, 2, 3]
        project.write("shop_e", SECOND.replace('"log": [old_version]}', '"log": [old_version]}, 1'))
        assert "must return the new state" in await refused(node, "shop_e")
        project.write("shop_e", SECOND)
        assert (await node.reloader.reload(["shop_e"])).migrated == 2000


async def test_an_agent_that_reaches_no_safe_point_keeps_everything_as_it_was(project: Project) -> None:
    shop = project.load(
        "shop_f",
        """
        import asyncio
        from observe.runtime import Agent

        class Busy(Agent):
            async def handle(self, message):
                async with self.activity("tool:search"):
                    await asyncio.sleep(message)
                return "old"
        """,
    )
    async with Node("shop") as node:
        stuck, free = await node.spawn(shop.Busy, name="stuck"), await node.spawn(shop.Busy)
        stuck.cast(3600)
        await asyncio.sleep(0)
        project.write("shop_f", (project.directory / "shop_f.py").read_text().replace("old", "new"))
        why = await refused(node, "shop_f", timeout_s=0.05)
        assert "the step of Busy 2 (stuck) did not end within 0.05 s" in why
        assert "it is in tool:search for " in why
        assert "at shop_f.py, line 8, in handle, waiting for the event loop" in why
        assert await free.call(0) == "old"


async def test_what_an_operator_does_while_a_reload_waits_is_not_undone_by_it(project: Project) -> None:
    """Who is suspended or contained meanwhile stays so, who is resumed still waits for the reload, and nobody is left behind."""
    from observe.runtime import actions

    shop = project.load(
        "shop_fa",
        """
        from observe.runtime import Agent

        class Slow(Agent):
            async def handle(self, message):
                if message is not None:
                    await message.wait()
                return "old"
        """,
    )
    async with Node("shop") as node:
        refs = {
            name: await node.spawn(shop.Slow, name=name)
            for name in ("slow", "held", "fenced", "eager", "other")
        }
        agents = {name: node.agents[ref.pid] for name, ref in refs.items()}
        step_ends = asyncio.Event()
        slow = asyncio.ensure_future(refs["slow"].call(step_ends))
        await asyncio.sleep(0)
        project.write("shop_fa", (project.directory / "shop_fa.py").read_text().replace("old", "new"))
        reloading = asyncio.ensure_future(node.reloader.reload(["shop_fa"], timeout_s=30))
        async with asyncio.timeout(30):
            while agents["other"]._o_status != SUSPENDED:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0)
        told = actions.suspend(node, agents["held"])
        assert told.what.endswith("is suspended")
        node.govern().containment.contain(agents["fenced"], "isolated", reason="by hand")
        actions.suspend(node, agents["eager"])
        actions.resume(node, agents["eager"])
        answers = {
            name: asyncio.ensure_future(refs[name].call(None))
            for name in ("held", "fenced", "eager", "other")
        }
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(one.done() for one in answers.values())
        step_ends.set()
        assert (await reloading).agents == 5
        assert await slow == "old"
        assert (await answers["other"], await answers["eager"]) == ("new", "new")
        assert not answers["held"].done()
        assert not answers["fenced"].done()
        actions.resume(node, agents["held"])
        assert await answers["held"] == "new"
        answers["fenced"].cancel()


async def test_who_was_suspended_by_an_operator_stays_suspended(project: Project) -> None:
    from observe.runtime import actions

    shop = project.load("shop_g", FIRST)
    async with Node("shop") as node:
        ref = await node.spawn(shop.Counter)
        actions.suspend(node, node.agents[ref.pid])
        project.write("shop_g", SECOND)
        await node.reloader.reload(["shop_g"])
        with pytest.raises(CallTimeout):
            await ref.call(1, timeout=0.05)
        actions.resume(node, node.agents[ref.pid])
        assert await ref.call(1) == 20


async def test_agents_in_processes_of_their_own_are_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have loaded the module themselves."""
    monkeypatch.setenv("PYTHONPATH", str(project.directory))
    shop = project.load("shop_r", FIRST)
    async with Node("shop") as node:
        ref = await node.spawn(shop.Counter, isolation="process")
        assert await ref.call(1) == 1
        project.write("shop_r", SECOND)
        assert "1 of the agents run in processes of their own" in await refused(node, "shop_r")
        assert await ref.call(1) == 2


async def test_agents_of_subclasses_elsewhere_pause_and_follow(project: Project) -> None:
    """A handler that becomes asynchronous in the base is asynchronous below it too."""
    project.load("base_o", FIRST)
    sub = project.load("sub_o", "from base_o import Counter\n\nclass Mine(Counter):\n    pass\n")
    async with Node("shop") as node:
        ref = await node.spawn(sub.Mine)
        assert await ref.call(1) == 1
        project.write(
            "base_o", FIRST.replace("def handle", "async def handle").replace("+= message", "+= message * 2")
        )
        told = await node.reloader.reload(["base_o"])
        assert told.classes == {"Mine": 1}
        assert await ref.call(1) == 3
        await node.reloader.rollback()
        assert await ref.call(1) == 4


@pytest.mark.parametrize(
    ("name", "why"),
    [("no_such_module_at_all", "no module"), ("__main__", "runs once"), ("observe.runtime.node", "observe itself"), ("sys", "no source"), ("os", "Python itself"), ("asyncio.tasks", "Python itself")],
)  # fmt: skip
async def test_only_loaded_modules_with_a_source_are_reloaded(name: str, why: str) -> None:
    async with Node("shop") as node:
        assert why in await refused(node, name)


async def test_others_go_on_while_many_are_migrated(project: Project) -> None:
    shop = project.load("shop_q", FIRST)

    class Other(Agent):
        def handle(self, message: Any) -> Any:
            return message

    async with Node("shop") as node:
        refs = [await node.spawn(shop.Counter, number) for number in range(3000)]
        other = await node.spawn(Other)
        project.write("shop_q", SECOND)
        reloading = asyncio.ensure_future(node.reloader.reload(["shop_q"]))
        answered = 0
        while not reloading.done():
            assert await other.call(answered) == answered
            answered += 1
            await asyncio.sleep(0)
        assert (await reloading).migrated == 3000
        assert answered > 5
        assert [await ref.call(0) for ref in refs[:3]] == [0, 100, 200]
