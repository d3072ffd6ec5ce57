"""Once a second: the vital signs of the node and its processes are measured, kept, and noted in recordings."""

from __future__ import annotations

import os
import time
from typing import Final

from observe.probe.codec import encode
from observe.probe.coroner import Coroner
from observe.probe.node_watch import NodeWatch
from observe.probe.own_use import OwnUse
from observe.probe.picture import Picture, monotonic_us
from observe.probe.recording import SAMPLE
from observe.probe.recordings import Recordings

SAMPLE_S: Final = 1.0


class Sampler:
    """Belongs to the server's thread."""

    def __init__(self, picture: Picture, watch: NodeWatch, coroner: Coroner, recordings: Recordings) -> None:
        self._picture = picture
        self._watch = watch
        self._coroner = coroner
        self._recordings = recordings
        self._own_use = OwnUse(is_thread=watch.pid == os.getpid())

    def sample(self) -> float:
        """Measure and keep. Returns for which time, as the picture tells it."""
        picture = self._picture
        measured = self._watch.measure()
        if measured is not None:
            picture.vitals.memory, picture.vitals.cpu = measured
            self._coroner.look()
        picture.processes.measure()
        picture.vitals.probe_cpu = self._own_use.measure(time.monotonic())
        picture.table.rotate(monotonic_us())
        picture.table.strings.prepare()
        at = picture.wall(monotonic_us())
        picture.vitals.sample(at, picture.state, len(picture.table), picture.held)
        if self._recordings:
            held = picture.held.to_wire() if picture.held is not None else None
            facts = {"memory": picture.vitals.memory, "cpu": picture.vitals.cpu, "held": held}
            self._recordings.note(SAMPLE, encode(facts))
        return at
