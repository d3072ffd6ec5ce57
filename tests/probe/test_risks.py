"""Risk of agents through the probe: the column, its filter and its order, the agent's page, recordings, worker processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observe.probe import Probe, risks
from observe.probe.client import connect
from observe.probe.frames import ClassRisk
from observe.probe.risks import ClassRisks
from observe.probe.table import Table
from observe.probe.wire_table import Query
from observe.runtime import Agent, Node, risk
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Guarded

ROOT = Path(__file__).parents[2]


class Idle(Agent):
    def handle(self, message: Any) -> None: ...


class Caller(Agent):
    async def handle(self, message: str) -> None:
        async with self.activity(message):
            await asyncio.sleep(0)


class Payer(Caller):
    risk = 0.9


def classes(*names: str, declared: float = 0.0) -> list[ClassRisk]:
    return [
        ClassRisk.model_validate({"class": name, "facts": [0.5] * 9, "declared": declared}) for name in names
    ]


def table_of(*names: str) -> Table:
    """Agents of these classes, one of each."""
    table = Table()
    table.strings.add(1, list(names))
    rows = np.array([[n + 1, n + 1, 0, 0, 0, 3, 0, 0] for n in range(len(names))], dtype="<i8")
    table.spawn(len(names), rows.tobytes(), 0)
    return table


def test_the_probe_and_the_runtime_have_one_formula() -> None:
    """The probe does not load the runtime, so it stands twice."""
    assert [name for _, name, _ in risks.CRITERIA] == [
        name for names in risk.CRITERIA.values() for name in names
    ]
    assert {part: None for part, _, _ in risks.CRITERIA} == dict.fromkeys(risk.CRITERIA)
    assert (risk.Facts._fields, risk.TIERS) == (risks.FACTS, risks.TIERS)
    assert {name: risk.HALF[name] for name in risks.OWN} == risks.OWN
    known = ClassRisks()
    known.take(classes("A", declared=0.2))
    told = known.of({"class": "A", "restarts": 3, "age_s": 60.0, "handled": 5})
    meant = risk.assess(risk.Facts(*[0.5] * 9), 0.2, 3, 60.0, 5)
    assert told is not None
    assert (told["score"], told["tier"]) == (round(meant.score, 3), meant.tier)
    assert told["parts"] == {part: round(value, 3) for part, value in meant.parts.items()}


def test_the_column_is_the_formula_over_the_table_and_0_where_nothing_is_known() -> None:
    table = table_of("A", "Stranger", "B")
    table.risks.take(classes("A") + classes("B", declared=0.95))
    hour_us = 3_600_000_000
    found = table.risks.column(table, None, hour_us)
    assert found == pytest.approx([(4.5 + 0.5 + 0.5) / 12, 0.0, 0.95])
    assert table.risks.column(table, np.array([2, 0]), hour_us).tolist() == [0.95, round(5.5 / 12, 3)]
    table.strings.add(4, ["Late"])
    table.risks.take(classes("Stranger"))
    assert table.risks.column(table, None, hour_us)[1] == pytest.approx(5.5 / 12)


def test_classes_that_are_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risks, "MOST_CLASSES", 2)
    known = ClassRisks()
    known.take(classes("A", "B", "C"))
    assert len(known) == 2


async def test_agents_are_sorted_and_filtered_by_it_and_their_page_tells_its_parts(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        patch.syspath_prepend(str(ROOT))
        patch.setattr("observe.probe.risk_telling.WORKERS_S", 0.1)
        async with (
            Node("risky", workers=1) as node,
            Probe(node, placement="thread", tick_s=0.02, audit=None),
            connect("risky", timeout_s=20.0) as client,
        ):
            await node.spawn(Idle, name="idle", isolation="none")
            await node.spawn(Caller, name="caller", isolation="none")
            await node.spawn(Payer, name="payer", isolation="none")
            await node.spawn(Guarded, name="far", isolation="worker")
            await node.ref("caller").call("model:chat")
            await node.ref("caller").call("tool:look")
            query = Query(sort="risk", descending=True, columns=["name", "risk"])
            page = await eventually(
                lambda: client.agents(query),
                lambda found: (
                    [row[0] for row in found.rows[:2]] == ["payer", "caller"] and found.rows[1][1] > 0.2
                ),
            )
            assert page.rows[0] == ["payer", 0.9]
            above = await client.agents(Query(filter="risk>=25%", columns=["name"]))
            assert above.rows == [["caller"], ["payer"]]
            told = (await client.inspect("caller")).risk
            assert told is not None
            assert (told.tier, told.declared, list(told.parts)) == (
                2,
                0.0,
                ["autonomy", "adaptability", "continuity", "reach"],
            )
            assert {one.name: one.value for one in told.criteria if one.part == "autonomy"} == {
                "model": 1.0, "starts": 0.0, "unasked": 1.0,
            }  # fmt: skip
            assert told.score == round(told.observed, 3)
            supervisor = await client.inspect(node.supervisor.pid)
            assert (supervisor.risk, supervisor.agent["risk"]) == (None, 0.0)

            await node.ref("far").call(("tool", "model:chat"))

            async def far() -> float:
                shown = (await client.inspect("far")).risk
                return 0.0 if shown is None else {one.name: one.value for one in shown.criteria}["model"]

            await eventually(far, lambda found: found == 1.0, "what a worker has seen")
