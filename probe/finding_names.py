"""The names of all checks, for those who must not load what the checks need: the service and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

NAMES: Final = (
    "audit_unavailable", "awaits_approval", "blocks", "budget_nearly_spent", "checkpoint_large", "dead_letters", "deviates", "drifts", "holds_scheduler", "holds_worker",
    "leaks_memory", "leaks_tasks", "long_step", "loop_lag", "mailbox_grows", "one_cause", "orphan", "restart_loop", "same_call",
    "slow_consumer", "stuck", "waiting_cycle",
)  # fmt: skip

MOST_ENTRIES: Final = 100
"""Of an allow-list."""


def check_entries(entries: Sequence[str]) -> None:
    """Raise ValueError for an allow-list that is none, or an entry that names no check."""
    if isinstance(entries, str) or len(entries) > MOST_ENTRIES:
        raise ValueError(f"findings_allow is a list of at most {MOST_ENTRIES} texts, not {entries!r:.100}")
    for entry in entries:
        if entry.partition(":")[0].strip() not in NAMES:
            raise ValueError(
                f"findings_allow: {entry!r} names no check\n"
                '  right: "stuck", or "stuck:Importer*" for one class, name or activity\n'
                f"  there are {', '.join(NAMES)}"
            )
