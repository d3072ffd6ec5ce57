"""What a client says of itself with `hello`: program, version, and for whom it runs. Said, not proven; the key is what is proven."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pwd
from functools import cache
from pathlib import Path
from typing import Final

from observe.probe.program import PROGRAM
from observe.probe.wire import PROTOCOL_VERSIONS, HelloArgs

NO_LOGIN: Final = 2**32 - 1
"""The login's user id of what nobody has logged in for, such as a service."""


def introduction() -> HelloArgs:
    """The arguments of `hello`."""
    return HelloArgs(
        versions=list(PROTOCOL_VERSIONS),
        client=f"{PROGRAM.get()[:100]} {os.getpid()}",
        version=installed_version()[:64],
        user=acting_user()[:128],
    )


@cache
def installed_version() -> str:
    """The version of the installed distribution."""
    try:
        return importlib.metadata.version("observe-agents")
    except importlib.metadata.PackageNotFoundError:  # run from a plain tree of files
        return "0"


def acting_user() -> str:
    """The user for whom this process runs, and who has logged in to become that: `root (logged in as alice)`."""
    user = local_user()
    login = NO_LOGIN
    with contextlib.suppress(OSError, ValueError):  # Linux alone has it; it survives `su` and `sudo`
        login = int(Path("/proc/self/loginuid").read_text("ascii"))
    person = user_name(login) if login != NO_LOGIN else os.environ.get("SUDO_USER", "")
    return f"{user} (logged in as {person})" if person and person != user else user


def local_user() -> str:
    """The user for whom this process runs, whatever its environment says."""
    return user_name(os.geteuid())


def user_name(number: int) -> str:
    """The user's name; in digits where there is none, as in some containers."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
