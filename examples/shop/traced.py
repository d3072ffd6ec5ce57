"""The demo's spans, metrics and log records go to an OTLP backend when the environment names one, as for any service:

OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 observe demo
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from observe.runtime import Node

ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


@asynccontextmanager
async def traced(node: Node) -> AsyncIterator[None]:
    """Trace the node meanwhile, if there is somewhere to send it."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        yield
        return
    # Not above: OpenTelemetry takes a third of a second to load, and most demos do without.
    from observe.tracing import setup

    tracing = setup(node, logs=["observe.examples.shop"])
    try:
        yield
    finally:
        await asyncio.to_thread(tracing.shutdown)  # which may wait for the backend, for 3 s
