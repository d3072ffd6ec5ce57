"""The asyncio tasks of a service without agents, from a client through the probe: listed, opened, cancelled."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from observe.audit.reading import read
from observe.audit.record import Record
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.probe.filters import FilterError
from observe.probe.task_filters import holds, ordered
from observe.probe.verbs_tasks import terms_of
from observe.runtime.task_facts import TaskFacts
from tests.probe.live import LiveService, eventually, private_runtime


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with (
        pytest.MonkeyPatch.context() as patch,
        private_runtime(patch) as path,
        LiveService(path, waiters=30, script="plain_service.py") as live,
    ):
        yield live


@pytest.fixture
async def node(service: LiveService) -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=10.0) as client:
        await eventually(
            lambda: client.tasks("coroutine=poll state=waiting"), lambda page: page.matched >= 20
        )
        yield client


async def test_tasks_are_filtered_sorted_and_windowed_where_they_are(node: NodeClient) -> None:
    """A console asks for the rows that it shows."""
    page = await node.tasks("coroutine=poll", sort="name", descending=True, offset=1, limit=2)
    assert [one.name for one in page.tasks] == ["poller-8", "poller-7"]
    assert page.matched >= 20
    assert page.total > page.matched
    assert (page.recorded, page.left_out, page.rings) == (True, 0, 0)
    (task,) = (await node.tasks("name=poller-8")).tasks
    assert (task.state, task.waiting_on, task.module) == ("waiting", "Queue.get", "__main__")
    assert task.place.endswith(" in poll")
    assert " in main" in task.created_at  # 3.11 names the comprehension as well
    assert task.age_s is not None


async def test_the_nodes_own_tasks_say_that_they_are(node: NodeClient) -> None:
    (main,) = (await node.tasks("coroutine=main")).tasks
    assert "stop the service instead" in main.protected
    with pytest.raises(RemoteError) as caught:
        await node.cancel_task(main.id)
    assert caught.value.code == "refused"


async def test_one_task_is_opened_with_its_awaits(node: NodeClient) -> None:
    (task,) = (await node.tasks("name=deaf")).tasks
    detail = await node.task(task.id)
    assert [frame.function for frame in detail.frames] == ["deaf", "sleep"]
    assert detail.frames[0].source == "await asyncio.sleep(1000)"
    with pytest.raises(RemoteError) as caught:
        await node.task(10**9)
    assert caught.value.code == "no_such_task"


async def test_a_cancelled_task_is_on_record(node: NodeClient) -> None:
    (task,) = (await node.tasks("name=poller-29")).tasks
    outcome = await node.cancel_task(task.id, reason="hangs")
    assert outcome.done
    assert "poller-29" in outcome.what
    assert (await node.tasks("name=poller-29")).matched == 0
    records = [one for one in recorded() if one.what == "cancel_task"]
    assert [(one.phase, one.target, one.reason) for one in records[-2:]] == [
        ("requested", {"task": task.id}, "hangs"),
        ("completed", {"task": task.id}, "hangs"),
    ]
    with pytest.raises(RemoteError) as caught:
        await node.cancel_task(task.id)
    assert caught.value.code == "no_such_task"


def recorded() -> list[Record]:
    (key,) = Path(os.environ["OBSERVE_RUNTIME_DIR"]).rglob("log.vkey")
    return read(key.parent)[0]


async def test_one_that_does_not_end_is_told_as_it_is(node: NodeClient) -> None:
    (task,) = (await node.tasks("name=deaf")).tasks
    outcome = await node.cancel_task(task.id)
    assert not outcome.done
    assert "has not ended yet" in outcome.what


async def test_they_can_be_seen_while_one_of_them_holds_the_event_loop(
    node: NodeClient, service: LiveService
) -> None:
    """Which is when somebody asks. What takes the loop itself is answered with who holds it."""
    service.do("hold", 5.0)
    found = await eventually(lambda: node.tasks("state=running"), lambda page: page.matched == 1)
    (task,) = found.tasks
    assert task.name == "holder"
    held = await eventually(
        node.vitals, lambda vitals: vitals.held is not None and "holder" in vitals.held.class_name
    )
    assert held.held is not None
    assert (held.held.pid, held.held.class_name) == (0, "the task holder (hold)")
    detail = await node.task(task.id)
    assert detail.frames[-1].source in ("while time.monotonic() < end:", "pass")
    assert detail.note.startswith("the live stack")
    with pytest.raises(RemoteError) as caught:
        await node.cancel_task(task.id)
    assert caught.value.code == "scheduler_held"


async def test_a_task_in_an_endless_loop_is_frozen_seen_where_it_is_and_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service without agents that preempts: nobody is held up, and somebody far away can end it."""
    with (
        private_runtime(monkeypatch) as path,
        LiveService(path, waiters=1, script="plain_service.py", preempt=True) as service,
    ):
        async with connect("shop", timeout_s=10.0) as client:
            service.do("hold", 10_000)
            found = await eventually(lambda: client.tasks("state=frozen"), lambda page: page.matched == 1)
            (task,) = found.tasks
            assert (task.name, task.coroutine) == ("holder", "hold")
            detail = await client.task(task.id)
            assert detail.frames[-1].function == "hold"
            assert detail.note.startswith("frozen: ")
            assert (await client.vitals()).held is None
            findings = await eventually(client.findings, lambda found: bool(found.findings))
            (finding,) = [one for one in findings.findings if one.check == "long_step"]
            assert (finding.pid, finding.filter) == (0, "")
            assert "the task holder (hold) has computed for" in finding.text
            outcome = await client.cancel_task(task.id, reason="computes for ever")
            assert outcome.done
            assert (await client.tasks("name=holder")).matched == 0


