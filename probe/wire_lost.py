"""What was left out on a node's way to those who look at it, and on the way of its spans: nothing is dropped silently."""

from __future__ import annotations

from pydantic import Field

from observe.probe.wire_base import Told


class SpanAccount(Told):
    """Where the spans of the node and its workers are: `started` is the sum of all others."""

    started: int
    open: int
    waiting: int
    """For their turn to be sent, or on their way."""
    exported: int
    dropped: dict[str, int] = Field(default_factory=dict)
    """By reason, those of none left out: `queue_full`, `export_failed`, `shutdown`, `worker_death`."""


class Lost(Told):
    """Totals since the node started; those of the probe since the probe did."""

    telemetry: int
    """Frames that the probe did not take in time. Each time it was told everything anew: the table is right all the same."""
    facts: int
    """Crashes, restarts and reports that nobody was told, because too many came or there was no probe."""
    consoles: int
    """Events and pictures left out for consoles that gave no credit in time, this one and those that are gone included."""
    traced: int
    """Events of trace sessions beyond their rate, or that their console did not take."""
    records: int
    """What the flight recorder could not write."""
    spans: SpanAccount | None = None
    """None: it makes no spans, or is of an earlier version."""
