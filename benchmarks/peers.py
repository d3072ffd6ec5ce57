"""Side by side in one run: this runtime, Erlang, plain asyncio, and the actor libraries that are installed.

By processor time, each in a process of its own, the best of several short runs. What travels to another machine are the
ratios, so it is they that have goals.
"""

from __future__ import annotations

import json
import subprocess

from benchmarks import erlang
from benchmarks.measure import Result, at_least, at_most, child_argv

ROUNDS = 2
"""Messages are measured in turns and the better turn counts, so that one that was disturbed decides nothing."""

LIBRARIES = ("pykka", "xoscar", "thespian")
CHILD_TIMEOUT_S = 300.0

Figures = dict[str, float]


def _child(name: str) -> Figures | str:
    """The figures of a Python runtime, or why there are none."""
    done = subprocess.run(
        child_argv("benchmarks.peer_child", name),
        capture_output=True,
        text=True,
        timeout=CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _ours(name: str) -> Figures:
    figures = _child(name)
    if not isinstance(figures, str):
        return figures
    raise RuntimeError(f"{name} could not be measured: {figures}")


def _better(one: Figures, other: Figures) -> Figures:
    return {name: max(value, other.get(name, 0.0)) for name, value in one.items()}


def messages() -> list[Result]:
    """Casts and calls a second, one to one."""
    ours: Figures = {}
    peers: dict[str, Figures | str] = {}
    for _ in range(ROUNDS):
        ours = _better(_ours("ours"), ours)
        turn: dict[str, Figures | str] = {"asyncio": _child("asyncio")}
        turn["erlang"] = erlang.figures("messages", 5_000_000) if erlang.is_installed() else erlang.INSTALL
        for name, figures in turn.items():
            before = peers.get(name, {})
            peers[name] = (
                figures if isinstance(figures, str) or isinstance(before, str) else _better(figures, before)
            )
    for name in LIBRARIES:
        peers[name] = _child(name)
    results = [
        Result("cast, ours, def", ours["cast"], "/s"),
        Result("cast, ours, async def", ours["cast_async"], "/s"),
        *_rows("cast", peers),
        Result("call, ours, agent to agent, def", ours["call"], "/s"),
        Result("call, ours, agent to agent, async def", ours["call_async"], "/s"),
        Result("call, ours, from asyncio, def", ours["call_from_asyncio"], "/s"),
        Result("call, ours, from asyncio, async def", ours["call_from_asyncio_async"], "/s"),
        *_rows("call", peers),
    ]
    beam, plain = peers["erlang"], peers["asyncio"]
    if not isinstance(beam, str):
        results += [
            at_least("cast, def, over gen_server:cast", ours["cast"] / beam["cast"], "times", 0.5),
            Result("cast, async def, over gen_server:cast", ours["cast_async"] / beam["cast"], "times"),
            at_least("call, def, over gen_server:call", ours["call"] / beam["call"], "times", 1 / 3),
            at_least(
                "call, async def, over gen_server:call", ours["call_async"] / beam["call"], "times", 1 / 3
            ),
        ]
    if not isinstance(plain, str):
        results += [
            at_least(
                "call from asyncio, def, over a queue and a future",
                ours["call_from_asyncio"] / plain["call"],
                "times",
                3,
                "the same caller on both sides: a plain task",
            ),
            Result(
                "call from asyncio, async def, over the same",
                ours["call_from_asyncio_async"] / plain["call"],
                "times",
            ),
            Result("call agent to agent, def, over the same", ours["call"] / plain["call"], "times"),
        ]
    return results


def _rows(figure: str, peers: dict[str, Figures | str]) -> list[Result]:
    names = {"asyncio": "asyncio.Queue and a task", "erlang": "gen_server, one scheduler"}
    return [
        Result(f"{figure}, {names.get(name, name)}", float("nan"), "/s", note=f"skipped: {figures}")
        if isinstance(figures, str)
        else Result(f"{figure}, {names.get(name, name)}", figures[figure], "/s")
        for name, figures in peers.items()
    ]


def million() -> list[Result]:
    """A million agents under one supervisor, each handling a message: like for like with OTP's kinds of supervisor."""
    results: list[Result] = []
    for ours_name, beam_name in (("one_for_one", "one_for_one"), ("dynamic", "simple_one_for_one")):
        plain, rare = _ours(ours_name), _ours(f"{ours_name}_rare")
        results += [
            Result(f"spawn, ours, {ours_name}", plain["spawn"], "agents/s"),
            Result(f"spawn, ours, {ours_name}, rare_full_gc", rare["spawn"], "agents/s"),
        ]
        if erlang.is_installed():
            beam = erlang.figures(beam_name, 1_000_000)
            results += [
                Result(f"spawn, Erlang, {beam_name}", beam["spawn"], "agents/s"),
                at_least(f"spawn, {ours_name}, over {beam_name}", plain["spawn"] / beam["spawn"], "times", 2),
                at_least("the same, rare_full_gc", rare["spawn"] / beam["spawn"], "times", 2),
                Result(f"memory, Erlang, {beam_name}", beam["bytes"], "bytes each"),
                at_most(
                    f"memory, {ours_name}, over {beam_name}", plain["bytes"] / beam["bytes"], "times", 1 / 3
                ),
                Result(f"a million started, each handling a message: Erlang, {beam_name}", beam["all"], "s"),
            ]
        else:
            results.append(
                Result(f"Erlang, {beam_name}", float("nan"), "", note=f"skipped: {erlang.INSTALL}")
            )
        results += [
            Result(f"memory, ours, {ours_name}", plain["bytes"], "bytes each"),
            Result(f"a million started, each handling a message: ours, {ours_name}", plain["all"], "s"),
            at_most("the same, rare_full_gc", rare["all"], "s", 3),
        ]
    return results


def run() -> list[Result]:
    """Entry point for `python -m benchmarks peers`; takes two minutes."""
    return messages() + million()
