"""Acting on agents: who may, the question before, and nothing by one key alone."""

from __future__ import annotations

from observe.console.app_places import PlacesApp
from observe.console.format import clock
from observe.console.keys import find, permitted
from observe.console.node_view import CONTROL_S, Taken
from observe.console.state import Identity
from observe.console.widgets.control_dialog import ControlDialog
from observe.console.widgets.kill_dialog import KillDialog
from observe.console.widgets.kill_many_dialog import KillManyDialog

_KILL = find("agents", "kill")


class ActingApp(PlacesApp):
    """The questions before actions."""

    def action_control(self) -> None:
        """Take control, after saying why; give it back when it is ours."""
        node = self.node
        if node.readonly:
            self.say("attached read-only: leave out --read-only to take control", "warn")
        elif not permitted(_KILL, node.role, readonly=False):
            self.say(f"your key has the role {node.role}; acting takes operator", "warn")
        elif not node.only_looks:
            self._give_back("view mode again")
        else:
            self.push_screen(ControlDialog(node.name, node.clock() + CONTROL_S), self._take_control)

    def _take_control(self, reason: str | None) -> None:
        if reason is None:
            return
        until = self.node.clock() + CONTROL_S
        self.node.control = Taken(reason, until)
        self.show_node()
        self.say(f"you have control until {clock(until)}; W gives it back", "warn")

    def _give_back(self, text: str) -> None:
        self.node.control = None
        self.show_node()
        self.say(text)

    def end_control_in_time(self) -> None:
        """Called every second: control that is over is taken away, and that is said."""
        if self.node.control is not None and self.node.only_looks:
            self._give_back("control is over: view mode again; W takes it anew")

    def ask_to_kill(self, agent: Identity | None) -> None:
        """The question before a kill; for those who may not kill, why not."""
        if agent is not None and self._may_act():
            self.push_screen(KillDialog(agent, self.attachment, self._why))

    def ask_to_kill_many(self, agents: list[Identity]) -> None:
        """The question before several are killed."""
        if len(agents) == 1:
            self.ask_to_kill(agents[0])
        elif agents and self._may_act():
            self.push_screen(
                KillManyDialog(agents, self.attachment, self.node.name, self._why), self._killed_many
            )

    def _killed_many(self, _result: None) -> None:
        self.agents_page.action_unmark()

    @property
    def _why(self) -> str:
        return self.node.control.reason if self.node.control is not None else ""

    def _may_act(self) -> bool:
        """Whether this person may act now; if not, they are told why."""
        node = self.node
        if node.readonly:
            self.say("attached read-only: leave out --read-only to act on agents", "warn")
        elif not permitted(_KILL, node.role, readonly=False):
            self.say(f"your key has the role {node.role}; killing takes operator", "warn")
        elif node.only_looks:
            self.say("view mode: W takes control first", "warn")
        else:
            return True
        return False

    def ask_to_kill_pid(self, pid: int) -> None:
        """The same for an agent of which only the pid is at hand."""
        self.run_worker(self._ask_to_kill_pid(pid), group="visit", exclusive=True)

    async def _ask_to_kill_pid(self, pid: int) -> None:
        row = await self.attachment.row_of(Identity(pid, None, "", 0, ""))
        if row is None:
            self.say(f"#{pid} is not there any more", "warn")
        else:
            self.ask_to_kill(Identity.of(row))