@pytest.mark.parametrize(
    ("sort", "text", "code"),
    [
        ("colour", "", "no_such_column"),
        ("id", "colour=red", "no_such_column"),
        ("id", "state=asleep", "bad_request"),
    ],
)
async def test_what_cannot_be_read_is_answered_with_what_there_is(
    node: NodeClient, sort: str, text: str, code: str
) -> None:
    with pytest.raises(RemoteError) as caught:
        await node.tasks(text, sort=sort)
    assert caught.value.code == code
    assert "waiting" in caught.value.hint


def facts(number: int, **more: object) -> TaskFacts:
    values: dict[str, object] = {
        "id": number, "name": f"Task-{number}", "coroutine": "Poller.run", "module": "shop", "state": "waiting",
        "waiting_on": "Queue.get", "waits_for": (), "ring": (), "place": "shop.py:1 in Poller.run", "age_s": None,
        "created_at": "", "creator": 0, "creator_name": "", "agent": 0, "cancelling": 0, "protected": "",
    }  # fmt: skip
    return TaskFacts(**(values | more))  # type: ignore[arg-type]  # a field of each kind


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("poller", True),
        ("-poller", False),
        ("7", True),
        ("8", False),
        ("state=waiting,ready", True),
        ("state!=waiting", False),
        ("-state=running", True),
        ("waiting_on~queue", True),
        ("waiting_on!~queue", False),
        ("coroutine=POLLER.RUN", True),
        ("age_s>1m", True),
        ("age_s<1m", False),
        ("id>=7 id<=7", True),
        ("cancelling>0", False),
        ("creator=0", True),
    ],
)
def test_a_filter_means_for_tasks_what_it_means_for_agents(text: str, matches: bool) -> None:
    assert holds(facts(7, age_s=61.0), terms_of(text)) is matches


@pytest.mark.parametrize("text", ["age_s>1", "age_s<1", "age_s>=0"])
def test_an_age_that_is_not_known_compares_with_nothing(text: str) -> None:
    assert not holds(facts(7), terms_of(text))


@pytest.mark.parametrize("descending", [False, True])
def test_what_is_not_known_comes_last_in_any_order(descending: bool) -> None:
    found = [facts(1), facts(2, age_s=5.0), facts(3, age_s=1.0)]
    ids = [one.id for one in ordered(found, "age_s", descending=descending)]
    assert ids == ([2, 3, 1] if descending else [3, 2, 1])


def test_a_filter_names_the_table_it_is_about() -> None:
    with pytest.raises(FilterError, match="the table of tasks has no column 'mailbox'"):
        terms_of("mailbox>3")
