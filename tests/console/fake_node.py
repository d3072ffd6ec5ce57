"""A node in memory that speaks like `observe.probe.client.NodeClient`: for tests of the console without sockets.

It holds its agents as columns, so that a hundred thousand of them cost a test nothing, and answers queries as
docs/protocol.md describes them. Nothing moves by itself: a test changes what it wants changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np

from observe.probe.client import ClientState
from observe.probe.errors import NodeUnreachable, Refusal, RemoteError
from observe.probe.filters import Comparison, parse
from observe.probe.verbs_findings import StandingFinding, StandingFindings
from observe.probe.wire import Held, NodeInfo, Vitals
from observe.probe.wire_actions import Acted, Change
from observe.probe.wire_agent import (
    ActivityLine,
    Branch,
    ChildLine,
    Crash,
    Crashes,
    Detail,
    Outcome,
    Stack,
)
from observe.probe.wire_base import AgentName, Frame
from observe.probe.wire_console import GroupLine, GroupList
from observe.probe.wire_table import COLUMNS, Page, Query
from observe.probe.wire_tasks import TaskDetail, TasksPage
from observe.probe.wire_watches import Event, Events
from observe.probe.wire_workers import WorkerLine, WorkerList
from tests.console.fake_facts import AT, columns_of_shop, history_of_shop, tasks_of_shop, value
from tests.console.fake_pages import FakePages
from tests.console.fake_standing import standing_of

GROUP_SUMS = ("mailbox", "handled", "rate", "reductions", "load", "restarts", "crashes", "tokens", "cost")
TEXTS = ("name", "class", "status", "activity", "child")

T = TypeVar("T")


@dataclass
class FakePush(Generic[T]):
    data: T
    seq: int = 1
    dropped: int = 0


class FakeWatch(Generic[T]):
    """An endless iterator over what the test pushes."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[T] = asyncio.Queue()
        self.dropped = 0

    def push(self, data: T) -> None:
        self.queue.put_nowait(data)

    async def __aiter__(self) -> AsyncIterator[FakePush[T]]:
        while True:
            yield FakePush(await self.queue.get())

    async def close(self) -> None:
        pass


