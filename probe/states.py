"""Where things stay that must outlive a session and a restart of the machine: audit logs, and the checkpoints seen of them.

A runtime directory is emptied when its user logs out or the machine starts anew; an audit log must not be. Whoever has put
the runtime directory elsewhere on purpose (a container, a test) finds everything in there.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from observe.probe.cards import RUNTIME_DIRECTORY_VARIABLE, nodes_directory, runtime_directory

logger = logging.getLogger("observe.probe")

STATE_DIRECTORY_VARIABLE: Final = "OBSERVE_STATE_DIR"
"""Environment variable that puts the audit logs elsewhere."""


def state_directory() -> Path | None:
    """The directory `observe` of this user's state; None when all is kept in the runtime directory."""
    chosen = os.environ.get(STATE_DIRECTORY_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if os.environ.get(RUNTIME_DIRECTORY_VARIABLE):
        return None
    return Path(user_state_path("observe"))


def audit_directory(name: str) -> Path:
    """Where the audit log of a node of this machine is unless the node was told otherwise; not made.

    Raises:
        UnsafeDirectory: the runtime directory cannot be used.
    """
    state = state_directory()
    return nodes_directory() / name / "audit" if state is None else state / "audit" / name


def usable_audit_directory(name: str) -> Path:
    """The same, made; or a place in the runtime directory for a user who has no other.

    Raises:
        UnsafeDirectory: the runtime directory cannot be used.
    """
    wanted = audit_directory(name)
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        pass  # whoever opens the log says what is there
    except OSError as error:
        instead = nodes_directory() / name / "audit"
        logger.warning("the audit log cannot be kept in %s (%s), so it is in %s", wanted, error, instead)
        return instead
    return wanted


def seen_directory() -> Path:
    """Where the newest checkpoint of each node's log is kept; not made."""
    state = state_directory()
    return (runtime_directory() if state is None else state) / "seen"
