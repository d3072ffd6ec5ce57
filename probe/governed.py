"""What was decided about agents, from the feed to the audit log: denials, containment, and all that monitored agents do.

Nobody has asked for these records, so they wait for nobody and keep nobody waiting. There are at most `MOST_A_SECOND`; how many were
left out stands in the next one.
"""

from __future__ import annotations

from typing import Final

from observe.audit.record import Phase, Who
from observe.probe.agent_records import AgentRecords
from observe.probe.frames import GovernedFrame

NEWS: Final = frozenset({"cap", "containment", "policies", "reload", "violation"})
"""What is an event without a verdict as well."""

MONITORED: Final = frozenset({"begin", "end", "handled", "send"})
"""What a monitored agent does, of which nothing was decided."""

ABOUT_WHO: Final = frozenset({"rule", "by_key", "by_name", "by_role"})
"""Facts of who has decided; they have fields of their own in the record."""

PHASES: Final[dict[str, Phase]] = {"deny": "denied", "failed": "failed"}

MOST_A_SECOND: Final = 500
"""An agent in a loop must not fill the disk with what it is denied; the log takes some 20,000 records a second."""


class GovernedRecords(AgentRecords):
    """Writes them. Belongs to the probe's loop."""

    most_a_second = MOST_A_SECOND
    complaint = "what was decided about agents could not be recorded"

    def take(self, frame: GovernedFrame) -> None:
        """Have it written, if there is room."""
        if not self._has_room():
            return
        target = self._about(
            **{"pid": frame.pid, "name": frame.name, "class": frame.class_name, "on": frame.on}
        )
        phase: Phase = PHASES.get(frame.verdict, "completed")
        if frame.what == "approval":  # asked and decided belong together, as the records of one command do
            phase = "requested" if frame.verdict in ("approve", "escalate") else phase
        who, outcome = _who(frame), _outcome(frame)
        self._scribe.write(
            phase,
            self._written,
            owed=True,
            command_id=frame.record,
            who=who,
            what=f"governed_{frame.what}",
            target=target,
            reason=frame.reason,
            incarnation=self._incarnation,
            outcome=outcome | ({"span": frame.span} if frame.span else {}),
            trace=frame.trace,
            control=False,
        )


def policy_of(frame: GovernedFrame) -> str:
    """The policy that has decided, or because of which somebody was asked."""
    return frame.facts.get("rule", frame.policy)


def _who(frame: GovernedFrame) -> Who:
    """The person who has decided, the policy, or the agent that does something while it is monitored."""
    facts = frame.facts
    if "by_role" in facts:
        return Who(key=facts.get("by_key", ""), name=facts.get("by_name", ""), role=facts["by_role"], user="")
    if frame.what in MONITORED and not frame.verdict:
        agent = f"{frame.name or frame.class_name} (pid {frame.pid})"
        return Who(key="", name=agent, role="agent", user="")
    return Who(key="", name=policy_of(frame) or frame.policy or "runtime", role="policy", user="")


def _outcome(frame: GovernedFrame) -> dict[str, str]:
    facts = {name: text for name, text in frame.facts.items() if name not in ABOUT_WHO}
    outcome = {"verdict": frame.verdict, "policy": policy_of(frame)} | facts
    if policy_of(frame) != frame.policy:
        outcome["by"] = frame.policy
    return outcome


def said(frame: GovernedFrame) -> str:
    """For people: `session-3 (pid 17): denied tool:refund by refunds: more than 100`."""
    if frame.what == "policies":
        return f"policies of {frame.on}: {frame.reason}"
    if frame.what == "reload":
        how = "could not be reloaded" if frame.verdict == "failed" else "reloaded"
        return f"{frame.on} {how} by {frame.policy}: {frame.reason}"
    who = f"{frame.name or frame.class_name} (pid {frame.pid})"
    why = f": {frame.reason}" if frame.reason else ""
    by = f" by {frame.policy}" if frame.policy else ""
    if frame.what == "containment":
        return f"{who} is contained: {frame.on}{by}{why}"
    if frame.what == "cap":
        return f"{who} spends{by}{why}"
    if frame.what == "violation":
        return f"{who} deviates{by}{why}"
    word = {"deny": "denied", "allow": "allowed", "approve": "waits for approval of"}.get(
        frame.verdict, frame.what
    )
    return f"{who}: {word} {frame.on}{by}{why}"
