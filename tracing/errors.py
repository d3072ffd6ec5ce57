"""What tracing raises.

TracingFault
 +-- BadSetting      an argument or an OTEL_* variable makes no sense (also a ValueError)
 +-- BadSelector     of a trace session: it selects nothing, or cannot be read (also a ValueError)
 +-- BadCondition    of a trace session: it cannot be read, or names what there is not (also a ValueError)
"""

from __future__ import annotations


class TracingFault(Exception):
    """Tracing could not do what it was asked to."""


class BadSetting(TracingFault, ValueError):
    """An argument or an environment variable has a value that cannot be used."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name} is {value!r}; it must be {expected}")
        self.name = name
        self.value = value


class BadSelector(TracingFault, ValueError):
    """What says which agents to trace cannot be read, or selects too many."""


class BadCondition(TracingFault, ValueError):
    """An expression that cannot be read, or names what there is not."""
