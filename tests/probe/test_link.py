"""The control link: what the probe asks the service, also while its scheduler is stuck; and who looks after the probe."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from observe.probe.answers import Answers
from observe.probe.codec import decode, encode
from observe.probe.launch import DECLINED_STATUS, CannotLaunch
from observe.probe.link import ControlLink
from observe.probe.words import WORD_THREAD_NS, Words
from observe.runtime import Agent, ChildSpec, Node, Ref, Supervisor
from tests.probe.live import PATIENCE_S, until


class Worker(Agent):
    """Works on what it is told."""

    def init(self) -> None:
        self.password = "hunter22"
        self.cleaned = False

    async def handle(self, message: Any) -> Any:
        if message == "wait":
            async with self.activity("tool:wait", query="x"):
                await asyncio.sleep(1000)
        elif message == "unwind slowly":
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.1)
        elif message == "crash":
            raise ValueError("asked to")
        elif isinstance(message, threading.Event):
            hold(message)
        return message


def hold(released: threading.Event) -> None:
    """Holds the scheduler until told to let go."""
    while not released.is_set():
        pass


class FakeLauncher:
    """Starts nothing. The test says when its `process` ends."""

    def __init__(self) -> None:
        self.started_at = 0.0
        self.launched: list[str] = []
        self.pid: int | None = None
        self.status: int | None = None
        self.calls: list[str] = []
        self.fails = False
        self.obeys = True

    def launch(self, config: str) -> None:
        if self.fails:
            raise CannotLaunch("no interpreter")
        self.launched.append(config)
        self.started_at = time.monotonic()
        self.pid, self.status = 4242, None

    def exited(self) -> int | None:
        status, self.status = self.status, None
        if status is not None:
            self.pid = None
        return status

    def terminate(self) -> None:
        self.calls.append("terminate")
        if self.obeys:
            self.status = 0

    def kill(self) -> None:
        if self.pid is not None:
            self.calls.append("kill")

    def disown(self) -> None:
        self.pid = None

    def tail(self) -> str:
        return ""


class FakeEmitter:
    """Notes what it is asked, and that it is asked on the scheduler's thread."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._thread = threading.get_ident()

    def resync(self) -> None:
        assert threading.get_ident() == self._thread
        self.asked.append("resync")

    def hurry(self) -> None:
        assert threading.get_ident() == self._thread
        self.asked.append("hurry")

    def fresh(self, tell: Callable[[int], None]) -> None:
        assert threading.get_ident() == self._thread
        self.asked.append("fresh")
        tell(4711)

    def offer(self, kind: str, fields: dict[str, Any]) -> bool:
        assert threading.get_ident() == self._thread
        self.asked.append(f"offer {kind}")
        return True


