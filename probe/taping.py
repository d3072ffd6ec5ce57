"""Records a live node into a file, from the client's side."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from observe.probe.client import NodeClient, Watch
from observe.probe.errors import AttachError
from observe.probe.recording import MAGIC
from observe.probe.wire_watches import TapePiece

LIMIT_BYTES: Final = 1_000_000_000
"""A file grows no larger, unless somebody says so."""


@dataclass(frozen=True, slots=True)
class Taped:
    """What has become of a recording."""

    path: Path
    size_bytes: int
    took_s: float
    dropped: int
    """Records that the node left out because we read too slowly."""
    ended_by: str
    """Why it ended before its time: the node was lost, or the file was full; empty when it did not."""


async def record(
    node: NodeClient,
    path: Path,
    *,
    for_s: float = 60.0,
    limit_bytes: int = LIMIT_BYTES,
    stop: asyncio.Event | None = None,
) -> Taped:
    """Record the node into a new file for so many seconds, or until it is lost or the file has `limit_bytes`.

    Setting `stop` ends it as well, as does cancelling; what has been written is a whole recording at any time.

    Raises:
        FileExistsError: there is a file already.
        OSError: it cannot be written.
        AttachError: the node does not let us record.
    """
    watch = await node.watch_tape()
    stopping = asyncio.ensure_future(_stop_then_close(stop, watch))
    began = time.monotonic()
    ended_by = ""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        size = file.write(MAGIC)
        try:
            async with asyncio.timeout(for_s):
                async for push in watch:
                    if size + len(push.data.records) > limit_bytes:
                        ended_by = f"the file has {size:,} bytes, and {limit_bytes:,} are allowed"
                        break
                    size += file.write(push.data.records)
                    file.flush()
        except TimeoutError:
            pass
        except AttachError as error:
            ended_by = str(error)
        finally:
            stopping.cancel()
            file.flush()
            os.fsync(file.fileno())
    await watch.close()
    return Taped(path, size, time.monotonic() - began, watch.dropped, ended_by)


async def _stop_then_close(stop: asyncio.Event | None, watch: Watch[TapePiece]) -> None:
    if stop is not None:
        await stop.wait()
        await watch.close()
