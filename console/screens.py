"""The screens by name: for `observe attach --screen`, keys and history. Light, as the command line reads it."""

from __future__ import annotations

import os
from typing import Final, Literal, get_args

PageName = Literal[
    "overview",
    "agents",
    "detail",
    "tree",
    "crashes",
    "findings",
    "tasks",
    "groups",
    "traces",
    "approvals",
    "audit",
    "code",
    "log",
    "letters",
    "budgets",
    "names",
]

FIRST_SCREEN: Final[PageName] = "overview"
"""Where a person who was woken begins: is anything wrong, and what?"""

SCREENS: Final[tuple[PageName, ...]] = tuple(name for name in get_args(PageName) if name != "detail")
"""All that stand on their own, in the order of their number keys; one agent's page is about somebody."""

ATTACH_SCREENS: Final = ("nodes", *SCREENS)
"""What `observe attach --screen` takes: of several nodes there are `nodes` and `agents`."""


def in_browser() -> bool:
    """Whether this console is drawn in a browser, by `observe serve`, and so needs no terminal."""
    return "web_driver" in os.environ.get("TEXTUAL_DRIVER", "")
