"""The service's side of `log`: the newest log records, masked and filtered. Needs no event loop."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any, Final

from observe.probe.describe_names import line
from observe.probe.far_log import FarLog
from observe.runtime.logring import TEXT, Logged, LogRing
from observe.runtime.node import Node
from observe.tracing.payload import clean_block

ANSWER_CHARACTERS: Final = 1_000_000
"""Of texts and tracebacks in one answer; what is left is told by the next one."""

_STYLED: Final = re.compile(r"\x1b\[[0-9;]*m")
"""Colours of a console renderer, such as structlog's."""


class LogAnswers:
    """Tells what a ring has kept. May be asked by several threads."""

    def __init__(self, node: Node, ring: LogRing) -> None:
        self._ring = ring
        self._far = FarLog(node, ring)
        self._masked: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()
        """Of readers among themselves; whoever logs never waits for it."""

    def page(self, request: dict[str, Any]) -> dict[str, Any]:
        """The records that are asked for."""
        self._far.fetch()
        with self._lock:
            return self._page(request)

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        kept = self._ring.kept()
        oldest, newest = (kept[0].number, kept[-1].number) if kept else (1, 0)
        for number in [number for number in self._masked if number < oldest]:
            del self._masked[number]
        after = request.get("after")
        if after is not None and after > newest:
            after = None  # of another start of the service
        found: list[dict[str, Any]] = []
        last, more, characters = newest, False, 0
        for one in reversed(kept) if after is None else kept[max(0, after + 1 - oldest) :]:
            if after is not None and one.number <= after:
                continue
            if not self._matches(one, request):
                continue
            if len(found) == request["limit"] or characters > ANSWER_CHARACTERS:
                more = True
                if after is not None:
                    last = found[-1]["number"]
                break
            found.append(self._told(one))
            characters += len(one.text) + len(one.traceback)
        counts = self._ring.statistics()
        return {
            "records": found[::-1] if after is None else found,
            "next": last,
            "more": more,
            "missed": max(0, oldest - 1 - after) if after is not None else 0,
            "kept": len(kept),
            "keep": counts["keep"],
            "total": newest,
            "lost": counts["untold"] + counts["unreadable"],
        }

    def _told(self, one: Logged) -> dict[str, Any]:
        told = self._masked.get(one.number)
        if told is None:
            told = self._masked[one.number] = record_map(one)
        return told

    def _matches(self, one: Logged, request: dict[str, Any]) -> bool:
        if one.level < logging.getLevelNamesMapping()[request["level"].upper()]:
            return False
        logger, agent, text = request["logger"], request.get("agent"), request["text"].casefold()
        if logger and one.logger != logger and not one.logger.startswith(f"{logger}."):
            return False
        if isinstance(agent, int) and one.pid != agent:
            return False
        if isinstance(agent, str) and (not one.pid or agent not in (one.agent, one.class_name, str(one.pid))):
            return False
        if not text:
            return True
        told = self._told(one)  # as it is told: a search must not find what is masked
        places = [told["text"], told["logger"], told["error"], told["traceback"], one.trace, one.span]
        places += [f"{name}={value}" for name, value in told["fields"].items()]
        return any(text in place.casefold() for place in places)


def record_map(one: Logged) -> dict[str, Any]:
    """A **log record** of the protocol."""
    return {
        "number": one.number,
        "at": one.at,
        "level": line(one.level_name),
        "severity": one.level,
        "logger": line(one.logger),
        "text": clean_block(_STYLED.sub("", one.text), TEXT),
        "pid": one.pid,
        "name": line(one.agent) if one.agent else None,
        "class": line(one.class_name),
        "task": line(one.task),
        "thread": line(one.thread),
        "worker": one.worker,
        "place": line(one.place),
        "fields": {line(name): line(f"{name}={value}").partition("=")[2] for name, value in one.fields},
        "trace": one.trace,
        "span": one.span,
        "error": line(one.error),
        "traceback": clean_block(one.traceback),
    }
