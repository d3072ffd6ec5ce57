"""Takes a log's newest checkpoint to somewhere else, where whoever has the node's machine cannot change it.

A file on another disk, a command (a commit, a mail), a webhook, the logs of an OTLP collector, or a witness that speaks
the protocol of https://c2sp.org/tlog-witness: it looks at the proof itself, and signs only a log that has grown from the
one it knows.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from observe.audit.export import checkpoint_to_otlp, logs_url
from observe.audit.notes import BadNote, read_note
from observe.audit.reading import History
from observe.audit.segments import WITNESSED, replace_file
from observe.probe.errors import ProbeError

TIMEOUT_S: Final = 30.0


class NotAnchored(ProbeError):
    """The checkpoint did not get there."""


def to_file(path: Path, note: str) -> None:
    """Add the note to a file of notes, and wait until it is on the disk.

    Raises:
        NotAnchored: it cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(note.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NotAnchored(f"the checkpoint cannot be written to {path}: {error}") from error


def to_command(command: str, note: str) -> None:
    """Run a command of the shell with the note on its standard input.

    Raises:
        NotAnchored: it cannot be run, ends with a failure, or takes longer than half a minute.
    """
    try:
        done = subprocess.run(
            command, shell=True, input=note.encode(), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotAnchored(f"`{command}` took longer than {TIMEOUT_S:g} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NotAnchored(f"`{command}` ended with {done.returncode}{': ' + said[-1] if said else ''}")


async def to_webhook(url: str, note: str) -> None:
    """POST the note as text.

    Raises:
        NotAnchored: nobody answers, or the answer is no success.
    """
    await _post(url, note.encode())


async def to_otlp(endpoint: str, note: str) -> None:
    """Send the note as a log record to an OTLP collector, by HTTP in JSON.

    Raises:
        NotAnchored: it does not answer, or the answer is no success; or the note is no checkpoint.
    """
    await _post(logs_url(endpoint), otlp_of(note).encode(), kind="application/json")


def otlp_of(note: str) -> str:
    """What is sent to an OTLP collector.

    Raises:
        NotAnchored: the note is no checkpoint.
    """
    try:
        return json.dumps(checkpoint_to_otlp(note, time.time()))
    except BadNote as error:
        raise NotAnchored(str(error)) from error


async def to_witness(
    url: str, note: str, proof: Callable[[int, int], Awaitable[list[bytes]]], old: int = 0
) -> str:
    """Have a witness sign the checkpoint; what it answers is its signature, a line to be added to the note.

    Raises:
        NotAnchored: it does not answer, or it has seen another log, and says so.
    """
    size = read_note(note).size
    for _ in range(2):
        hashes = [base64.b64encode(one).decode() for one in await proof(old, size)]
        body = "".join(f"{line}\n" for line in (f"old {old}", *hashes, "")) + note
        status, text = await _post(url.rstrip("/") + "/add-checkpoint", body.encode(), (200, 409))
        if status == 200:
            return text
        known = text.strip()
        if not known.isdigit() or int(known) > size:
            break
        old = int(known)  # it knows a smaller log of ours: show that this one has grown from it
    raise NotAnchored(f"the witness at {url} has seen another log: it knows {text.strip()[:100]} records")


class WitnessOfLog:
    """Has a witness sign the checkpoints of a log that lies here, each proven to have grown from the one before. Belongs to one
    thread, which need not be the writer's."""

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._history = History(directory)
        self._known = 0
        """Size of the newest that it has signed."""

    def take(self, note: str) -> None:
        """Have it signed, and keep what was signed beside the log.

        Raises:
            NotAnchored: it does not answer, or it has seen another log, and says so.
        """
        try:
            signed = asyncio.run(to_witness(self._url, note, self._proof, self._known))
            self._known = read_note(note).size
            data = (note.rstrip("\n") + "\n" + signed.rstrip("\n") + "\n").encode()
            replace_file(self._history.directory / WITNESSED, data, 0o600)
        except (ValueError, OSError) as error:
            raise NotAnchored(f"the witness at {self._url} cannot be shown the log: {error}") from error

    async def _proof(self, old: int, new: int) -> list[bytes]:
        return self._history.tree.consistency(old, new) if old else []


async def _post(
    url: str, body: bytes, accepted: tuple[int, ...] = (), *, kind: str = "text/plain; charset=utf-8"
) -> tuple[int, str]:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.post(url, content=body, headers={"content-type": kind})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotAnchored(f"{url} cannot be reached: {error or type(error).__name__}") from error
    if not answer.is_success and answer.status_code not in accepted:
        text = answer.text.strip()[:200]
        raise NotAnchored(f"{url} answered {answer.status_code}{': ' if text else ''}{text}")
    return answer.status_code, answer.text
