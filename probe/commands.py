"""Commands: whatever changes something on the node. Checked, recorded, carried out once, recorded again.

ZeroMQ delivers yesterday's `kill` to a node that has restarted since, and a client that heard nothing asks twice. So a
command names the incarnation that it is meant for, an expiry and a unique id:

    seen before?  -->  its first answer again, or the same answer once there is one
    no record can be written?  -->  refused
    wrong role, incarnation, too late  -->  recorded and refused
    otherwise  -->  recorded, carried out, its outcome recorded, answered

Records are written by the scribe's thread: a disk that takes its time delays the command and nothing else. A probe that
is killed between a command and its answer forgets the id; the service that carried it out does not (`once.py`).

Times are the server's clock, which `hello` gives to clients.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from observe.audit.errors import AuditUnavailable
from observe.audit.plain import Rule
from observe.audit.record import Phase, Who
from observe.probe.attach_records import AttachRecords
from observe.probe.audit_rule import MaskingRule, with_arguments
from observe.probe.errors import Refusal
from observe.probe.introduction import local_user
from observe.probe.keys import KeyHolder
from observe.probe.scribe import Scribe, Then
from observe.probe.wire import HelloArgs
from observe.probe.wire_base import COMMAND_HORIZON_S, Command

logger = logging.getLogger("observe.probe")

MAX_REMEMBERED: Final = 4096
"""Command ids remembered. Beyond it commands are refused as `busy`, since forgetting one that has not expired could
carry it out twice."""

KEPT_S: Final = 600.0
"""While there is room, an answer is kept for ten minutes after its command has expired: a console that was away for a while may
ask again, with a later expiry. Two kilobytes a command, so not for as long as there is room."""

LOOKED_AT: Final = 8
"""With each new command, and each new look, so many of the oldest are looked at, whether they may be forgotten."""

DENIALS_PER_MINUTE: Final = 60
"""Denied commands recorded for one key in a minute; more are refused as `busy`, so that nobody fills the disk."""

VIEW_S: Final = 600.0
"""An agent that is looked at again within ten minutes is no news: an open page asks every second."""

MAX_LOOKERS: Final = 4096
"""Keys with an address, and agents that they look at, which are remembered for that."""

EVERY_VERB: Final = "*"
"""In `reason_for`: all commands."""

Answer = dict[str, Any] | Refusal
Done = Callable[[Answer], None]
Behalf = Callable[[str, float], AbstractContextManager[object]]
"""Called with a command's key and its expiry: what is asked of the service within bears both."""


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

    def __init__(
        self,
        scribe: Scribe,
        incarnation: str,
        behalf: Behalf = lambda _key, _expires_at: nullcontext(),
        wall: Callable[[], float] = time.time,
        reason_for: Collection[str] = (),
        rule: Rule | None = None,
    ) -> None:
        """`reason_for`: verbs that are refused without a reason; `*` for all. `rule`: by which the log masks, too."""
        self.scribe = scribe
        self._rule: Rule = rule or MaskingRule()
        self._reason_for = frozenset(reason_for)
        self._incarnation = incarnation
        self._behalf = behalf
        self._wall = wall
        self._user = local_user()
        self.address = ""
        """From where the request in hand came."""
        self.attaches = AttachRecords(scribe, incarnation, wall)
        self._lookers: dict[tuple[str, str, str, str], tuple[float, int]] = {}
        self._seen: OrderedDict[tuple[str, str], Remembered] = OrderedDict()
        self._denials: dict[str, deque[float]] = {}

    def statistics(self) -> dict[str, int]:
        """How many commands are remembered, how many of them are being carried out, and how many looks are remembered."""
        running = sum(1 for one in self._seen.values() if one.answer is None)
        return {"remembered": len(self._seen), "running": running, "looks": len(self._lookers)}

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
        def write(phase: Phase, then: Then, outcome: dict[str, Any] | None = None) -> None:
            self.scribe.write(
                phase,
                then,
                command_id=command.command_id,
                who=who,
                what=verb,
                target=with_arguments(target, command, self._rule),
                reason=command.reason,
                incarnation=command.incarnation,
                outcome=outcome,
                trace=str((outcome or {}).get("trace", "")),
                owed=phase != "requested",
            )

        who = self._who(holder)  # here and now: the address is that of the request in hand
        problem = self._problem(verb, command, holder, now)
        if problem is not None:
            self._limit_denials(holder.key, now)
            self._deny(problem, write, done)
            return
        if not self._make_room(now):
            raise Refusal("busy", "too many commands in the last half minute", "try again later")
        remembered = self._seen[key] = Remembered(fingerprint, command.expires_at, waiting=[done])

        def tell(answer: Answer) -> None:
            waiting, remembered.waiting = remembered.waiting, []
            for one in waiting:
                one(answer)

        def refuse(why: Refusal) -> None:
            del self._seen[key]  # it was not carried out, so the same id may come again
            tell(why)

        def recorded(written: object) -> None:
            if isinstance(written, AuditUnavailable):
                refuse(_unrecorded(written))
                return
            late = self._problem(verb, command, holder, self._wall())
            if late is not None:  # the disk took longer than the command may live
                self._write_denial(late, write, lambda: refuse(late))
                return
            with self._behalf(f"{holder.fingerprint}:{command.command_id}", command.expires_at):
                carry_out(finish)

        is_finished = False

        def finish(answer: Answer) -> None:
            nonlocal is_finished
            phase: Phase = "completed"
            if isinstance(answer, Refusal) or not answer.get("done", True):
                phase = "failed"
            # A second answer came after the time-out, which was recorded as a failure: the log gets the truth as well.
            outcome = _outcome_of(answer) | ({"late": True} if is_finished else {})
            is_finished = True

            def answered(written: object) -> None:
                if isinstance(written, AuditUnavailable):
                    # It is done and its intent is on record; saying otherwise would be worse.
                    logger.error(
                        "the outcome of %s could not be recorded yet: %s", command.command_id, written
                    )
                remembered.answer = answer
                tell(answer)

            write(phase, answered, outcome)

        write("requested", recorded)

    def _deny(self, problem: Refusal, write: Callable[..., None], done: Done) -> None:
        def requested(written: object) -> None:
            if isinstance(written, AuditUnavailable):
                done(_unrecorded(written))
            else:
                self._write_denial(problem, write, lambda: done(problem))

        write("requested", requested)

    def _write_denial(self, problem: Refusal, write: Callable[..., None], then: Callable[[], None]) -> None:
        def denied(written: object) -> None:
            if isinstance(written, AuditUnavailable):
                logger.error("a denial could not be recorded yet: %s", written)
            then()

        write("expired" if problem.code == "expired" else "denied", denied, _outcome_of(problem))

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
        if not command.reason.strip() and self._reason_for & {verb, EVERY_VERB}:
            return Refusal(
                "refused",
                f"this node wants to know why before it does `{verb}`: nothing was done",
                'say it with --reason "…"',
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
        is_full = len(self._seen) >= MAX_REMEMBERED
        kept_s = 0.0 if is_full else KEPT_S
        for key, one in list(islice(self._seen.items(), None if is_full else LOOKED_AT)):
            if one.answer is not None and one.expires_at + kept_s < now:
                del self._seen[key]
            else:
                self._seen.move_to_end(key)  # so that those behind it have their turn
        return len(self._seen) < MAX_REMEMBERED

    def attached(self, holder: KeyHolder, args: HelloArgs, by_card: bool, now: float) -> None:
        """Record that somebody has attached; `by_card`: with the key on the node's own card."""
        self.attaches.take(holder, self._who(holder), args, by_card, now)

    def viewed(self, verb: str, holder: KeyHolder, target: dict[str, Any], now: float) -> None:
        """Record that somebody was shown the state of an agent, masked as it is: at most once in `VIEW_S` for one key, address and
        agent. It keeps nobody waiting, and nobody out when it cannot be written."""
        key = (holder.key, self.address, verb, str(target.get("pid", "")))
        since, times = self._lookers.pop(key, (float("-inf"), 0))
        if now - since < VIEW_S:
            self._lookers[key] = (since, times + 1)
            return
        for looker, (first, _) in list(islice(self._lookers.items(), LOOKED_AT)):
            if now - first >= VIEW_S:
                del self._lookers[looker]
        if len(self._lookers) >= MAX_LOOKERS:
            del self._lookers[next(iter(self._lookers))]  # forgotten, so recorded again if it comes back
        self._lookers[key] = (now, 0)
        self.scribe.write(
            "completed",
            _unheard,
            command_id="",
            who=self._who(holder),
            what=verb,
            target=target | ({"more_since": times} if times else {}),
            reason="",
            incarnation=self._incarnation,
            owed=True,
        )

    def _who(self, holder: KeyHolder) -> Who:
        return Who(
            key=holder.fingerprint,
            name=holder.name,
            role=holder.role,
            user=self._user,
            address=self.address,
        )


def _unheard(written: object) -> None:
    """Nobody waits for this one."""
    if isinstance(written, AuditUnavailable):
        logger.error("a look at the node could not be recorded: %s", written)


def _unrecorded(error: AuditUnavailable) -> Refusal:
    return Refusal(
        "refused",
        f"nothing was done, because it could not be recorded: {error}",
        "free space on that disk or make the file writable, then try again",
    )


def _outcome_of(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Refusal):
        return {"code": answer.code, "message": answer.message}
    return answer
