"""What the service answers its probe: each op of the control link, and what happens when the scheduler does not come.

An op that needs the scheduler is handed to it and claimed by whoever is first: the scheduler, which then carries it out,
or the time-out, after which it must never be carried out any more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from observe.probe.answers_actions import Actions
from observe.probe.answers_approvals import approvals_map
from observe.probe.answers_budgets import BudgetAnswers
from observe.probe.answers_code import CodeAnswers
from observe.probe.answers_letters import LetterAnswers
from observe.probe.answers_log import LogAnswers
from observe.probe.answers_names import NameAnswers
from observe.probe.answers_policies import PolicyReloads, found, policies_map
from observe.probe.answers_profiles import Profiles
from observe.probe.answers_reload import Reloads
from observe.probe.answers_tasks import TaskAnswers, running_map
from observe.probe.answers_traces import Traces
from observe.probe.askers import Tell
from observe.probe.crash_locals import crash_locals_of
from observe.probe.describe import detail_map, stack_map
from observe.probe.describe_names import line
from observe.probe.elsewhere import inspect_elsewhere
from observe.probe.lookers import Lookers
from observe.probe.mentioned import Mentioned
from observe.probe.once import Once
from observe.probe.words import Words
from observe.runtime.errors import NodeDown, NoSuchAgent, NoSuchTask
from observe.runtime.logring import LogRing
from observe.runtime.node import Node
from observe.runtime.waits import waits_for_reply_of
from observe.tracing.open_spans import destination_of

TAKE_S: Final = 1.5
"""How long the scheduler may take to begin with an op. The probe itself waits 2 s."""

UNWIND_S: Final = 1.3
"""How long a kill waits for the agent's step to unwind before it answers that this is under way."""

UNWIND_LOOK_S: Final = 0.02

HELD_KILL_S: Final = 0.25
"""A kill that the scheduler has not begun after so long, because the agent itself holds it, ends the step from outside."""

END_STEP_S: Final = 1.3
"""How long that is tried before the answer; the probe gives up on the service soon after."""

MOST_ENDING: Final = 8
"""Threads that end steps at one time. Further kills wait for the scheduler, as others do."""

MOST_EDGES: Final = 2000
"""Agents followed in one answer to who waits for whom."""

HELD_S: Final = 0.5
"""A slice older than this holds the scheduler."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an op was not done, with a code of docs/protocol.md 1.2."""

    code: str
    message: str
    hint: str = ""

    def to_map(self) -> dict[str, str]:
        """As it goes into a reply."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


Done = Callable[[dict[str, Any] | Problem], None]


@dataclass(slots=True, eq=False)
class Job:
    """One op on its way. `done` is called once, in the thread that has the answer."""

    request: dict[str, Any]
    done: Done
    until: float = 0.0
    _claim: threading.Lock = field(default_factory=threading.Lock)

    def claim(self) -> bool:
        """True for the first who asks, and for nobody else."""
        return self._claim.acquire(blocking=False)


class Tells(Protocol):
    """What is needed of the emitter. Its methods belong to the scheduler's thread."""

    def resync(self) -> None: ...
    def hurry(self) -> None: ...
    def fresh(self, tell: Tell) -> None: ...
    def offer(self, kind: str, fields: dict[str, Any]) -> bool: ...


