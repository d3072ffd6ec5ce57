"""Commands: whatever changes something on the node. Checked, recorded, carried out once, recorded again.

ZeroMQ delivers yesterday's `kill` to a node that has restarted since, and a client that heard nothing asks twice. So a
command names the incarnation that it is meant for, an expiry and a unique id:

    seen before?  -->  its first answer again, or the same answer once there is one
    no record can be written?  -->  refused
    wrong role, incarnation, too late  -->  recorded and refused
    otherwise  -->  recorded, carried out, its outcome recorded, answered

Times are the server's clock, which `hello` gives to clients.
"""

from __future__ import annotations

import getpass
import logging
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from observe.audit.log import AuditLog, AuditUnavailable
from observe.audit.record import Phase, Who
from observe.probe.errors import Refusal
from observe.probe.keys import KeyHolder
from observe.probe.wire_base import COMMAND_HORIZON_S, Command

logger = logging.getLogger("observe.probe")

MAX_REMEMBERED: Final = 4096
"""Command ids remembered. Beyond it commands are refused as `busy`, since forgetting one that has not expired could
carry it out twice."""

DENIALS_PER_MINUTE: Final = 60
"""Denied commands recorded for one key in a minute; more are refused as `busy`, so that nobody fills the disk."""

Answer = dict[str, Any] | Refusal
Done = Callable[[Answer], None]


@dataclass(slots=True)
class Remembered:
    """A command that was accepted."""

    fingerprint: tuple[object, ...]
    """What it asked for and who did: the same id for something else is a mistake."""
    expires_at: float
    answer: Answer | None = None
    """None while it is being carried out."""
    waiting: list[Done] = field(default_factory=list)


class CommandGate:
    """Lets commands through at most once each, and never without a record."""

    def __init__(self, audit: AuditLog | None, incarnation: str) -> None:
        """`audit` None: the log could not be opened, and every command is refused."""
        self._audit = audit
        self._incarnation = incarnation
        self._user = local_user()
        self._seen: OrderedDict[tuple[str, str], Remembered] = OrderedDict()
        self._denials: dict[str, deque[float]] = {}

    def statistics(self) -> dict[str, int]:
        """How many commands are remembered, and how many of them are being carried out."""
        running = sum(1 for one in self._seen.values() if one.answer is None)
        return {"remembered": len(self._seen), "running": running}

    def submit(
        self,
        verb: str,
        command: Command,
        holder: KeyHolder,
        target: dict[str, Any],
        now: float,
        carry_out: Callable[[Done], None],
        done: Done,
    ) -> None:
        """Take a command through all checks; `done` gets its answer, at once or later, exactly once.

        `carry_out` starts it and must call what it is given when it has an answer; and again, if it gave up waiting and
        then the true answer came.
        """
        asked = {name: part for name, part in command.to_wire().items() if name != "expires_at"}
        fingerprint = (verb, *sorted(asked.items()))  # a repetition may well expire later
        key = (holder.key, command.command_id)
        seen = self._seen.get(key)
        if seen is not None:
            if seen.fingerprint != fingerprint:
                done(
                    Refusal(
                        "bad_request", "args.command_id: it was used for another command", "use a new one"
                    )
                )
            elif seen.answer is None:
                seen.waiting.append(done)
            else:
                done(seen.answer)
            return
        try:
            self._start(verb, command, holder, target, now, key, fingerprint, carry_out, done)
        except Refusal as refusal:
            done(refusal)

    def _start(
        self,
        verb: str,
        command: Command,
        holder: KeyHolder,
        target: dict[str, Any],
        now: float,
        key: tuple[str, str],
        fingerprint: tuple[object, ...],
        carry_out: Callable[[Done], None],
        done: Done,
    ) -> None:
        def write(phase: Phase, outcome: dict[str, Any] | None = None) -> None:
            if self._audit is None:
                raise AuditUnavailable("the audit log could not be opened")
            self._audit.append(
                phase,
                command_id=command.command_id,
                who=self._who(holder),
                what=verb,
                target=target,
                reason=command.reason,
                incarnation=command.incarnation,
                outcome=outcome,
            )

        problem = self._problem(verb, command, holder, now)
        if problem is not None:
            self._limit_denials(holder.key, now)
        elif not self._make_room(now):
            raise Refusal("busy", "too many commands in the last half minute", "try again later")
        try:
            write("requested")
            if problem is not None:
                write("expired" if problem.code == "expired" else "denied", _outcome_of(problem))
        except AuditUnavailable as error:
            raise Refusal(
                "refused",
                f"nothing was done, because it could not be recorded: {error}",
                "free space on that disk or make the file writable, then try again",
            ) from error
        if problem is not None:
            raise problem
        remembered = self._seen[key] = Remembered(fingerprint, command.expires_at, waiting=[done])

        def finish(answer: Answer) -> None:
            phase: Phase = "completed"
            if isinstance(answer, Refusal) or not answer.get("done", True):
                phase = "failed"
            # A second answer came after the time-out, which was recorded as a failure: the log gets the truth as well.
            outcome = _outcome_of(answer) | ({} if remembered.answer is None else {"late": True})
            try:
                write(phase, outcome)
            except (
                AuditUnavailable
            ):  # it is done and its intent is on record; saying otherwise would be worse
                logger.exception("the outcome of command %s could not be recorded", command.command_id)
            remembered.answer = answer
            waiting, remembered.waiting = remembered.waiting, []
            for one in waiting:
                one(answer)

        carry_out(finish)

    def _problem(self, verb: str, command: Command, holder: KeyHolder, now: float) -> Refusal | None:
        if not holder.may(verb):
            return Refusal(
                "forbidden",
                f"your key has the role {holder.role}, which may not {verb}",
                "ask for another role",
            )
        if command.incarnation != self._incarnation:
            return Refusal(
                "stale",
                "this command was meant for an earlier start of the node, which has restarted since",
                "look again before you repeat it",
            )
        if command.expires_at < now:
            late_s = now - command.expires_at
            return Refusal("expired", f"this command came {late_s:.1f} s after it expired", "send it again")
        if command.expires_at > now + COMMAND_HORIZON_S:
            return Refusal(
                "bad_request",
                f"args.expires_at: more than {COMMAND_HORIZON_S:g} s ahead of the server's clock",
                "count from `now` of the reply to hello",
            )
        return None

    def _limit_denials(self, key: str, now: float) -> None:
        times = self._denials.setdefault(key, deque())
        while times and times[0] < now - 60:
            times.popleft()
        if len(times) >= DENIALS_PER_MINUTE:
            raise Refusal("busy", "too many commands of this key were denied", "try again in a minute")
        times.append(now)

    def _make_room(self, now: float) -> bool:
        """Forget commands that could not be accepted again anyway."""
        for key, one in list(self._seen.items()):
            if len(self._seen) < MAX_REMEMBERED:
                break
            if one.answer is not None and one.expires_at < now:
                del self._seen[key]
        return len(self._seen) < MAX_REMEMBERED

    def _who(self, holder: KeyHolder) -> Who:
        return Who(key=holder.fingerprint, name=holder.name, role=holder.role, user=self._user)


def _outcome_of(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Refusal):
        return {"code": answer.code, "message": answer.message}
    return answer


def local_user() -> str:
    """The user for whom this process runs."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers
        return str(os.geteuid())
