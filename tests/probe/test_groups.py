"""Agents in groups: the sums are those of the table, whatever is filtered, and the filter of a group shows just its agents."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from observe.probe import Probe
from observe.probe.client import connect
from observe.probe.errors import Refusal
from observe.probe.groups import SUMS, grouped
from observe.probe.wire_console import GroupsArgs
from observe.runtime import Node
from tests.probe.live import private_runtime
from tests.probe.test_queries import AGENTS, NOW_US, page, rows_of, table_of

BY = st.sampled_from(["class", "supervisor", "status", "activity", "process"])


@settings(deadline=None)
@given(
    AGENTS, BY, st.sampled_from(["", "mailbox>0", "status=idle,waiting"]), st.sampled_from(["agents", *SUMS])
)
def test_groups_add_up_to_the_table(agents: list[dict[str, int]], by: Any, text: str, sort: Any) -> None:
    """A total that does not add up is worse than none."""
    table = table_of(agents)
    found = grouped(table, GroupsArgs(by=by, filter=text, sort=sort), NOW_US, 1.0)
    shown = {row[0] for row in page(table, filter=text, columns=["pid"], limit=1000).rows}
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(table):
        if row["pid"] in shown:
            groups[row[by]].append(row)
    assert (found.groups, found.matched, found.total) == (len(groups), len(shown), len(agents))
    assert sorted(line.agents for line in found.lines) == sorted(map(len, groups.values()))
    order = [getattr(line, sort) for line in found.lines]
    assert order == sorted(order, reverse=True)
    for line in found.lines:
        members = page(table, filter=f"{text} {line.filter}", limit=1000)
        assert members.matched == line.agents == sum(line.by_status.values())
        rows = members.as_dicts()
        for column in SUMS:
            assert getattr(line, column) == pytest.approx(sum(row[column] for row in rows))


def test_no_more_groups_are_shown_than_asked_for_and_all_are_counted() -> None:
    """There may be a group an agent."""
    agents = [{"class": 1 + pid % 3, "name": 0, "status": 1, "mailbox": pid, "handled": 1, "since_us": 5, "activity": 0}
              for pid in range(30)]  # fmt: skip
    found = grouped(table_of(agents), GroupsArgs(limit=1, sort="mailbox"), NOW_US, 1.0)
    assert (len(found.lines), found.groups) == (1, 3)
    assert found.lines[0].mailbox == max(sum(range(start, 30, 3)) for start in range(3))
    assert found.lines[0].by_status == {"idle": 10}


def test_wrong_questions_are_refused() -> None:
    """As those of the agents table are."""
    with pytest.raises(Refusal):
        grouped(table_of([]), GroupsArgs(filter="mailbux>1"), NOW_US, 1.0)
    with pytest.raises(ValidationError):
        GroupsArgs.model_validate({"by": "colour"})
    with pytest.raises(ValidationError):
        GroupsArgs(limit=501)


async def test_control_is_on_record_and_groups_come_from_a_live_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who took control, why and for how long; nothing else happens."""
    with private_runtime(monkeypatch):
        async with (
            Node("grouped") as node,
            Probe(node, tick_s=0.05),
            connect("grouped", timeout_s=10.0) as client,
        ):
            taken = await client.control(taken=True, for_s=900, reason="customers wait")
            assert (taken.done, taken.what) == (True, "control taken for 900 s")
            back = await client.control(taken=False, reason="done")
            assert back.what == "control given back"
            found = await client.groups("class")
            assert found.total == sum(line.agents for line in found.lines)
            records = [json.loads(text) for text in (await client.audit_lines()).lines]
        assert [(one["phase"], one["reason"]) for one in records if one["what"] == "control"] == [
            ("requested", "customers wait"), ("completed", "customers wait"), ("requested", "done"), ("completed", "done"),
        ]  # fmt: skip
