"""What the audit log raises."""


class AuditUnavailable(OSError):
    """The log cannot be written, so nothing that must be recorded may be done."""