class Answers:
    """Answers ops. `take` and `expire` belong to the control thread."""

    def __init__(self, node: Node, words: Words, emitter: Tells, ring: LogRing | None = None) -> None:
        self._node = node
        self._words = words
        self._emitter = emitter
        self._waiting: list[Job] = []
        self._ending: set[threading.Thread] = set()
        self._once: Once[dict[str, Any] | Problem] = Once()
        self._on_scheduler: dict[str, Callable[[Job], None]] = {
            "inspect": self._inspect,
            "kill": self._kill,
            "tree": self._tree,
            "resync": self._begin_resync,
            "fresh": lambda job: self._emitter.fresh(lambda seq: job.done({"seq": seq})),
            "approvals": lambda job: job.done(approvals_map(self._node)),
            "policies": lambda job: job.done(policies_map(self._node)),
            "found": lambda job: job.done(found(self._node, job.request)),
        }
        self._tasks = TaskAnswers(node)
        self._lookers = Lookers(
            {
                "log": LogAnswers(node, ring or LogRing(node, 0)).page,
                "dead_letters": LetterAnswers(node).page,
                "budgets": BudgetAnswers(node).page,
                "names": NameAnswers(node).page,
            }
        )
        self._actions = Actions(node)
        self._on_scheduler |= dict.fromkeys(self._actions.ops, self._act)
        self._code = CodeAnswers(node)
        self._reloads = Reloads(node)
        self._on_scheduler["reload"] = self._reload
        self._policies = PolicyReloads(node)
        self._on_scheduler["reload_policies"] = lambda job: self._policies.take(*self._ends(job))
        self._locals = crash_locals_of(node)
        self._locals.begin()
        self._profiles = Profiles(node)
        self._traces = Traces(node, emitter.offer)
        self._on_scheduler |= dict.fromkeys(Traces.OPS, self._trace)

    def take(self, job: Job, now: float) -> None:
        """Answer now, or have the scheduler answer."""
        op = job.request.get("op")
        if op == "stack":
            self._guarded(self._stack, job)
            return
        if op == "waits":
            self._guarded(self._waits, job)
            return
        if op == "destination":
            job.done(destination_of(self._node))
            return
        if op in TaskAnswers.OPS:
            self._look(job, self._tasks.take, "its tasks are gone")
            return
        if op == CodeAnswers.OP:
            self._look(job, self._code.take, "its code is gone")
            return
        if op in self._lookers.ops:
            self._look_up(job)
            return
        if op in Profiles.OPS:
            if "command" not in job.request or self._is_first(job):
                self._guarded(self._profile, job)
            return
        if op == "untrace" and self._profiles.stop(_session(job)):
            job.done({})
            return
        handler = self._on_scheduler.get(op) if isinstance(op, str) else None
        if handler is None:
            job.done(Problem("unknown_verb", f"the service knows no op {str(op)[:50]!r}"))
            return
        if "command" in job.request and not self._is_first(job):
            return
        try:
            if not self._node.is_running:
                raise NodeDown("stopped")
            self._node.scheduler.call_soon_threadsafe(self._run, handler, job)
        except NodeDown:
            if job.claim():
                job.done(Problem("node_dead", "the node has stopped; what you see is its last picture"))
            return
        job.until = now + TAKE_S
        self._waiting.append(job)

    def _is_first(self, job: Job) -> bool:
        """Whether this op of a command is to be carried out; if not, its sender gets the answer that there was."""
        expires_at = job.request.get("expires_at")
        done = self._once.enter(
            f"{job.request['op']}:{job.request['command']}",
            float(expires_at) if isinstance(expires_at, (int, float)) else 0.0,
            job.done,
            lambda: Problem(
                "expired", "the node got to this command only after it had expired", "send it again"
            ),
            lambda: Problem("busy", "too many commands in the last minute", "try again later"),
        )
        if done is not None:
            job.done = done
        return done is not None

    def expire(self, now: float) -> None:
        """Tell those for whom the scheduler did not come in time."""
        if not self._waiting:
            return
        for job in [job for job in self._waiting if job.request.get("op") == "kill"]:
            if now > job.until - TAKE_S + HELD_KILL_S and self._end_step(job):
                self._waiting.remove(job)
        for job in [job for job in self._waiting if now > job.until]:
            self._waiting.remove(job)
            if job.claim():
                job.done(self._why_late())

    def _end_step(self, job: Job) -> bool:
        """End the agent's step from outside of the scheduler, if that is what holds the scheduler."""
        pid = _pid(job)
        self._ending = {thread for thread in self._ending if thread.is_alive()}
        if self._words.read().pid != pid or len(self._ending) >= MOST_ENDING or not job.claim():
            return False
        # In a thread of its own: this one must go on showing the probe that Python code runs.
        thread = threading.Thread(
            target=self._guarded, args=(self._interrupt, job), name="observe:kill", daemon=True
        )
        self._ending.add(thread)
        thread.start()
        return True

    def _interrupt(self, job: Job) -> None:
        began = time.monotonic()
        reason = line(job.request.get("reason") or "")
        outcome = self._node.control.interrupt(_pid(job), reason, END_STEP_S)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._node.loop.call_soon_threadsafe(self._emitter.hurry)
        job.done(
            {
                "done": outcome.done,
                "what": line(outcome.what),
                "pid": outcome.pid,
                "reason": line(outcome.reason or "killed"),
                "took_s": time.monotonic() - began,
            }
        )

    def _why_late(self) -> Problem:
        reading = self._words.read()
        held_s = (time.monotonic_ns() - reading.slice_ns) / 1e9
        if reading.pid and held_s > HELD_S:
            agent = self._node.agents.get(reading.pid)
            name = type(agent).__name__ if agent is not None else "agent"
            return Problem(
                "scheduler_held",
                f"{line(name)} {reading.pid} has held the scheduler for {held_s:.1f} s",
                "look at its stack; nothing else on the node runs meanwhile",
            )
        if (time.monotonic_ns() - reading.loop_ns) / 1e9 > HELD_S:
            return Problem(
                "scheduler_held", "code outside of agents holds the node's event loop", "look at the vitals"
            )
        return Problem("node_timeout", f"the node did not get to it within {TAKE_S:g} s", "try again")

    # -- on the scheduler's thread ----------------------------------------------------------------------------------

    def _run(self, handler: Callable[[Job], None], job: Job) -> None:
        if job.claim():
            self._guarded(handler, job)

    def _guarded(self, handler: Callable[[Job], None], job: Job) -> None:
        try:
            handler(job)
        except NoSuchAgent as error:
            job.done(
                Problem("no_such_agent", str(error), "it may just have ended; its name finds its successor")
            )
        except NoSuchTask as error:
            job.done(Problem("no_such_task", str(error), "`observe tasks` lists those that there are"))
        except Exception as error:  # noqa: BLE001  # the edge: what fails here is an answer, never a fault of the node
            job.done(Problem("internal", f"the node could not answer: {type(error).__name__}"))

    def _inspect(self, job: Job) -> None:
        agent = self._node.control.find(_pid(job))
        items = job.request.get("max_items")
        most = items if type(items) is int else 100
        done = job.done
        if job.request.get("locals") is True:
            more = self._locals.of(self._node.control.last_crash(agent))

            def done(detail: dict[str, Any] | Problem) -> None:
                job.done(detail | more if isinstance(detail, dict) else detail)

        if agent._o_away is not None:
            inspect_elsewhere(self._node, agent, agent._o_away, most, done)
        else:
            done(detail_map(self._node, agent, most))

    def _stack(self, job: Job) -> None:
        if job.request.get("pid") == 0:
            running = running_map(self._node)
            if running is not None:
                job.done(running)
                return
        agent = self._node.control.find(_pid(job))
        job.done(stack_map(agent, self._node.control.stack(agent)))

    def _waits(self, job: Job) -> None:
        """Who waits for whose reply, from these agents on. In the control thread: nothing is changed."""
        edges: dict[int, int] = {}
        pids = job.request.get("pids")
        for pid in pids if isinstance(pids, list) else []:
            while pid not in edges and len(edges) < MOST_EDGES:
                agent = self._node.agents.get(pid)
                target = waits_for_reply_of(agent) if agent is not None else None
                if target is None:
                    break
                edges[pid] = target.ref.pid
                pid = target.ref.pid
        job.done({"waits": [list(edge) for edge in edges.items()]})

    def _look(self, job: Job, take: Callable[..., None], gone: str) -> None:
        def fail(code: str, message: str, hint: str) -> None:
            job.done(Problem(code, line(message), hint))

        if self._node.is_running:
            take(job.request, job.done, fail)
        else:
            fail("node_dead", f"the node has stopped; {gone}", "")

    def _profile(self, job: Job) -> None:
        self._look(job, self._profiles.take, "nothing runs that could be looked at")

    def _look_up(self, job: Job) -> None:
        def fail(code: str, message: str, hint: str) -> None:
            job.done(Problem(code, line(message), hint))

        self._lookers.take(job.request, job.done, fail)

    def _tree(self, job: Job) -> None:
        job.done({"supervisors": [list(facts) for facts in self._node.control.supervisors()]})

    def _begin_resync(self, job: Job) -> None:
        self._emitter.resync()
        job.done({})

    def _act(self, job: Job) -> None:
        self._actions.take(str(job.request["op"]), job.request, *self._ends(job))

    def _reload(self, job: Job) -> None:
        self._reloads.take(job.request, *self._ends(job))

    def _ends(self, job: Job) -> tuple[Callable[[dict[str, Any]], None], Callable[[str, str, str], None]]:
        """Two ways in which an action can end."""
        where = Mentioned(self._node, job.request)

        def tell(acted: dict[str, Any]) -> None:
            self._emitter.hurry()  # whoever looks now should see what was done
            where.then(lambda trace: job.done(acted | trace))

        def fail(code: str, message: str, hint: str) -> None:
            job.done(Problem(code, line(message), hint))

        return tell, fail

    def _trace(self, job: Job) -> None:
        def fail(code: str, message: str, hint: str) -> None:
            job.done(Problem(code, line(message), hint))

        self._traces.take(job.request, job.done, fail)

    def end_traces(self) -> None:
        """The service stops. On the scheduler's thread."""
        self._profiles.end()
        self._traces.end()
        self._locals.end()

    def _kill(self, job: Job) -> None:
        began = time.monotonic()
        pid = _pid(job)
        agent = self._node.control.find(pid)
        label, step = agent._o_text(), agent._o_step
        where = Mentioned(self._node, job.request)
        outcome = self._node.control.kill(pid, line(job.request.get("reason") or ""))

        def look() -> None:
            took_s = time.monotonic() - began
            ended = not agent.ref.is_alive and pid not in self._node.agents
            if not ended and took_s < UNWIND_S:
                self._node.loop.call_later(UNWIND_LOOK_S, look)
                return
            what = outcome.what
            if ended and not outcome.done:
                # One that the runtime has given up: no cancellation ends it.
                goes_on = step is not None and getattr(step.coroutine, "cr_frame", None) is not None
                how = "did not end in {:.2f} s and goes on unseen" if goes_on else "took {:.2f} s to unwind"
                what = f"{label} was killed; its step {how.format(took_s)}"
            reason = outcome.reason or "killed"
            self._emitter.hurry()  # whoever looks now should see it dead, and its successor
            told = {"done": ended, "what": line(what), "pid": pid, "reason": line(reason), "took_s": took_s}
            where.then(lambda trace: job.done(told | trace))

        look()


def _session(job: Job) -> int:
    session = job.request.get("session")
    return session if type(session) is int else 0


def _pid(job: Job) -> int:
    pid = job.request.get("pid")
    return pid if type(pid) is int else 0
