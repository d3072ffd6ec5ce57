"""Other people's tools agree about our logs: `aics-tlog` verifies, `aics-witness` cosigns growth and refuses the rest.

They need Python 3.12 and an environment of their own, whose directory the variable names:

    python3.12 -m venv DIRECTORY && DIRECTORY/bin/pip install aics-witness aics-tlog
    OBSERVE_TLOG_ORACLES=DIRECTORY pytest tests/audit/test_other_implementations.py
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from observe.audit.merkle import leaf_hash
from observe.audit.notes import Signer, Verifier, origin_of, read_note
from observe.audit.reading import History
from observe.probe.anchoring import NotAnchored, to_witness
from tests.audit.logs import NODE, Attacker, append, filled, key_of, opened

ORACLES = os.environ.get("OBSERVE_TLOG_ORACLES", "")

pytestmark = pytest.mark.skipif(not ORACLES, reason="needs OBSERVE_TLOG_ORACLES, see the module")


def tlog(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [Path(ORACLES) / "bin" / "aics-tlog", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def write(path: Path, lines: list[bytes] | str) -> Path:
    text = (
        lines if isinstance(lines, str) else "".join(base64.b64encode(one).decode() + "\n" for one in lines)
    )
    path.write_text(text)
    return path


def test_a_checkpoint_and_its_proofs_are_verified(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    log = opened(directory, segment_bytes=4000)
    append(log)
    early = read_note(log.checkpoint)
    for _ in range(50):
        append(log)
    log.close()
    note, history = write(tmp_path / "note", log.checkpoint), History(directory)
    newest = read_note(log.checkpoint)
    key = ("--log-key", key_of(directory).vkey)
    assert tlog("verify-checkpoint", "--note", note, *key, "--origin", newest.origin)[0] == 0
    stranger = Signer(origin_of(NODE)).verifier.vkey
    assert tlog("verify-checkpoint", "--note", note, "--log-key", stranger)[0] != 0
    root = base64.b64encode(newest.root).decode()
    for number in (1, 17, newest.size):
        leaf = write(tmp_path / "leaf", history.lines(number, 1)[0].decode())
        proof = write(tmp_path / "proof", history.tree.inclusion(number - 1, newest.size))
        at = ("--index", str(number - 1), "--size", str(newest.size), "--root", root, "--proof", str(proof))
        assert tlog("verify-inclusion", "--leaf", leaf, *at)[0] == 0
        assert tlog("verify-inclusion", "--leaf-hash", leaf_hash(b"other").hex(), *at)[0] != 0
    proof = write(tmp_path / "proof", history.tree.consistency(early.size, newest.size))
    grown = (
        "--old-size",
        str(early.size),
        "--new-size",
        str(newest.size),
        "--new-root",
        root,
        "--proof",
        str(proof),
    )
    assert tlog("verify-consistency", *grown, "--old-root", base64.b64encode(early.root).decode())[0] == 0
    assert tlog("verify-consistency", *grown, "--old-root", root)[0] != 0


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[tuple[str, Callable[[str, str], None]]]:
    program = Path(ORACLES) / "bin" / "aics-witness"
    config = tmp_path / "witness" / "witness.json"
    config.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = f"127.0.0.1:{port}"
    subprocess.run(
        [program, "init", "-c", config, "--name", "witness.example/w1", "--listen", listen],
        check=True, capture_output=True,
    )  # fmt: skip

    def trust(origin: str, vkey: str) -> None:
        arguments: list[str | Path] = ["add-log", "-c", config, "--origin", origin, "--vkey", vkey]
        subprocess.run([program, *arguments], check=True, capture_output=True)

    log = (tmp_path / "witness" / "log").open("w")
    serving: list[subprocess.Popen[bytes]] = []

    def start(origin: str, vkey: str) -> None:
        trust(origin, vkey)
        serving.append(subprocess.Popen([program, "serve", "-c", config], stdout=log, stderr=log))
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                httpx.get(f"http://{listen}/", timeout=1.0)
                return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError((tmp_path / "witness" / "log").read_text())

    yield f"http://{listen}", start
    for one in serving:
        one.terminate()
        one.wait(20)
    log.close()


async def test_a_witness_signs_growth_and_nothing_else(
    tmp_path: Path, witness: tuple[str, Callable[[str, str], None]]
) -> None:
    url, start = witness
    directory = tmp_path / "audit"
    filled(directory, 20)
    before = directory.with_name("before")
    start(origin_of(NODE), key_of(directory).vkey)

    def prover(path: Path) -> Callable[[int, int], Awaitable[list[bytes]]]:
        async def proof(old: int, new: int) -> list[bytes]:
            return History(path).tree.consistency(old, new)

        return proof

    first = Attacker(directory).notes()[-1].rstrip("\n") + "\n"
    line = await to_witness(url, first, prover(directory))
    assert line.startswith("\u2014 witness.example/w1 ")
    assert Verifier.parse(key_of(directory).vkey).open(first + line).size == 23
    shutil.copytree(directory, before)
    shutil.copy(directory.with_name("audit.key"), directory.with_name("before.key"))
    newest = filled(directory, 20)
    assert (await to_witness(url, newest, prover(directory))).startswith("\u2014 ")
    assert (await to_witness(url, newest, prover(directory))).startswith("\u2014 ")

    with pytest.raises(NotAnchored, match="has seen another log"):  # put back
        await to_witness(url, first, prover(before))
    fork = filled(before, 20)
    assert read_note(fork).size == read_note(newest).size
    with pytest.raises(NotAnchored):  # of the same size, and another
        await to_witness(url, fork, prover(before))
    fork = filled(before, 5)
    with pytest.raises(NotAnchored):  # longer, and rewritten
        await to_witness(url, fork, prover(before))
    seed = b"x" * 32
    stranger = Signer(origin_of(NODE), seed)
    checkpoint = read_note(filled(directory, 1))
    with pytest.raises(NotAnchored):
        await to_witness(url, stranger.sign(checkpoint.size, checkpoint.root), prover(directory))
    newest = filled(directory, 1)
    assert (await to_witness(url, newest, prover(directory))).startswith("\u2014 ")
