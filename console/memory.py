"""What a console remembers of each node from one time to the next: order, columns, theme. A small file of the person's own.

Nothing here may keep a console from opening: a file that cannot be read or written is as good as none.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NODES: Final = 200
"""Nodes remembered; those not seen for longest are forgotten."""

MAX_BYTES: Final = 1_000_000
"""A larger file is not ours."""


def default_path() -> Path:
    """Where a person's console keeps it: `$OBSERVE_STATE_DIR`, else the platform's place for such things."""
    own = os.environ.get("OBSERVE_STATE_DIR")
    if own:
        return Path(own) / "console.json"
    from platformdirs import user_state_path

    return user_state_path("observe") / "console.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """The file."""

    path: Path

    def of(self, node: str) -> dict[str, Any]:
        """What was kept for a node; empty when there is nothing."""
        kept = self._read().get(node)
        return kept if isinstance(kept, dict) else {}

    def keep(self, node: str, what: dict[str, Any]) -> bool:
        """Keep this for a node, in place of what there was. Returns whether it could be written."""
        nodes = self._read()
        nodes.pop(node, None)
        nodes[node] = what  # the newest is the last
        for oldest in list(nodes)[:-NODES]:
            del nodes[oldest]
        beside = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({"version": 1, "nodes": nodes}, indent=1), encoding="utf-8")
            beside.replace(
                self.path
            )  # two consoles that end at once: one of them wins, neither breaks the file
        except OSError:
            return False
        return True

    def _read(self) -> dict[str, Any]:
        try:
            if self.path.stat().st_size > MAX_BYTES:
                return {}
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        nodes = content.get("nodes") if isinstance(content, dict) else None
        return nodes if isinstance(nodes, dict) else {}
