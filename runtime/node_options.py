"""What a node is made with, checked: its name and its options."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

from observe.runtime.frozen import Preemption

NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII | re.IGNORECASE)
"""What a node may be called. The name becomes part of a file name, so no separators."""


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options of `Node`, which says what each means.

    Raises:
        ValueError: one of them makes no sense.
    """

    intensity: int
    period_s: float
    watchdog_s: float | None
    preemption: Preemption | None
    preempt_tasks: bool
    rare_full_gc: bool | None
    workers: int
    watch: bool
    tasks: bool

    def __post_init__(self) -> None:
        if type(self.workers) is not int or not 0 <= self.workers <= 256:
            raise ValueError(f"workers is a number of processes from 0 to 256, not {self.workers!r}")
        if self.preempt_tasks and self.preemption is None:
            raise ValueError(
                "preempt_tasks is for a node that preempts\n"
                "  wrong: Node(preempt_tasks=True)\n"
                "  right: Node(preempt=True, preempt_tasks=True)"
            )
        if self.watchdog_s is not None and not self.watchdog_s > 0:
            raise ValueError(
                f"watchdog_s must be more than 0 seconds, or None for no watchdog, not {self.watchdog_s!r}"
            )


def name_and_host(name: str) -> tuple[str, str]:
    """The two parts of "shop@host"; the host is this machine unless told.

    Raises:
        ValueError: the name has characters that a node's name may not have.
    """
    short, _, host = name.partition("@")
    if not NAME_PATTERN.fullmatch(short):
        raise ValueError(
            f"{short!r} cannot be a node's name: use 1 to 63 letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    return short, host or socket.gethostname()