@dataclass
class FakeNode(FakePages):
    """See the module's docstring. `async with` it, as one does with what `connect` returns."""

    number: int = 400
    """Agents below the supervisor `sessions`; two more are the root and that supervisor."""

    role: str = "operator"
    way: str = ""
    restart: str = "permanent"
    restarts_within: int = 0
    name: str = "shop@localhost"
    requests: list[tuple[str, Any]] = field(default_factory=list)
    """Every request: verb and argument."""

    killed: list[tuple[int, str]] = field(default_factory=list)
    """Pids and reasons."""

    on_state: Callable[[ClientState], None] | None = None
    state: str = "up"
    fails_to_attach: Exception | None = None
    at: float = AT

    def __post_init__(self) -> None:
        self.crash_list: list[Crash] = []
        self.worker_list: list[WorkerLine] = []
        self.details: dict[int, Detail] = {}
        self.acted: list[tuple[str, dict[str, Any]]] = []
        """Actions other than kills: verb and arguments."""
        self.diff: list[Change] = []
        """What an edit changes."""
        self.task_list = tasks_of_shop()
        self.refusals: dict[str, RemoteError] = {}
        """By verb: what it is answered with."""
        self.gate = asyncio.Event()
        """Requests for rows wait for it; set at first."""
        self.gate.set()
        self.vital = Vitals(
            at=self.at, state="up", agents=self.number + 2, rate=1234.5, run_queue=3, use=0.37, lag_s=0.0021,
            memory=412 * 2**20, cpu=0.4, crashes_min=0, restarts_min=0, spawned=self.number + 2, exited=0,
            tokens_min=5120, cost_min=0.31, probe_cost=0.008, held=None, history=history_of_shop(),
        )  # fmt: skip
        self.info = NodeInfo(
            name=self.name, incarnation="one", pid=4711, host="localhost", started_at=self.at - 7500, now=self.at,
            python="3.11.4", version="0.1.0", state="up", agents=self.number + 2, probe_pid=4712,
        )  # fmt: skip
        self.vitals_watch: FakeWatch[Vitals] = FakeWatch()
        self.events_watch: FakeWatch[Events] = FakeWatch()
        self.columns = columns_of_shop(self.number)
        self.next_pid = self.number + 3

    async def __aenter__(self) -> Self:
        if self.fails_to_attach is not None:
            raise self.fails_to_attach
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.state = "closed"

    # -- what a test does to it

    def index(self, pid: int) -> int:
        """Where the agent with this pid stands in the columns."""
        return int(np.flatnonzero(self.columns["pid"] == pid)[0])

    def set(self, pid: int, **values: Any) -> None:
        """Change columns of one agent; `class_` stands for `class`."""
        for name, part in values.items():
            self.columns[name.rstrip("_")][self.index(pid)] = part

    def restarted(self, pid: int, crashed: bool = True) -> int:
        """The agent gets a successor in its place. Returns the new pid."""
        new, self.next_pid = self.next_pid, self.next_pid + 1
        index = self.index(pid)
        self.columns["restarts"][index] += 1
        self.columns["crashes"][index] += int(crashed)
        self.columns["restarts_min"][index] += 1
        self.columns["crashes_min"][index] += int(crashed)
        for name in ("age_s", "status_s", "mailbox", "handled"):
            self.columns[name][index] = 0
        self.columns["pid"][index] = new
        return new

    def remove(self, pid: int) -> None:
        """The agent ends for good."""
        index = self.index(pid)
        self.columns = {name: np.delete(column, index) for name, column in self.columns.items()}

    def lose(self, text: str = "the connection to shop was lost") -> None:
        """The connection breaks; every request fails."""
        self.state = "lost"
        assert self.on_state is not None
        self.on_state(ClientState("lost", text, self.info))

    def return_(self, incarnation: str = "one") -> None:
        """The connection is there again, perhaps to another process of the node."""
        self.info = self.info.model_copy(update={"incarnation": incarnation, "now": self.at})
        self.state = "up"
        assert self.on_state is not None
        self.on_state(ClientState("up", "attached again", self.info))

    def push_vitals(self, **changes: Any) -> None:
        """New vital signs, a second later."""
        self.at += 1
        changed = self.vital.model_copy(update={"at": self.at, "history": {}, **changes})
        self.vital = changed
        self.vitals_watch.push(changed)

    def hold(self, pid: int, since_s: float = 3.2) -> None:
        """An agent holds the scheduler: the node itself answers nothing."""
        row = self._row(self.index(pid))
        held = Held(
            pid=pid, name=row["name"], class_name=row["class"], since_s=since_s, where="python",
            stack=[Frame(file="/srv/shop/sessions.py", line=88, function="handle", source="while True: pass")],
        )  # fmt: skip
        refusal = RemoteError("scheduler_held", f"agent {pid} holds the scheduler", "see its stack")
        self.refusals = {"inspect": refusal, "kill": refusal}
        self.push_vitals(state="held", held=held)

    def crashed(self, pid: int, reason: str = "ValueError: no JSON", restarted: int | None = None) -> Crash:
        """One crash more on the list."""
        row = self._row(self.index(pid if restarted is None else restarted))
        crash = Crash(
            at=self.at - 5, pid=pid, name=row["name"], class_name=row["class"], child=row["child"],
            supervisor=row["supervisor"], reason=reason, kind=reason.partition(":")[0],
            traceback="Traceback (most recent call last):\n"
            '  File "/srv/shop/sessions.py", line 61, in handle\n    answer = json.loads(text)\n' + reason,
            message=value({"step": 3}), fingerprint=reason.partition(":")[0] + "@sessions.py:61", restarted=restarted,
        )  # fmt: skip
        self.crash_list.insert(0, crash)
        return crash

    # -- the client's methods

    def _asked(self, verb: str, argument: Any = None) -> None:
        self.requests.append((verb, argument))
        if self.state != "up":
            raise NodeUnreachable("the connection to shop was lost")
        if verb in self.refusals:
            raise self.refusals[verb]

    async def vitals(self, history_s: float = 0.0) -> Vitals:
        self._asked("vitals", history_s)
        return self.vital

    async def agents(self, query: Query | None = None) -> Page:
        query = query or Query()
        self._asked("agents", query)
        await self.gate.wait()
        rows = self._matching(query.filter)
        key = self.columns[query.sort][rows]
        if query.sort in TEXTS:
            key = np.array([text or "￿" for text in key], dtype=object)
            order = np.array(
                sorted(range(len(rows)), key=lambda i: key[i], reverse=query.descending), dtype=np.intp
            )
        else:
            order = np.argsort(-key if query.descending else key, kind="stable")
        shown = rows[order[query.offset : query.offset + query.limit]]
        names = query.columns or list(COLUMNS)
        values = [[None if v is None else v for v in self.columns[name][shown].tolist()] for name in names]
        return Page(
            columns=names, rows=[list(row) for row in zip(*values, strict=True)], matched=len(rows),
            total=len(self.columns["pid"]), at=self.at, offset=query.offset,
        )  # fmt: skip

    def _matching(self, text: str) -> Any:
        rows = np.arange(len(self.columns["pid"]))
        try:
            terms = parse(text)
        except Refusal as refusal:
            raise RemoteError(refusal.code, str(refusal), refusal.hint) from None
        for term in terms:
            if not isinstance(term, Comparison):
                low = term.text.lower()
                mask = np.array(
                    [
                        any(low in (self.columns[name][i] or "").lower() for name in TEXTS[:4])
                        or str(self.columns["pid"][i]) == term.text
                        for i in rows
                    ],
                    dtype=bool,
                )
            else:
                column = self.columns[term.column][rows]
                mask = self._compared(column, term)
            rows = rows[~mask if term.negated else mask]
        return rows

    def _compared(self, column: Any, term: Comparison) -> Any:
        first = term.values[0]
        match term.operator:
            case "=" | "!=":
                mask = np.isin(column, np.array(term.values, dtype=column.dtype))
            case "~" | "!~":
                mask = np.array([str(first).lower() in (one or "").lower() for one in column], dtype=bool)
            case ">":
                mask = column > first
            case ">=":
                mask = column >= first
            case "<":
                mask = column < first
            case _:
                mask = column <= first
        return ~mask if term.operator.startswith("!") else mask

    def _row(self, index: int) -> dict[str, Any]:
        return {
            name: column[index].item() if hasattr(column[index], "item") else column[index]
            for name, column in self.columns.items()
        }

    def _find(self, agent: int | str) -> dict[str, Any]:
        found = np.flatnonzero(self.columns["pid" if isinstance(agent, int) else "name"] == agent)
        if not len(found):
            raise RemoteError("no_such_agent", f"no live agent is {agent}")
        return self._row(int(found[0]))

    async def inspect(self, agent: int | str, max_items: int = 100, *, locals: bool = False) -> Detail:  # noqa: A002  # the client's word
        self._asked("inspect", agent)
        row = self._find(agent)
        known = self.details.get(row["pid"])
        if known is not None:
            return known.model_copy(update={"agent": row})
        below = list(np.flatnonzero(self.columns["supervisor"] == row["pid"]))
        supervisor = row["supervisor"] and self._find(row["supervisor"])
        activities = []
        if row["activity"]:
            activities = [
                ActivityLine(name=row["activity"], since_s=row["activity_s"], attributes={"query": "lamp"})
            ]
        return Detail(
            **standing_of(row), agent=row, module="shop.sessions", doc="One customer's support session.",
            supervisor=AgentName(pid=supervisor["pid"], name=supervisor["name"], class_name=supervisor["class"])
            if supervisor else None,
            children=[
                ChildLine(pid=c["pid"], name=c["name"], class_name=c["class"], status=c["status"], child=c["child"],
                          restarts=c["restarts"])
                for c in (self._row(int(i)) for i in below[:50])
            ],
            children_total=len(below), spec={"restart": self.restart, "shutdown_s": 5.0},
            state=value(
                {
                    "customer": f"customer-{row['pid']}", "step": 3, "history": ["hello", "where is my lamp?"],
                    "api_key": "secret", "draft": "Dear customer, " + "your lamp is on its way. " * 20,
                }
            ),
            mailbox=[value({"type": "tick", "n": n}) for n in range(min(row["mailbox"], 20))],
            mailbox_total=row["mailbox"], stack=await self.stack(row["pid"]),
            last_crash=next((c for c in self.crash_list if c.restarted == row["pid"]), None), activities=activities,
        )  # fmt: skip

    async def stack(self, agent: int | str) -> Stack:
        self._asked("stack", agent)
        row = self._find(agent)
        frames = [
            Frame(
                file="/srv/shop/sessions.py",
                line=54,
                function="handle",
                source="answer = await self.think(text)",
            ),
            Frame(file="/srv/shop/model.py", line=31, function="think", source="async for part in stream:"),
        ]
        waits = "Future pending" if row["status"] == "waiting" else None
        return Stack(pid=row["pid"], status=row["status"], frames=frames if waits else [], waiting_on=waits)

    async def tasks(
        self,
        filter: str = "",  # noqa: A002  # as the client calls it
        *,
        sort: str = "id",
        descending: bool = False,
        offset: int = 0,
        limit: int = 50,
    ) -> TasksPage:
        self._asked("tasks", (filter, sort))
        found = [one for one in self.task_list if filter in f"{one.name} {one.coroutine} {one.state}"]
        found.sort(key=lambda one: getattr(one, sort) or 0, reverse=descending)
        return TasksPage(
            tasks=found[offset : offset + limit], matched=len(found), total=len(self.task_list), recorded=True,
            rings=sum(bool(one.ring) for one in self.task_list),
        )  # fmt: skip

    async def task(self, task: int) -> TaskDetail:
        self._asked("task", task)
        found = [one for one in self.task_list if one.id == task]
        if not found:
            raise RemoteError("no_such_task", f"no task has the number {task}")
        frames = [
            Frame(file="/srv/shop/pack.py", line=31, function="pack", source="order = await orders.get()")
        ]
        return TaskDetail(task=found[0], frames=frames)

    async def cancel_task(self, task: int, reason: str = "") -> Acted:
        self._asked("cancel_task", (task, reason))
        one = (await self.task(task)).task
        self.task_list.remove(one)
        return Acted(done=True, what=f"the task {one.name} was cancelled")

    async def tree(self, root: int | str | None = None, depth: int = 8, max_children: int = 50) -> Branch:
        self._asked("tree", root)
        return self._branch(1 if root is None else self._find(root)["pid"], depth, max_children)

    def _branch(self, pid: int, depth: int, most: int) -> Branch:
        row = self._find(pid)
        below = np.flatnonzero(self.columns["supervisor"] == pid)
        counts: dict[str, int] = {}
        for index in below:
            status = self.columns["status"][index]
            counts[status] = counts.get(status, 0) + 1
        children = [int(self.columns["pid"][i]) for i in below[:most]] if depth else []
        return Branch(
            pid=pid, name=row["name"], class_name=row["class"], status=row["status"], child=row["child"],
            restarts=row["restarts"], crashes=row["crashes"], mailbox=row["mailbox"],
            strategy="one_for_one" if len(below) else None, intensity=100 if len(below) else None,
            period_s=10.0 if len(below) else None, restarts_within=self.restarts_within if len(below) else None, children=[self._branch(c, depth - 1, most) for c in children],
            children_total=len(below), by_status=counts,
        )  # fmt: skip

    async def crashes(self, limit: int = 50) -> Crashes:
        self._asked("crashes", limit)
        return Crashes(crashes=self.crash_list[:limit], total=len(self.crash_list))

    async def findings(self) -> StandingFindings:
        """Those of the node's checks that its columns say enough about, as `observe.probe.diagnosis` words them."""
        self._asked("findings")
        found: list[StandingFinding] = []
        for check, column, least, text, where in (
            ("restart_loop", "restarts", 3, "{n} in a restart loop, worst {who}: {most} restarts in a minute",
             "restarts>=3 age_s<60s"),
            ("mailbox_grows", "mailbox", 100, "{n} with a mailbox that does not get emptier, fullest {who}: {most:,} messages",
             "mailbox>=100"),
            ("stuck", "activity_s", 61, "{n} stuck in one activity, longest {who}: {most:,.0f} s", "activity_s>60s -activity~wait:"),
        ):  # fmt: skip
            rows = np.flatnonzero(self.columns[column] >= least)
            if len(rows):
                worst = self._row(int(rows[np.argmax(self.columns[column][rows])]))
                n = "1 agent" if len(rows) == 1 else f"{len(rows):,} agents"
                found.append(
                    StandingFinding(
                        check=check,
                        text=text.format(n=n, who=f"{worst['name']} (pid {worst['pid']})", most=worst[column]),
                        advice=f"what to do about {check}", count=len(rows), since=self.at - 12, pid=worst["pid"],
                        filter=where, cause="", evidence={column: worst[column]},
                    )
                )  # fmt: skip
        return StandingFindings(findings=found, begun=len(found) + 4, untold=0)

    async def workers(self) -> WorkerList:
        self._asked("workers")
        return WorkerList(workers=self.worker_list)

    async def kill(self, agent: int | str, reason: str = "") -> Outcome:
        self._asked("kill", agent)
        row = self._find(agent)
        self.killed.append((row["pid"], reason))
        if self.restart == "temporary":
            self.remove(row["pid"])
        else:
            self.restarted(row["pid"], crashed=False)
        what = f"{row['name'] or row['child']} #{row['pid']} killed"
        return Outcome(done=True, what=what, pid=row["pid"], reason="killed", took_s=0.0012)

    async def act(self, verb: str, **arguments: Any) -> Acted:
        """Any other action: remembered, and done as far as a table of columns can have it."""
        self._asked(verb, arguments)
        if arguments.get("agent") is None:
            return Acted(done=True, what=f"{verb} done", took_s=0.001)
        row = self._find(arguments["agent"])
        who = f"{row['name']} #{row['pid']}"
        if arguments.get("dry_run"):
            return Acted(
                done=True, what=f"{verb} would change {who}", pid=row["pid"], dry_run=True, diff=self.diff
            )
        self.acted.append((verb, arguments))
        if verb == "contain":
            facts = {"before": row["containment"], "level": arguments["level"], "agents": 1}
            self.set(row["pid"], containment=arguments["level"])
            return Acted(done=True, what=f"{who} is {arguments['level']}", pid=row["pid"], facts=facts)
        if verb in ("suspend", "resume"):
            self.set(row["pid"], status="suspended" if verb == "suspend" else "idle")
        if verb in ("stop", "restart"):
            self.restarted(row["pid"], crashed=False)
        diff = self.diff if verb == "edit" else []
        return Acted(done=True, what=f"{who}: {verb} done", pid=row["pid"], took_s=0.001, diff=diff)

    async def control(self, *, taken: bool, for_s: float = 0.0, reason: str = "") -> Acted:
        self._asked("control", (taken, for_s, reason))
        return Acted(done=True, what="control taken")

    async def groups(self, by: str, text: str, *, sort: str, limit: int) -> GroupList:
        self._asked("groups", (by, text, sort))
        rows = self._matching(text)
        keys = [str(self.columns[by][i] or "") for i in rows]
        lines = []
        for key in sorted(set(keys), key=lambda key: (-keys.count(key), key))[:limit]:
            members = rows[[one == key for one in keys]]
            sums = {name: self.columns[name][members].sum().item() for name in GROUP_SUMS}
            statuses = [self.columns["status"][i] for i in members]
            by_status = {status: statuses.count(status) for status in sorted(set(statuses))}
            lines.append(
                GroupLine(key=key, filter=f"{by}={key}", agents=len(members), by_status=by_status, **sums)
            )
        return GroupList(
            lines=lines, groups=len(set(keys)), matched=len(rows), total=len(self.columns["pid"]), at=self.at
        )

    async def watch_vitals(self, interval_s: float = 1.0) -> FakeWatch[Vitals]:
        return self.vitals_watch

    async def watch_events(self, interval_s: float = 0.25) -> FakeWatch[Events]:
        return self.events_watch

    def happened(self, kind: str, pid: int, text: str) -> None:
        """An event."""
        self.events_watch.push(Events(events=[Event(seq=1, at=self.at, kind=kind, pid=pid, text=text)]))
