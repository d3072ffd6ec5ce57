"""`Node(watch=True)`: what is saved runs, whether the system tells of it (`watchfiles`) or the files are looked at."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

from observe.runtime import Node
from observe.runtime.reload import watching
from tests.runtime.project import Project

NEVER_S = 3600.0

TEXT = """
    from observe.runtime import Agent

    class Counter(Agent):
        def init(self):
            self.total = 0

        def handle(self, message):
            self.total += message
            return self.total
"""


async def until(holds: Callable[[], bool | Awaitable[bool]], every_s: float = 0.01) -> None:
    async with asyncio.timeout(30):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(every_s)


def is_seen(node: Node, name: str) -> Callable[[], bool]:
    """Whether the module's file was looked at for the first time."""
    looks = node._watching
    assert looks is not None
    return lambda: name in looks._stamps


def nothing_is_left() -> bool:
    tasks = [task.get_name() for task in asyncio.all_tasks()]
    threads = [thread.name for thread in threading.enumerate()]
    return "observe:watch" not in tasks and "observe:hear" not in threads


@pytest.mark.parametrize("library", ["installed", "missing"])
async def test_a_saved_file_is_reloaded(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, library: str
) -> None:
    """And a mistake in it is told, and leaves the agents on the code that works. Without the library nothing is different."""
    if library == "missing":
        monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.setattr(watching, "LOOK_S", 0.01)
    shop = project.load("shop_w", TEXT)
    async with Node("shop", watch=True) as node:
        ref = await node.spawn(shop.Counter)
        assert await ref.call(1) == 1
        await until(is_seen(node, "shop_w"))
        project.write("shop_w", TEXT.replace("+= message", "+= message * 5"))
        await until(lambda: "reloaded shop_w 2: 1 agents" in caplog.text)
        assert await ref.call(1) == 6
        project.write("shop_w", TEXT.replace("def handle", "def handle("))
        await until(lambda: "shop_w not reloaded" in caplog.text)
        assert await ref.call(1) == 11
    assert nothing_is_left()


async def test_the_system_tells_of_a_save_in_any_way(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody looks unasked here. Editors write, or put another file in the place of the one before."""
    for name in ("LOOK_S", "LOOK_ANYWAY_S"):
        monkeypatch.setattr(watching, name, NEVER_S)
    shop = project.load("shop_x", TEXT)
    async with Node("shop", watch=True) as node:
        ref = await node.spawn(shop.Counter)
        await until(is_seen(node, "shop_x"))
        await until(lambda: any(thread.name == "observe:hear" for thread in threading.enumerate()))
        file = project.directory / "shop_x.py"
        before, number = file.read_text(), 0

        def is_written_and_heard() -> (
            bool
        ):  # from when on the system tells is not to be seen, so again and again
            nonlocal number
            number += 1
            file.write_text(before.replace("+= message", "+= message * 5") + f"# {number}\n")
            return "reloaded shop_x 2: 1 agents" in caplog.text

        await until(is_written_and_heard, every_s=0.3)  # it waits until no more is saved
        assert await ref.call(1) == 5
        (project.directory / "shop_x.tmp").write_text(before.replace("+= message", "+= message * 7"))
        (project.directory / "shop_x.tmp").replace(file)

        async def is_new() -> bool:
            return bool(await ref.call(0) + 7 == await ref.call(1))

        await until(is_new)
    assert nothing_is_left()


async def test_a_system_that_tells_nothing_is_no_obstacle(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has a limit of what it watches, for all programs of a user together."""
    import watchfiles

    def watch(*_folders: str, **_options: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(watching, "LOOK_S", 0.01)
    monkeypatch.setattr(watching, "LOOK_ANYWAY_S", NEVER_S)
    shop = project.load("shop_y", TEXT)
    async with Node("shop", watch=True) as node:
        ref = await node.spawn(shop.Counter)
        await until(is_seen(node, "shop_y"))
        project.write("shop_y", TEXT.replace("+= message", "+= message * 5"))
        await until(lambda: "reloaded shop_y 2: 1 agents" in caplog.text)
        assert await ref.call(1) == 5
    assert caplog.text.count("looked at more often: OSError: OS file watch limit reached") == 1
    assert nothing_is_left()


async def test_files_that_the_system_does_not_tell_of_are_looked_at(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a link leads to, or a network file system."""
    monkeypatch.setattr(watching, "LOOK_ANYWAY_S", 0.01)
    elsewhere = project.directory / "elsewhere"
    elsewhere.mkdir()
    project.write("shop_z", TEXT)
    target = (project.directory / "shop_z.py").rename(elsewhere / "shop_z.py")
    (project.directory / "shop_z.py").symlink_to(target)
    shop = __import__("shop_z")
    async with Node("shop", watch=True) as node:
        ref = await node.spawn(shop.Counter)
        await until(is_seen(node, "shop_z"))
        target.write_text(target.read_text().replace("+= message", "+= message * 5"))
        await until(lambda: "reloaded shop_z 2: 1 agents" in caplog.text)
        assert await ref.call(1) == 5
