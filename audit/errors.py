"""What the audit log raises."""


class AuditUnavailable(OSError):
    """The log cannot be written, so nothing that must be recorded may be done."""


class AuditDelayed(AuditUnavailable):
    """The log cannot be written now. The record tells what has happened already, and is written as soon as it can be."""
