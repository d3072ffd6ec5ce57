"""Acting on agents: who may, the question before, and nothing by one key alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from observe.console.app_places import PlacesApp
from observe.console.control import CONTROL_S, NOT_YET, Taken
from observe.console.deeds import BY_ID, DEEDS, Deed, do
from observe.console.format import clock, plural
from observe.console.keys import find, permitted
from observe.console.pages.traces import TracesPage
from observe.console.state import Identity
from observe.console.trace_asked import selector_of
from observe.console.widgets.cancel_dialog import CancelDialog, ResendDialog
from observe.console.widgets.control_dialog import ControlDialog
from observe.console.widgets.deed_dialog import DeedDialog
from observe.console.widgets.deed_menu import DeedMenu
from observe.console.widgets.deeds_dialog import DeedsDialog
from observe.console.widgets.reload_dialog import ReloadDialog
from observe.console.widgets.trace_dialog import SEVERAL, TraceDialog
from observe.probe.errors import AttachError, RemoteError
from observe.probe.wire_letters import DeadLetterLine
from observe.probe.wire_tasks import TaskLine

_LEAST = find("agent", "kill")
"""Whoever may do this may act."""


class ActingApp(PlacesApp):
    """The questions before actions."""

    def action_control(self) -> None:
        """Take control, after saying why; give it back when it is ours."""
        node = self.node
        if node.readonly:
            self.say("attached read-only: leave out --read-only to take control", "warn")
        elif not node.role:
            self.say(NOT_YET, "warn")
        elif not permitted(_LEAST, node.role, readonly=False):
            self.say(f"your key has the role {node.role}; acting takes operator", "warn")
        elif not node.only_looks:
            self._give_back("view mode again")
        else:
            self.push_screen(ControlDialog(node.name, node.clock() + CONTROL_S), self._take_control)

    def _take_control(self, reason: str | None) -> None:
        if reason is not None:
            self.run_worker(self._record_and_take(reason), group="control", exclusive=True)

    async def _record_and_take(self, reason: str) -> None:
        """Control that cannot be put on record is not taken; a node that does not know of it has each action on record."""
        client = self.attachment.node
        try:
            if client is not None:
                await client.control(taken=True, for_s=CONTROL_S, reason=reason)
        except AttachError as error:
            if not isinstance(error, RemoteError) or error.code != "unknown_verb":
                self.say(f"control not taken: {error}", "bad")
                return
        until = self.node.clock() + CONTROL_S
        self.node.control = Taken(reason, until)
        self.show_node()
        self.say(f"you have control until {clock(until)}; W gives it back", "warn")

    def _give_back(self, text: str) -> None:
        taken, self.node.control = self.node.control, None
        if taken is not None:
            self.run_worker(self._record_back(taken.reason), group="control")
        self.show_node()
        self.say(text)

    async def _record_back(self, reason: str) -> None:
        client = self.attachment.node
        with contextlib.suppress(AttachError):  # it was given back, whether that can be written or not
            if client is not None:
                await client.control(taken=False, reason=reason)

    def end_control_in_time(self) -> None:
        """Called every second: control that is over is taken away, and that is said."""
        if self.node.control is not None and self.node.only_looks:
            self._give_back("control is over: view mode again; W takes it anew")

    # -- acting

    def why_not(self, deed: Deed) -> str:
        """Why this may not be done now; empty when it may."""
        return self.node.why_not(find("agent", deed.id), deed.doing)

    def action_deeds(self) -> None:
        """A list of all that can be done, and why the rest cannot."""
        nobody = self.page.nobody() if not self.page.targets() else ""
        refused = {deed.id: self.why_not(deed) or ("" if deed.on_node else nobody) for deed in DEEDS}
        several = len(self.page.targets()) > 1
        for deed in DEEDS:
            if several and not deed.several:
                refused[deed.id] = refused[deed.id] or "only to one agent at a time"
        count = plural(len(self.page.targets()), "agent")
        self.push_screen(
            DeedMenu(f"Act on {count}", {key: why for key, why in refused.items() if why}), self._picked
        )

    def _picked(self, deed: str | None) -> None:
        if deed is not None:
            self.action_act(deed)

    def action_act(self, deed_id: str) -> None:
        """Do something to the agent on the line or to all marked ones, after the question that belongs to it."""
        deed = BY_ID[deed_id]
        refused = self.why_not(deed)
        targets = [] if deed.on_node else self.page.targets()
        if refused:
            self.say(refused, "warn")
        elif deed.on_node:
            self.push_screen(DeedDialog(deed, None, self.attachment, self.node.name, self._why))
        elif not targets:
            self.say(self.page.nobody(), "warn")
        elif all(isinstance(one, Identity) for one in targets):
            self._ask(deed, [one for one in targets if isinstance(one, Identity)])
        else:
            self.run_worker(self._ask_by_pid(deed, targets), group="visit", exclusive=True)

    async def _ask_by_pid(self, deed: Deed, targets: Sequence[Identity | int]) -> None:
        agents: list[Identity] = []
        for one in targets:
            if isinstance(one, int):
                row = await self.attachment.row_of(Identity(one, None, "", 0, ""))
                if row is None:
                    self.say(f"#{one} is not there any more", "warn")
                    return
                one = Identity.of(row)
            agents.append(one)
        self._ask(deed, agents)

    def _ask(self, deed: Deed, agents: Sequence[Identity]) -> None:
        prefilled: Mapping[str, str] = self.page.prefilled(deed)
        if not deed.asks and not deed.wants:
            self.run_worker(self._do_at_once(deed, agents), group=deed.id)
        elif len(agents) == 1:
            dialog = DeedDialog(deed, agents[0], self.attachment, self.node.name, self._why, prefilled)
            self.push_screen(dialog)
        elif not deed.several:
            self.say(f"{deed.doing} is for one agent at a time: U takes the marks away", "warn")
        else:
            many = DeedsDialog(deed, agents, self.attachment, self.node.name, self._why, prefilled)
            self.push_screen(many, self._done_to_many)

    async def _do_at_once(self, deed: Deed, agents: Sequence[Identity]) -> None:
        """What can do no harm is done without a question, and its outcome told."""
        node = self.attachment.node
        done, failed, last = 0, "", ""
        for agent in agents:
            if node is None:
                return
            try:
                outcome = await do(node, deed, agent.pid, {}, self._why)
            except AttachError as error:
                failed = failed or str(error)
            else:
                done += outcome.done
                last = outcome.what
                failed = failed or ("" if outcome.done else outcome.what)
        text = last if len(agents) == 1 and not failed else f"{done:,} of {len(agents):,} {deed.done}"
        self.say(
            f"{text}; {failed}" if failed and len(agents) > 1 else failed or text, "bad" if failed else "good"
        )
        self.attachment.rows.wake()

    def ask_to_cancel(self, task: TaskLine) -> None:
        """The question before an asyncio task is cancelled; for those who may not, why not."""
        refused = self.why_not(BY_ID["kill"])
        if refused:
            self.say(refused, "warn")
        else:
            self.push_screen(CancelDialog(task, self.attachment, self._why))

    def ask_to_reload(
        self, modules: Sequence[str], *, rollback: bool, done: Callable[[bool | None], None]
    ) -> None:
        """The question before code is reloaded, or a reload undone; for those who may not, why not."""
        refused = self.why_not(BY_ID["edit"])
        if refused:
            self.say(refused.replace("editing", "reloading"), "warn")
        else:
            self.push_screen(ReloadDialog(modules, self.attachment, self._why, rollback=rollback), done)

    def ask_to_resend(self, letter: DeadLetterLine) -> None:
        """The question before a dead letter is sent again; for those who may not, why not."""
        refused = self.why_not(BY_ID["send"])
        if refused:
            self.say(refused, "warn")
        else:
            self.push_screen(ResendDialog(letter, self.attachment, self._why))

    def action_trace(self) -> None:
        """Ask what to listen to; the agents chosen here are in the field already."""
        refused = self.why_not(BY_ID["kill"])
        if refused:
            self.say(refused.replace("killing", "tracing"), "warn")
            return
        page = self.pages["traces"]
        assert isinstance(page, TracesPage)
        chosen = SEVERAL.join(selector_of(one) for one in self.page.targets())
        self.push_screen(TraceDialog(chosen, self._why, page.start))

    def _done_to_many(self, _result: None) -> None:
        self.agents_page.action_unmark()

    @property
    def _why(self) -> str:
        return self.node.control.reason if self.node.control is not None else ""
