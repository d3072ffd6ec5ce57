"""The risk of agents, as the probe has it: what the service tells of classes, and the columns of the table for the rest.

    service: Risks (runtime) --`risks`, a class at a time--> ClassRisks --with restarts, age_s, handled of the table--> column `risk`

So a million agents have a score for which the service does nothing. The formula is the runtime's (`observe.runtime.risk`), which the
probe does not load; a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.frames import ClassRisk

if TYPE_CHECKING:
    from observe.probe.strings import Strings
    from observe.probe.table import Table

DIGITS: Final = 3
"""Of a score, where it is shown."""

MOST_CLASSES: Final = 1000
"""As the service has them."""

TIERS: Final = (0.25, 0.5, 0.75)

OWN: Final = {"restarts": 3.0, "age": 3600.0, "handled": 1000.0}
"""The criteria that are the agent's own, and at how many (seconds of `age`) each is at 0.5."""

FACTS: Final = ("model", "starts", "unasked", "approach", "kinds", "memory", "tools", "gated", "unbounded")
"""Those of its class, in the order of the frame."""

CRITERIA: Final = (
    ("autonomy", "model", "its class calls models"),
    ("autonomy", "starts", "its class starts other agents"),
    ("autonomy", "unasked", "share of its class's activities for which nobody is asked"),
    ("adaptability", "approach", "its ladder changes its approach when it fails"),
    ("adaptability", "kinds", "kinds of activities of its class"),
    ("adaptability", "restarts", "how often it was restarted"),
    ("continuity", "memory", "its state outlives it in checkpoints"),
    ("continuity", "age", "how long it has lived"),
    ("continuity", "handled", "how many messages it has handled"),
    ("reach", "tools", "different activities of its class"),
    ("reach", "gated", "of these, such that a policy holds to be dangerous"),
    ("reach", "unbounded", "no budget holds for it"),
)
"""Part, name and what it is, for people."""


class ClassRisks:
    """What is known of the classes of one node."""

    def __init__(self) -> None:
        self._classes: dict[str, ClassRisk] = {}
        self._made_for: tuple[Strings, int, int] | None = None
        """Strings, how many there were, and the table's version: as long as these are the same, `_base` is right."""
        self._base: NDArray[np.float64] = np.zeros((2, 0))

    def __len__(self) -> int:
        return len(self._classes)

    def take(self, classes: list[ClassRisk]) -> None:
        """What the service tells. Of two classes of one name that which was told of last counts."""
        for one in classes:
            before = self._classes.get(one.class_name)
            if before is None and len(self._classes) >= MOST_CLASSES:
                continue
            self._classes[one.class_name] = one
        self._made_for = None

    def column(self, table: Table, rows: NDArray[np.intp] | None, now_us: int) -> NDArray[np.float64]:
        """The scores of these rows, or of all; 0 for supervisors and for classes of which nothing is known."""
        chosen: Any = slice(None) if rows is None else rows
        # In place, where it can be: of a million rows each array that is not made saves a millisecond or two.
        classes = table.ints("class")[chosen]
        base, declared = self._by_number(table)
        scores: NDArray[np.float64] = base.take(classes)
        age_s = np.maximum(now_us - table.ints("started_us")[chosen], 0) / 1e6
        counts = (table.ints("restarts")[chosen], age_s, table.ints("handled")[chosen])
        for count, half in zip(counts, OWN.values(), strict=True):
            share = count + half
            scores += np.divide(count, share, out=share)
        scores /= len(CRITERIA)
        np.fmax(scores, declared.take(classes), out=scores)  # of no number the other, which is 0 there
        return scores if rows is None else np.round(scores, DIGITS, out=scores)

    def of(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """The **risk** of the protocol, of the agent of this line of the table; None where nothing is known of its class."""
        known = self._classes.get(line["class"])
        if known is None:
            return None
        values = dict(zip(FACTS, known.facts, strict=True))
        counts = (line["restarts"], line["age_s"], line["handled"])
        values |= {
            name: count / (count + half) for (name, half), count in zip(OWN.items(), counts, strict=True)
        }
        observed = sum(values.values()) / len(values)
        score = max(observed, known.declared)
        parts: dict[str, float] = {}
        for part, name, _ in CRITERIA:
            parts[part] = parts.get(part, 0.0) + values[name] / 3
        return {
            "score": round(score, DIGITS),
            "tier": 1 + sum(score > limit for limit in TIERS),
            "observed": round(observed, DIGITS),
            "declared": round(known.declared, DIGITS),
            "parts": {part: round(value, DIGITS) for part, value in parts.items()},
            "criteria": [
                {"part": part, "name": name, "value": round(values[name], DIGITS), "text": text}
                for part, name, text in CRITERIA
            ],
        }

    def to_map(self) -> list[dict[str, Any]]:
        """For a keyframe."""
        return [one.model_dump(by_alias=True) for one in self._classes.values()]

    def _by_number(self, table: Table) -> NDArray[np.float64]:
        """For each number of a text the sum of its class's facts (no number where it is no class that is known) and what that declares."""
        strings = table.strings
        made_for = strings, len(strings), table.version
        if self._made_for != made_for:
            self._made_for = made_for
            self._base = base = np.zeros((2, len(strings)))
            base[0] = np.nan
            used = np.flatnonzero(np.bincount(table.ints("class")))  # few, of however many agents
            for number in used.tolist():
                one = self._classes.get(strings.text(number) or "")
                if one is not None:
                    base[:, number] = sum(one.facts), one.declared
        return self._base
