"""Acting on agents: who may, the question before, and nothing by one key alone."""

from __future__ import annotations

from observe.console.app_places import PlacesApp
from observe.console.keys import find, permitted
from observe.console.state import Identity
from observe.console.widgets.kill_dialog import KillDialog

_KILL = find("agents", "kill")


class ActingApp(PlacesApp):
    """The questions before actions."""

    def ask_to_kill(self, agent: Identity | None) -> None:
        """The question before a kill; for those who may not kill, why not."""
        if agent is None:
            return
        if self.node.readonly:
            self.say("attached read-only: leave out --readonly to act on agents", "warn")
        elif not permitted(_KILL, self.node.role, readonly=False):
            self.say(f"your key has the role {self.node.role}; killing takes operator", "warn")
        else:
            self.push_screen(KillDialog(agent, self.attachment))

    def ask_to_kill_pid(self, pid: int) -> None:
        """The same for an agent of which only the pid is at hand."""
        self.run_worker(self._ask_to_kill_pid(pid), group="visit", exclusive=True)

    async def _ask_to_kill_pid(self, pid: int) -> None:
        row = await self.attachment.row_of(Identity(pid, None, "", 0, ""))
        if row is None:
            self.say(f"#{pid} is not there any more", "warn")
        else:
            self.ask_to_kill(Identity.of(row))
