"""Lets the node's figures out at intervals: makes them on the probe's loop, and hands them to the threads that send them.

OpenTelemetry is loaded only by a probe that is asked for metrics. What cannot be served (the port may still be another
process's) is told once, and tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from observe.probe.metering import METRICS, Meter, resource_of
from observe.probe.metrics import Metrics
from observe.probe.picture import Picture
from observe.probe.standing import Standing

if TYPE_CHECKING:
    from observe.tracing.metrics import MetricsOut

logger = logging.getLogger("observe.probe")

FRESH_S: Final = 5.0
"""Figures are made anew at least so often, for those who come for them."""

RETRY_S: Final = 5.0


class MetricsLink:
    """The probe's end of it. Belongs to the probe's loop."""

    def __init__(
        self, settings: Metrics, picture: Picture, standing: Standing, tell: Callable[[str], None]
    ) -> None:
        """`tell` takes a line about what went wrong, for people."""
        self._settings = settings
        self._picture = picture
        self._standing = standing
        self._tell = tell
        self._meter = Meter(settings)
        self._out: MetricsOut | None = None
        self._due = 0.0
        self._told = ""
        self._is_closed = False

    def look(self, now: float) -> None:
        """Make the figures anew when it is time."""
        if now < self._due or self._is_closed:
            return
        if self._out is None and not self._open():
            self._due = now + RETRY_S
            return
        assert self._out is not None
        self._due = now + min(self._settings.every_s, FRESH_S)
        self._out.tell(self._meter.read(self._picture, self._standing.counts()))

    def close(self) -> None:
        """Let the last figures out. Doing so twice has no effect."""
        self._is_closed = True
        out, self._out = self._out, None
        if out is not None:
            out.tell(self._meter.read(self._picture, self._standing.counts()))
            out.close()

    def _open(self) -> bool:
        from observe.tracing.errors import BadSetting
        from observe.tracing.metrics import MetricsOut

        settings = self._settings
        try:
            self._out = MetricsOut(
                METRICS, resource_of(self._picture), otlp=settings.otlp, prometheus=settings.prometheus,
                every_s=settings.every_s,
            )  # fmt: skip
        except (BadSetting, OSError) as error:
            text = f"the metrics cannot be let out: {error}"
            if text != self._told:
                self._told = text
                logger.error("%s", text)
                self._tell(text)
            return False
        return True
