"""What the shop's agents may do, and what a person is asked about first."""

from __future__ import annotations

from observe.runtime.policies import Policies, Rule


def policies() -> Policies:
    """The rules: the first that fits decides, and what none fits is allowed."""
    return Policies(
        [
            Rule("no-fortunes", "deny", "tool:refund", where={"amount": ">2000"}, reason="no refund is as large as that"),
            Rule(
                "large-refunds", "approve", "tool:refund", where={"amount": ">100"}, timeout_s=300.0,
                reason="more than 100 goes back only after somebody has looked at it",
            ),
        ]
    )  # fmt: skip
