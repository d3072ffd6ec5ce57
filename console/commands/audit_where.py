"""Which log WHERE means, a node's or that of a directory, and how it is opened."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from observe.console.options import NodeName

if TYPE_CHECKING:
    from observe.probe.audit_sources import Log


def where_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """WHERE, completed as the name of a node."""
    return click.argument("where", metavar="WHERE", type=NodeName())(function)


@contextlib.asynccontextmanager
async def opened(where: str, timeout_s: float, *, files_first: bool = False) -> AsyncIterator[Log]:
    """The log of a node or a directory. The files of a node that is not running are read where they are.

    `files_first`: also those of one that is, when they are here: they tell more than a node would say.
    """
    from observe.console.link import known, link
    from observe.probe.audit_sources import FilesOfLog, NodesLog
    from observe.probe.errors import NoSuchNode

    if is_directory(where):
        path = Path(where)
        _check_directory(path)
        yield FilesOfLog(path)
        return
    found = local_log(where)
    if found is not None:
        try:
            known(where)
        except NoSuchNode:
            files_first = True
        if files_first:
            yield FilesOfLog(found)
            return
    async with link(where, timeout_s) as client:
        yield NodesLog(client)


def is_directory(where: str) -> bool:
    """Whether a log's files are meant: a path, not a name."""
    return "/" in where or where in (".", "..") or Path(where).is_dir()


def local_log(where: str) -> Path | None:
    """The files of the log of a node that runs, or ran, as this user on this machine."""
    from observe.audit.segments import is_log
    from observe.probe.cards import NODE_NAME
    from observe.probe.states import audit_directory

    name, _, host = where.partition("@")
    here = ("", "localhost", "127.0.0.1", platform.node())
    if host not in here or not NODE_NAME.fullmatch(name):
        return None
    directory = audit_directory(name)
    return directory if is_log(directory) else None


def _check_directory(path: Path) -> None:
    from observe.audit.segments import is_log

    if not is_log(path):
        raise click.BadParameter(f"{path} is not the directory of an audit log", param_hint="WHERE")
