"""The client: what a script meets when a node answers, does not answer, answers nonsense, or goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
import zmq

from observe.probe import codec, wire_table
from observe.probe.cards import Card, NodeLock, node_directory, write_card
from observe.probe.client import ClientState, connect
from observe.probe.embed import Probe
from observe.probe.errors import (
    AttachError,
    NodeUnreachable,
    NoSuchNode,
    NotAuthorised,
    ProtocolError,
    RemoteError,
    UnknownNodeKey,
)
from observe.probe.resolving import resolve
from observe.runtime import Agent, Node
from tests.probe.fake_probe import NODE, SAID, WELCOME, FakeProbe
from tests.probe.live import eventually, private_runtime, probes_of, until


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Echo(Agent):
    """Answers what it is asked."""

    def handle(self, message: Any) -> Any:
        return message


PAGE = {"columns": ["pid"], "rows": [[1]], "matched": 1, "total": 1, "at": 0.0, "offset": 0}


async def test_the_last_words_of_a_probe_are_heard_by_a_client_that_was_busy() -> None:
    """What arrived before the end of the connection counts, also when both are seen in one look."""
    said = threading.Event()

    def answer(probe: FakeProbe, request: dict[str, Any]) -> object:
        if request["verb"] != "ping":
            return None
        probe.say({"id": request["id"], "ok": True, "result": {"now": 1.0}})
        said.set()
        return SAID

    with FakeProbe(answer, linger_ms=5000) as probe:
        async with connect(probe.card(), timeout_s=10.0) as client:
            asking = asyncio.create_task(client.ping())
            while not said.is_set():
                await asyncio.sleep(0)
                said.wait(0.05)  # as long as this takes, the loop reads nothing
            probe.stop()
            threading.Event().wait(0.2)  # a busy console: word and end are both there before it looks
            assert await asking > 0
            await until(lambda: client.state == "lost")


# -- finding a node --------------------------------------------------------------------------------------------------------


async def test_every_verb_of_a_real_node() -> None:
    """What the console does, a script can do; and in the process of the node itself, too."""
    async with Node("shop") as node, Probe(node, tick_s=0.05):
        ref = await node.spawn(Echo, name="echo", restart="permanent")
        for name in ("shop", "shop@localhost", f"shop@{socket.gethostname()}", "SHOP@LOCALHOST".lower()):
            async with connect(name, timeout_s=10.0) as client:
                assert client.info.name == node.name
        async with connect("shop", timeout_s=10.0) as client:
            assert client.role == "admin"
            assert await client.ping() > 0
            await eventually(client.agents, lambda page: page.total == 2)
            assert (await client.vitals(history_s=10)).state == "up"
            assert (await client.inspect("echo")).agent["pid"] == ref.pid
            assert (await client.stack(ref.pid)).status == "idle"
            assert (await client.tree(depth=1)).children[0].name == "echo"
            assert (await client.crashes()).total == 0
            assert (await client.kill("echo")).done
            assert node.whereis("echo") is not None
            with pytest.raises(RemoteError) as caught:
                await client.agents(wire_table.Query(sort="colour"))
            assert (caught.value.code, caught.value.exit_code) == ("no_such_column", 2)
            assert "mailbox" in f"{caught.value} {caught.value.hint}"


def test_an_unknown_node_says_which_are_up() -> None:
    """A typing error at three in the morning costs one line to see."""
    with pytest.raises(NoSuchNode) as caught:
        resolve("shpo")
    assert "no node of this user is up" in caught.value.hint
    with FakeProbe() as probe:
        directory = node_directory("shop")
        with NodeLock.held(directory):
            write_card(probe.card(), directory)
            with pytest.raises(NoSuchNode) as caught:
                resolve("shpo")
            assert "shop@here" in caught.value.hint
            assert caught.value.exit_code == 2
            assert resolve("shop@localhost").endpoint == probe.endpoint
            with pytest.raises(UnknownNodeKey, match="not known here"):
                resolve("shop@elsewhere")
        with pytest.raises(NodeUnreachable, match="has ended"):
            resolve("shop")  # its lock is free: the card of a dead process
    for nonsense in ("", "../shop", "shop/..", "a" * 100, "@host", "-x", "shop\n"):
        with pytest.raises(AttachError):
            resolve(nonsense)


def test_a_directory_that_others_can_write_is_not_believed(runtime: Path) -> None:
    """A forged card would send a person's commands, and trust, to somebody else's process."""
    node_directory("shop")
    (runtime / "observe" / "nodes").chmod(0o777)
    with pytest.raises(NotAuthorised, match="chmod"):
        resolve("shop")


# -- not getting in --------------------------------------------------------------------------------------------------------


async def failing(card: Card, timeout_s: float = 10.0) -> AttachError:
    """The error with which attaching fails, and soon."""
    began = time.monotonic()
    with pytest.raises(AttachError) as caught:
        async with connect(card, timeout_s=timeout_s):
            pass
    assert time.monotonic() - began < 9, "it waited for its time-out although it could have known"
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_key_that_the_node_does_not_know_is_refused() -> None:
    """Silence would be the worst answer; libzmq gives no other by itself."""
    async with Node("shop") as node, Probe(node):
        card = resolve("shop")
        assert isinstance(card, Card)
        public, secret = zmq.curve_keypair()
        error = await failing(
            card.model_copy(
                update={"client_public_key": public.decode(), "client_secret_key": secret.decode()}
            )
        )
        assert isinstance(error, NotAuthorised)
        assert error.exit_code == 1
        error = await failing(card.model_copy(update={"server_public_key": public.decode()}))
        assert isinstance(error, NotAuthorised)


async def test_nobody_listens() -> None:
    """A dead endpoint is known at once."""
    with FakeProbe() as probe:
        card = probe.card()
    error = await failing(card)
    assert isinstance(error, NodeUnreachable)
    assert "nobody listens" in str(error)


async def test_something_else_listens() -> None:
    """Ports are taken over by other programs."""
    with socket.create_server(("127.0.0.1", 0)) as listener, FakeProbe() as probe:

        def talk() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 200)

        thread = threading.Thread(target=talk)
        thread.start()
        error = await failing(probe.card(endpoint=f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
        assert isinstance(error, ProtocolError)
        error = await failing(probe.card(endpoint="nonsense://"))
        assert isinstance(error, ProtocolError)


async def test_a_node_that_says_nothing() -> None:
    """A stopped probe accepts connections and never answers."""
    with FakeProbe(lambda probe, request: SAID) as probe:
        error = await failing(probe.card(), timeout_s=0.3)
    assert isinstance(error, NodeUnreachable)
    assert "0.3 s" in str(error)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xc1",
        b"",
        codec.encode({"id": 1, "ok": True, "result": {"version": 1}}),
        codec.encode({"id": 1, "ok": "yes"}),
        codec.encode({"hello": 1}),
        codec.encode({"sub": 1, "seq": "x", "data": {}}),
        codec.encode({"id": 1, "ok": False, "error": {"code": "unsupported_version", "message": "only 9"}}),
    ],
)
async def test_a_node_that_answers_nonsense(nonsense: bytes) -> None:
    """Another version, a fault, an attack: a sentence, and never a traceback."""

    def answer(probe: FakeProbe, request: dict[str, Any]) -> object:
        probe.say(nonsense)
        return SAID

    with FakeProbe(answer) as probe:
        assert isinstance(await failing(probe.card()), ProtocolError)


async def test_a_hello_that_is_refused() -> None:
    """Too many clients, say."""

    def answer(probe: FakeProbe, request: dict[str, Any]) -> object:
        error = {"code": "busy", "message": "full", "hint": "later"}
        probe.say({"id": request["id"], "ok": False, "error": error})
        return SAID

    with FakeProbe(answer) as probe:
        error = await failing(probe.card())
    assert isinstance(error, RemoteError)
    assert (error.code, str(error), error.hint) == ("busy", "full", "later")


# -- asking ----------------------------------------------------------------------------------------------------------------


async def test_replies_find_their_requests_in_any_order() -> None:
    """A slow `inspect` does not hold up the table."""
    waiting: list[int] = []

    def answer(probe: FakeProbe, request: dict[str, Any]) -> Any:
        if request["verb"] == "stack":
            waiting.append(request["id"])
        elif request["verb"] == "agents":
            probe.say({"id": request["id"], "ok": True, "result": PAGE})
            for number in reversed(waiting):
                stack = {
                    "pid": number,
                    "status": "idle",
                    "frames": [],
                    "waiting_on": None,
                    "note": "",
                    "extra": 1,
                }
                probe.say({"id": number, "ok": True, "result": stack})

    with FakeProbe(answer) as probe:
        async with connect(probe.card()) as client:
            asked = [asyncio.create_task(client.stack(number)) for number in (1, 2, 3)]
            await until(lambda: len(waiting) == 3)
            await client.agents()
            assert [stack.pid for stack in await asyncio.gather(*asked)] == waiting


async def test_a_request_that_is_cancelled_leaves_nothing_behind() -> None:
    """A person who moves on in the console does not wait for what he no longer wants."""

    def answer(probe: FakeProbe, request: dict[str, Any]) -> Any:
        return PAGE if request["verb"] == "agents" else None

    with FakeProbe(answer) as probe:
        async with connect(probe.card()) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.stack(1)
            assert (await client.agents()).total == 1


async def test_commands_say_for_whom_and_until_when() -> None:
    """ZeroMQ may deliver them to tomorrow's node. The server's clock counts, not ours."""

    def answer(probe: FakeProbe, request: dict[str, Any]) -> Any:
        if request["verb"] == "kill":
            return {"done": True, "what": "", "pid": 5, "reason": "killed", "took_s": 0.1}
        if request["verb"] == "audit_head":
            return {"size": 0, "first": 0}
        return WELCOME | {"node": NODE | {"now": 1000.0}} if request["verb"] == "hello" else None

    with FakeProbe(answer) as probe:
        async with connect(probe.card()) as client:
            for _ in range(2):
                await client.kill("cart", reason="stuck")
        kills = [request["args"] for request in probe.requests if request["verb"] == "kill"]
        assert {(kill["incarnation"], kill["reason"], kill["agent"]) for kill in kills} == {
            ("abc", "stuck", "cart")
        }
        assert all(1000 < kill["expires_at"] < 1030 for kill in kills)
        assert len({kill["command_id"] for kill in kills}) == 2


# -- watching --------------------------------------------------------------------------------------------------------------


def _watched(probe: FakeProbe, request: dict[str, Any]) -> Any:
    """Pushes as long as there is credit: the simplest probe that keeps the rules."""
    args = request["args"]
    credit, seq = probe.__dict__.setdefault("credit", {}), probe.__dict__.setdefault("seq", {})
    if request["verb"] == "watch":
        probe.say({"id": request["id"], "ok": True, "result": {"sub": 7}})
        credit[7], seq[7] = args["credit"], 0
    elif request["verb"] == "credit":
        credit[7] += args["n"]
        probe.say({"id": request["id"], "ok": True, "result": {}})
    elif request["verb"] == "rewatch":
        if args["query"]["sort"] == "bad":
            error = {"code": "no_such_column", "message": "bad", "hint": ""}
            probe.say({"id": request["id"], "ok": False, "error": error})
            return None
        probe.__dict__["limit"] = args["query"]["limit"]
        probe.say({"id": request["id"], "ok": True, "result": {"sub": 7}})
    elif request["verb"] == "unwatch":
        credit[7] = -1000
        return {}
    while credit.get(7, 0) > 0:
        credit[7] -= 1
        seq[7] += 1
        page = PAGE | {"rows": [[probe.__dict__.get("limit", 0)]]}
        probe.say({"sub": 7, "seq": seq[7], "dropped": 3, "data": page})
    return None


async def test_a_watch_flows_at_the_readers_speed() -> None:
    """A console that pauses costs the node nothing; when it goes on it gets more."""
    with FakeProbe(_watched) as probe:
        async with connect(probe.card()) as client:
            watch = await client.watch_agents()
            await asyncio.sleep(0.05)
            assert probe.__dict__["seq"][7] == 2  # its credit, and no more
            numbers = []
            async for push in watch:
                numbers.append(push.seq)
                assert push.data.rows == [[0]]
                if push.seq == 10:
                    break
            assert numbers == list(range(1, 11))
            assert watch.dropped >= 30
            await watch.close()
            await watch.close()
            with pytest.raises(StopAsyncIteration):
                await anext(watch)
            await until(lambda: probe.requests[-1]["verb"] == "unwatch")


async def test_another_query_takes_effect_at_once() -> None:
    """After a keystroke in the filter no row of the old window may appear."""
    with FakeProbe(_watched) as probe:
        async with connect(probe.card()) as client:
            watch = await client.watch_agents()
            await until(lambda: probe.__dict__["seq"].get(7) == 2)
            watch.requery(wire_table.Query(limit=5))  # not awaited, as a key handler does
            await watch.requery(wire_table.Query(limit=9))
            assert (await anext(watch)).data.rows == [[9]]
            assert watch.args.query is not None
            assert watch.args.query.limit == 9
            with pytest.raises(RemoteError):
                await watch.requery(wire_table.Query(sort="bad"))
            assert watch.args.query.limit == 9
            assert (await anext(watch)).data.rows == [[9]]


async def test_a_lost_node_ends_watches_and_requests() -> None:
    """Whoever waits on something that has ended gets an answer."""
    with FakeProbe(_watched) as probe:
        client = connect(probe.card())
        states: list[ClientState] = []
        client.on_state = states.append
        async with client:
            watch = await client.watch_agents()
            asked = asyncio.create_task(client.stack(1))
            await until(lambda: probe.requests[-1]["verb"] == "stack")
            probe.stop()
            with pytest.raises(NodeUnreachable):
                await asked
            with pytest.raises(NodeUnreachable):
                async for _ in watch:
                    pass
            for _ in range(2):
                with pytest.raises(NodeUnreachable):
                    await client.agents()
            assert [state.state for state in states] == ["lost"]


async def test_closing_ends_whoever_waits() -> None:
    """The console quits while things are under way."""
    with FakeProbe(_watched) as probe:
        async with connect(probe.card()) as client:
            watch = await client.watch_agents()
            asked = asyncio.create_task(client.stack(1))
            await until(lambda: probe.requests[-1]["verb"] == "stack")
        with pytest.raises(NodeUnreachable):
            await asked
        assert [push.seq async for push in watch] in ([], [1], [1, 2])
        await client.close()
        with pytest.raises(NodeUnreachable):
            await client.agents()


async def test_a_client_finds_its_node_again(runtime: Path) -> None:
    """The probe is killed and comes back; the same watch goes on, and the state says what happened meanwhile."""
    states: list[ClientState] = []
    async with Node("shop") as node, Probe(node, tick_s=0.05):
        async with connect("shop", timeout_s=10.0, reconnect=True, on_state=states.append) as client:
            watch = await client.watch_vitals(interval_s=0.1)
            assert (await anext(watch)).seq == 1
            (probe,) = probes_of(os.getpid())
            os.kill(probe.pid, signal.SIGKILL)
            await until(lambda: client.state != "up")
            with pytest.raises(NodeUnreachable):
                await client.agents()
            await until(lambda: client.state == "up")
            async for push in watch:
                if push.data.state == "up":
                    break
            assert client.info.probe_pid != probe.pid
        assert states[0].state == "lost"
        assert {state.state for state in states[1:-1]} <= {"lost", "connecting"}
        assert (states[-1].state, states[-1].info) == ("up", client.info)
        assert all(state.text for state in states)


async def test_closing_while_looking_for_the_node() -> None:
    """Quitting must not wait for a node that never comes."""
    with FakeProbe() as probe:
        card = probe.card()
        client = connect(card, reconnect=True)
        await client.open()
    await until(lambda: client.state != "up")
    await client.close()
    assert client.state == "closed"


def test_it_works_on_uvloop() -> None:
    """Consoles embedded in other people's services run on other people's loops."""

    async def main() -> int:
        with FakeProbe(_watched) as probe:
            async with connect(probe.card()) as client:
                watch = await client.watch_agents()
                async for push in watch:
                    if push.seq == 100:
                        return push.seq
        return 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 100


def test_importing_the_client_is_light() -> None:
    """`observe ps` in a loop of a script must not load a terminal interface, a tracer or an array library."""
    code = "import sys, observe.probe.client; print([m for m in ('textual','opentelemetry','numpy','observe.runtime') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
