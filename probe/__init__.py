"""The probe: makes a node observable, and the client that attaches to it.

    from observe.probe import Probe          # in a service
    from observe.probe import connect        # in a script

Names are loaded when first used: a service needs no client, and a client no runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from observe.probe.client import NodeClient, connect
    from observe.probe.embed import NodeNameTaken, Probe, ProbeNotStarted
    from observe.probe.escalation import Anchor, Escalation
    from observe.probe.metrics import Metrics
    from observe.probe.wire_table import Query

__all__ = [
    "Anchor",
    "Escalation",
    "Metrics",
    "NodeClient",
    "NodeNameTaken",
    "Probe",
    "ProbeNotStarted",
    "Query",
    "connect",
]

_HOMES: Final = {
    "Anchor": "observe.probe.escalation",
    "Escalation": "observe.probe.escalation",
    "Metrics": "observe.probe.metrics",
    "NodeClient": "observe.probe.client",
    "NodeNameTaken": "observe.probe.embed",
    "Probe": "observe.probe.embed",
    "ProbeNotStarted": "observe.probe.embed",
    "Query": "observe.probe.wire_table",
    "connect": "observe.probe.client",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
