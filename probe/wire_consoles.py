"""The verb `consoles`: who is attached to the node, what they watch and what was left out for them."""

from __future__ import annotations

from observe.probe.wire_base import Told


class ConsoleLine(Told):
    """One connection that has said hello: a console, a command or a script."""

    name: str
    """Whose key it is."""
    role: str
    key: str
    """Fingerprint, as in the audit log."""
    program: str
    """What it calls itself."""
    attached_s: float
    silent_s: float
    """Since its last request or credit. Long and with watches open: it has stopped, or cannot keep up."""
    watches: list[str]
    """What it watches: `agents`, `events`, `vitals`."""
    credit: int
    """Pushes that it would still take, over all its watches."""
    waiting: int
    """Events that wait for its credit."""
    dropped: int
    """Events and pictures left out for its open watches so far, because it gave no credit in time."""


class Consoles(Told):
    """The result of `consoles`."""

    consoles: list[ConsoleLine]
    """The longest attached first."""
    dropped: int
    """Left out for all of them together."""
    bad_frames: int
    """Frames that could not be read, since the probe began."""
    turned_away: int
    """Connections whose key was not accepted, or that did not finish the key exchange."""