class Asker:
    """The probe's end, for any thread."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(address)
        self._last = 0

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def send(self, *parts: bytes) -> None:
        self._socket.send_multipart(parts)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """The reply, whatever came in between."""
        self._last += 1
        self.send(encode({"id": self._last, "op": op} | fields))
        while self._socket.poll(int(PATIENCE_S * 1000)):
            reply = decode(self._socket.recv())
            if reply["id"] == self._last:
                return reply
        raise AssertionError(f"no reply to {op}")


class Bench:
    """A node with a control link, and both of its ends."""

    def __init__(
        self,
        node: Node,
        link: ControlLink,
        asker: Asker,
        launcher: FakeLauncher,
        words: Words,
        emitter: FakeEmitter,
    ) -> None:
        self.node = node
        self.link = link
        self.asker = asker
        self.launcher = launcher
        self.words = words
        self.news: list[tuple[str, str, str]] = []
        self.emitter = emitter

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self.asker.ask, op, **fields)

    async def result(self, op: str, **fields: Any) -> dict[str, Any]:
        reply = await self.ask(op, **fields)
        assert reply["ok"], reply
        found: dict[str, Any] = reply["result"]
        return found

    async def code(self, op: str, **fields: Any) -> str:
        reply = await self.ask(op, **fields)
        assert not reply["ok"]
        assert reply["error"]["message"]
        return str(reply["error"]["code"])


@contextlib.asynccontextmanager
async def linked() -> AsyncIterator[Bench]:
    """A node and its control link, without a probe."""
    directory = Path(tempfile.mkdtemp(prefix="obs-"))
    launcher = FakeLauncher()
    with contextlib.ExitStack() as after:
        after.callback(shutil.rmtree, directory)
        words = Words.create(directory / "words")
        after.callback(words.close)
        context: zmq.Context[Any] = zmq.Context()
        after.callback(context.destroy, linger=0)
        async with Node("shop") as node:
            node.scheduler.attach_words(words.view)
            emitter = FakeEmitter()
            address = f"ipc://{directory}/control"
            link = ControlLink(
                context,
                address,
                words,
                Answers(node, words, emitter),
                launcher,
                lambda port: f"config with port {port}",
                lambda *news: bench.news.append(news),
            )
            asker = Asker(address)
            bench = Bench(node, link, asker, launcher, words, emitter)
            link.start()
            try:
                yield bench
            finally:
                link.finish(patience_s=0.0)
                await asyncio.to_thread(link.join, PATIENCE_S)
                asker.close()
                node.scheduler.detach_words()
            assert not link.is_alive()


# -- ops -----------------------------------------------------------------------------------------------------------------


async def test_inspect_tells_all_but_the_row() -> None:
    """State, mailbox, stack, relations, last crash, activities in one answer; the probe adds what it knows better."""
    async with linked() as bench:
        await bench.node.spawn(Supervisor, [ChildSpec(Worker, name="w", id="one")], name="sup")
        bench.node.ref("w").cast("crash")
        await until(lambda: bench.node.snapshot_vitals().restarts == 1)
        bench.node.ref("w").cast("wait")
        bench.node.ref("w").cast({"next": 1})
        await asyncio.sleep(0)
        pid = bench.node.ref("w").pid
        detail = await bench.result("inspect", pid=pid, max_items=10)
        assert detail["note"] == ""
        assert detail["doc"] == "Works on what it is told."
        assert detail["state"]["text"] == "Worker(password=<masked>, cleaned=False)"
        assert (detail["mailbox_total"], detail["mailbox"][0]["text"]) == (1, "{'next': 1}")
        assert detail["stack"]["frames"][0]["function"] == "handle"
        assert detail["supervisor"]["name"] == "sup"
        assert detail["spec"]["restart"] == "permanent"
        assert detail["last_crash"]["reason"] == "ValueError: asked to"
        assert detail["activities"][0]["name"] == "tool:wait"
        supervisor = await bench.result("inspect", pid=bench.node.ref("sup").pid)
        assert supervisor["children_total"] == 1
        assert supervisor["children"][0] == {
            "pid": pid, "name": "w", "class": "Worker", "status": "waiting", "child": "one", "restarts": 1,
        }  # fmt: skip
        tree = await bench.result("tree", pid=1, depth=8, max_children=50)
        assert sorted(facts[1] for facts in tree["supervisors"]) == ["one_for_one", "one_for_one"]


async def waiting(node: Node, ref: Ref) -> None:
    """Wait until the agent waits in the middle of a message."""
    await until(lambda: node.control.stack(node.agents[ref.pid]).status == "waiting")


async def test_kill_answers_when_the_agent_is_gone() -> None:
    """`done` means done: whoever looks next finds the successor."""
    async with linked() as bench:
        for message in (None, "wait", "unwind slowly"):
            ref = await bench.node.spawn(Worker)
            if message is not None:
                ref.cast(message)
                await waiting(bench.node, ref)
            outcome = await bench.result("kill", pid=ref.pid, reason="stuck")
            assert outcome["done"], outcome
            assert ref.pid not in bench.node.agents
            assert outcome["pid"] == ref.pid
            assert await bench.code("kill", pid=ref.pid) == "no_such_agent"


async def test_nonsense_is_answered_or_passed_over() -> None:
    """A probe of another version, or a fault in ours, must not end the control thread."""
    async with linked() as bench:
        assert await bench.code("no_such_op") == "unknown_verb"
        assert await bench.code("__init__") == "unknown_verb"
        for op in ("inspect", "stack", "kill"):
            assert await bench.code(op) == "no_such_agent"
            assert await bench.code(op, pid="root") == "no_such_agent"
            assert await bench.code(op, pid=10**6) == "no_such_agent"
        for parts in (
            (b"\xc1",),
            (b"",),
            (b"a", b"b"),
            (encode({"op": "stack"}),),
            (encode({"id": "x", "op": "stack"}),),
        ):
            bench.asker.send(*parts)
        assert (await bench.result("inspect", pid=1, max_items="many"))["module"]


async def test_resync_reaches_the_emitter_on_its_own_thread() -> None:
    """The emitter's sockets belong to the scheduler's thread."""
    async with linked() as bench:
        await bench.result("resync")
        assert await bench.result("fresh") == {"seq": 4711}
        assert bench.emitter.asked == ["resync", "fresh"]


async def test_the_stack_of_an_agent_that_holds_the_scheduler() -> None:
    """Python code gives the interpreter up now and then; the control thread uses that."""
    async with linked() as bench:
        ref = await bench.node.spawn(Worker, name="holder")
        released = threading.Event()
        answers: dict[str, Any] = {}

        def probe() -> None:
            try:
                while bench.words.read().pid != ref.pid:
                    pass
                while "hold" not in str(answers.get("stack")):  # it may not have come that far
                    answers["stack"] = bench.asker.ask("stack", pid=ref.pid)
                before = bench.words.view[WORD_THREAD_NS]
                answers["inspect"] = bench.asker.ask("inspect", pid=ref.pid)
                answers["kill"] = bench.asker.ask("kill", pid=ref.pid)
                answers["beats"] = bench.words.view[WORD_THREAD_NS] > before
            finally:
                released.set()

        thread = threading.Thread(target=probe)
        thread.start()
        ref.cast(released)
        await asyncio.to_thread(thread.join)
        frames = answers["stack"]["result"]["frames"]
        assert [frame["function"] for frame in frames][:2] == ["handle", "hold"]
        assert answers["beats"] is True
        error = answers["inspect"]["error"]
        assert error["code"] == "scheduler_held"
        assert f"Worker {ref.pid} has held the scheduler" in error["message"]
        assert answers["kill"]["result"]["done"] is True  # ended in the middle of its loop
        await until(lambda: ref.pid not in bench.node.agents)


async def test_a_stopped_node_says_so() -> None:
    """Between the node's end and the service's."""
    async with linked() as bench:
        await bench.node.stop()
        assert await bench.code("inspect", pid=1) in ("node_dead", "no_such_agent")


# -- the probe's process ---------------------------------------------------------------------------------------------------


async def launched(bench: Bench, count: int) -> None:
    """Wait until so many probes have been started."""
    await until(lambda: len(bench.launcher.launched) == count)


async def test_a_probe_that_ends_is_started_again_on_its_old_port(caplog: pytest.LogCaptureFixture) -> None:
    """Consoles come back to the address that they know."""
    async with linked() as bench:
        with caplog.at_level(logging.CRITICAL):
            await until(lambda: bench.launcher.launched)
            await bench.ask("ready", endpoint="tcp://127.0.0.1:4711", public_key="k")
            for count in (2, 3):
                bench.launcher.status = -9
                await launched(bench, count)
        assert bench.launcher.launched == [
            "config with port None",
            "config with port 4711",
            "config with port 4711",
        ]
        assert bench.news[0] == ("tcp://127.0.0.1:4711", "", "")
        assert bench.news[1][1] == "ended"
        assert bench.link.restarts == 2


async def test_a_probe_that_cannot_serve_says_why() -> None:
    """And is not started again and again: each start costs half a second of a core."""
    async with linked() as bench:
        await until(lambda: bench.launcher.launched)
        await bench.ask(
            "ready", error={"code": "name_taken", "message": "a node named shop is running already"}
        )
        bench.launcher.status = DECLINED_STATUS
        await until(lambda: bench.launcher.pid is None)
        await asyncio.sleep(0.5)
        assert len(bench.launcher.launched) == 1
        assert bench.news[0] == ("", "name_taken", "a node named shop is running already")


async def test_a_probe_that_cannot_be_started_is_tried_again() -> None:
    """The machine may be short of processes only for a while."""
    async with linked() as bench:
        bench.launcher.fails = True
        bench.launcher.status = 1
        await until(lambda: ("", "cannot_launch", "no interpreter") in bench.news or bench.launcher.launched)
        bench.launcher.fails = False
        await until(lambda: bench.launcher.launched)


@pytest.mark.parametrize(("obeys", "calls"), [(True, ["terminate"]), (False, ["terminate", "kill"])])
async def test_a_probe_that_does_not_go_is_made_to(obeys: bool, calls: list[str]) -> None:
    """A service that ends waits for its probe a bounded time, and leaves no process."""
    async with linked() as bench:
        await until(lambda: bench.launcher.launched)
        bench.launcher.obeys = obeys
    assert bench.launcher.calls == calls
