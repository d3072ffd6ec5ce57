"""What is told of a change of the audit log's key, by the node and by whoever changes it in the files."""

from __future__ import annotations

from observe.audit.keyring import Rotation
from observe.probe.wire_audit import KeyRotated


def rotated_to(made: Rotation) -> KeyRotated:
    """What to tell of a rotation."""
    assert made.old is not None
    said = "the key was revoked" if made.why == "compromised" else "the key was changed"
    what = f"{said} at record {made.record}: {made.new.vkey} signs the log from here on"
    return KeyRotated(done=True, what=what, key=made.new.vkey, former=made.old.vkey, record=made.record)
