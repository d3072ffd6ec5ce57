"""The scout: looks up in the handbook what customers ask about, topic after topic, and notes what stands there.

It has a fault. A topic that the handbook says nothing about is looked up again, and again: it never gives up. Its budget
notices that it does the same for ever and isolates it, state and mailbox kept; a person gives it another topic and lets it
out. The tutorial does so.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from observe.examples.shop.sessions import Team
from observe.examples.shop.tools import ToolCall
from observe.runtime import Agent, ExitReason

LOOK: Final = "look"

TOPICS: Final = ("refund", "warranty", "invoice", "gift card", "address")
NOWHERE: Final = "left-handed teapots"
"""What the handbook does not know."""

MOST_NOTES: Final = 50


class Scout(Agent):
    """Reads the handbook for the desk."""

    audited = ("topic",)

    def init(self, team: Team) -> None:
        self.topic: str = TOPICS[0]
        self.topics: list[str] = [*TOPICS[1:], NOWHERE]
        self.tries = 0
        self.notes: dict[str, str] = {}
        self._team = team
        self._timer: asyncio.TimerHandle | None = None
        self._next_in(team.think_s / 2)

    async def handle(self, message: str) -> None:
        pause_s = self._team.think_s / 32
        try:
            title = await self._look_up()
            if title:
                self.mark_progress()
                self._note(title)
                pause_s = self._team.think_s / 2
        finally:
            self._next_in(pause_s)  # also when it may not: it goes on as soon as it may

    async def _look_up(self) -> str:
        """The title of an article about the topic; empty when there is none."""
        async with self.activity("tool:search", tool="search_documents", topic=self.topic):
            self.tries += 1
            call = ToolCall(f"scout/{self.ref.pid}/{self.tries}", "search_documents", {"query": self.topic})
            answer: dict[str, Any] = await self.node.ref("search-1").call(call, timeout=5.0)
        for document in answer["documents"]:
            if self.topic.lower() in f"{document['title']} {document['text']}".lower():
                return str(document["title"])
        return ""

    def _note(self, title: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes[self.topic] = title
        self.topics.append(self.topic)
        self.topic = self.topics.pop(0)

    def terminate(self, reason: ExitReason) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _next_in(self, seconds: float) -> None:
        ref = self.ref

        def wake() -> None:
            if ref.is_alive:
                ref.cast(LOOK)

        self._timer = self.node.loop.call_later(seconds, wake)
