"""What the shop's agents may do, and what a person is asked about first: a file that may be edited while the shop is open."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE: Final = "policies.yaml"

POLICIES: Final = """\
# What the shop's agents may do: the first rule that fits decides, what none fits is allowed. Caps say what may be spent.
# Save it, and half a second later that holds. `observe policies shop` shows what does, and what is wrong with it.
version: 1
rules:
  - policy: no-fortunes
    effect: deny
    on: tool:refund
    where: {amount: ">2000"}
    reason: no refund is as large as that
  - policy: large-refunds
    effect: approve
    on: tool:refund
    where: {amount: ">100"}
    timeout_s: 300
    reason: more than 100 goes back only after somebody has looked at it
caps:
  - policy: one-answer
    per: step
    agents: [Session]
    tool_calls: 20
    reason: an answer that takes more goes round in circles
  - policy: model-a-day
    per: node
    cost: 1000
    every_s: 86400
    effect: report
"""


def policy_file(directory: Path) -> Path:
    """The file in this directory; written unless somebody has one there already."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE
    if not path.exists():
        path.write_text(POLICIES, encoding="utf-8")
    return path
