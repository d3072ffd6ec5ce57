"""An audit log in memory, for the console's page: who took control and killed a session, and whom a reload was refused."""

from __future__ import annotations

from typing import Any

from observe.audit.record import Record
from observe.probe.wire_audit import AuditHead, AuditLines


def audit_line(seq: int, phase: str, what: str, reason: str = "", **more: Any) -> str:
    """A record as it stands in the log."""
    facts: dict[str, Any] = {
        "seq": seq, "phase": phase, "command_id": f"c{seq // 2}", "what": what, "target": {}, "reason": reason,
        "node": "shop@localhost", "incarnation": "one", "wall": 1_699_999_900.0 + seq, "monotonic": float(seq),
        "who": {"key": "0123456789abcdef", "name": "ann", "role": "operator", "user": "ann"},
    }  # fmt: skip
    return Record.model_validate(facts | more).line().decode()


def some_records() -> list[str]:
    """Ann took control and killed a session; Bob may not."""
    agent = {"pid": 7, "name": "session-4", "class": "Session", "agent": "session-4"}
    bob = {"key": "fedcba9876543210", "name": "bob", "role": "viewer", "user": "bob", "address": "10.0.0.7"}
    why = "stuck since 03:10"
    change = {"path": "step", "before": "3", "after": "4"}
    return [
        audit_line(1, "noted", "opened", target={"rule": "default", "sync": "each"}, command_id=""),
        audit_line(2, "requested", "control", why, target={"arguments": {"taken": True, "for_s": 900.0}}),
        audit_line(3, "completed", "control", why, outcome={"done": True, "what": "control taken for 900 s"}),
        audit_line(4, "requested", "kill", why, target=agent),
        audit_line(5, "completed", "kill", why, target=agent,
                   outcome={"done": True, "what": "session-4 #7 killed", "diff": [change]}),
        audit_line(6, "denied", "reload", who=bob, target={"modules": ["shop.prices"]},
                   outcome={"code": "not_authorised", "message": "reload takes the role admin"}),
    ]  # fmt: skip


class FakeAudit:
    """Mixed into the node."""

    audit_problem = ""
    audit_first = 1

    def _asked(self, verb: str, argument: Any = None) -> None: ...

    @property
    def audit(self) -> list[str]:
        """The lines of the log."""
        return self.__dict__.setdefault("_audit", some_records())  # type: ignore[no-any-return]  # its own, made when first asked for

    async def audit_head(self) -> AuditHead:
        self._asked("audit_head")
        return AuditHead(size=len(self.audit), first=self.audit_first, problem=self.audit_problem)

    async def audit_lines(self, start: int = 1, limit: int = 100) -> AuditLines:
        self._asked("audit", (start, limit))
        lines = self.audit[start - 1 : start - 1 + limit]
        return AuditLines(lines=lines, start=start, size=len(self.audit))
