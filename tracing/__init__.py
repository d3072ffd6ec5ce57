"""Tracing: what crosses the wire of agents' values, and spans, metrics and logs for any OTLP backend.

Importing this loads no OpenTelemetry; `setup` does (docs/tracing.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from observe.tracing.export import Tracing, setup

__all__ = ["Tracing", "setup"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from observe.tracing import export

        return getattr(export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
