"""Tells the probe which spans are open, so that they can be ended when this process dies. On the scheduler's loop."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from observe.probe.outlet import Outlet
from observe.runtime.node import Node
from observe.tracing import open_spans

logger = logging.getLogger("observe.probe")

AT_ONCE: Final = 100
"""Spans told in one beat: about a millisecond."""


class SpanTeller:
    """Of one node. While nothing is traced, a beat costs one look-up."""

    def __init__(self, node: Node, outlet: Outlet, page: Path) -> None:
        """`page` is where ends are written down."""
        self._node = node
        self._outlet = outlet
        self._page = page
        self._spans: open_spans.OpenSpans | None = None
        self._waiting: dict[str, Any] | None = None
        """A frame that the socket did not take."""

    def begin_anew(self) -> None:
        """The probe has forgotten everything."""
        self._waiting = None
        if self._spans is not None:
            self._tell_again(self._spans)

    def beat(self) -> None:
        """Tell what is new."""
        spans = open_spans.of(self._node)
        if spans is None:
            return
        if spans is not self._spans:
            self._begin(spans)
        if self._waiting is not None and not self._offer(self._waiting):
            return
        opened, ended = spans.news(AT_ONCE)
        processes: dict[str, Any] = {}
        if spans.far is not None:
            more, ends, processes = spans.far.news(AT_ONCE)
            opened, ended = [*opened, *more], [*ended, *ends]
        if opened or ended:
            self._offer({"opened": opened, "ended": ended, "processes": processes})

    def _begin(self, spans: open_spans.OpenSpans) -> None:
        self._spans = spans
        try:
            self._page.unlink(missing_ok=True)
            spans.keep_ends(self._page)
        except OSError as error:  # without it a span that ended in the last moment may be ended twice
            logger.warning("ends of spans cannot be written down: %s", error)
        if spans.far is not None:
            spans.far.keep_ends(self._page)
        self._tell_again(spans)

    def _tell_again(self, spans: open_spans.OpenSpans) -> None:
        spans.begin_anew()
        if spans.far is not None:
            spans.far.begin_anew()
        self._waiting = self._introduction()

    def _introduction(self) -> dict[str, Any]:
        return {"opened": [], "ended": [], "resource": open_spans.resource_of(self._node)}

    def _offer(self, frame: dict[str, Any]) -> bool:
        self._waiting = None if self._outlet.offer("spans", frame) else frame
        return self._waiting is None
