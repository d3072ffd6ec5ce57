"""A record in one line says who, what, on whom and on what of it, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observe.audit.export import sentence
from tests.audit.logs import append, opened

GOVERNED = {"pid": 7, "name": "w7", "on": "tool:pay"}
DIFF = [{"path": "/balance", "old": "0", "new": "10"}]


@pytest.mark.parametrize(
    ("phase", "facts", "said"),
    [
        ("requested", {}, "ann: kill w7: requested (stuck)"),
        ("denied", {"what": "governed_activity", "target": GOVERNED}, "ann: governed_activity w7 tool:pay: denied (stuck)"),
        ("completed", {"what": "state", "reason": "", "outcome": {"diff": DIFF}}, "ann: state w7: completed: /balance 0 → 10"),
        ("failed", {"outcome": {"message": "no", "diff": DIFF}}, "ann: kill w7: failed (stuck): no"),
        ("completed", {"outcome": {"diff": "odd"}}, "ann: kill w7: completed (stuck)"),
    ],
)  # fmt: skip
def test_a_record_in_one_line(tmp_path: Path, phase: str, facts: dict[str, Any], said: str) -> None:
    log = opened(tmp_path / "log")
    assert sentence(append(log, phase, **facts)) == said
    log.close()
