"""Going places: which page is on the screen, and how one gets from here to there."""

from __future__ import annotations

from textual import on

from observe.console.app_base import ConsoleApp
from observe.console.navigation import Place
from observe.console.pages.crashes import CrashesPage
from observe.console.pages.log import LogScreen
from observe.console.screens import PageName
from observe.console.state import Identity
from observe.console.widgets.held_stack import HeldStack
from observe.console.widgets.vitals import VitalsHeader
from observe.probe.wire_agent import Crash


class PlacesApp(ConsoleApp):
    """Visits, history, and the actions that lead to a page."""

    _finding_shown = -1

    def visit(self, place: Place) -> None:
        """Go to another page, or to the same page about another agent."""
        if self.history.visit(place):
            self._show_place()

    def moved_to(self, place: Place) -> None:
        """The place on the screen is about an agent's successor."""
        if self.history.current.page == place.page:
            self.history.update(place)
            self.show_where()

    def visit_pid(self, pid: int) -> None:
        """Open the agent with this pid."""
        self.visit_agent(Identity(pid, None, "", 0, ""))

    def visit_agent(self, agent: Identity) -> None:
        """Open this agent, or whoever has taken its place."""
        self.run_worker(self._visit(agent), group="visit", exclusive=True)

    def visit_crashed(self, crash: Crash) -> None:
        """Open the agent that crashed, or whoever has taken its place."""
        agent = Identity(
            crash.restarted or crash.pid, crash.name, crash.class_name, crash.supervisor, crash.child
        )
        self.visit_agent(agent)

    async def _visit(self, agent: Identity) -> None:
        row = await self.attachment.row_of(agent)
        if row is None:
            self.say(f"{agent.label} is not there any more", "warn")
            return
        self.visit(Place("detail", Identity.of(row)))

    def show_children(self, pid: int) -> None:
        """The children of a supervisor in the table."""
        self.show_filtered(f"supervisor={pid}")

    def show_crash_group(self, fingerprint: str) -> None:
        """The crashes, at one place of theirs."""
        self.visit(Place("crashes"))
        page = self.pages["crashes"]
        assert isinstance(page, CrashesPage)
        page.go_to(fingerprint)

    def _show_place(self) -> None:
        for page in self.pages.values():
            if page.shown:
                page.leave()
        place = self.history.current
        self.switcher.current = place.page
        self.pages[place.page].enter(place)
        self.key_hints.show(place.page, deeper=self._is_deeper)
        self.show_where()

    # -- actions of the registry

    def action_show_overview(self) -> None:
        """What is wrong, what crashed, who does most."""
        self.visit(Place("overview"))

    def action_show_agents(self) -> None:
        """The table of agents."""
        self.visit(Place("agents"))

    def action_show_tree(self) -> None:
        """The supervision tree; from there, back."""
        self._toggle("tree")

    def action_show_crashes(self) -> None:
        """The crashes; from there, back."""
        self._toggle("crashes")

    def action_show_findings(self) -> None:
        """What the node has diagnosed of itself; from there, back."""
        self._toggle("findings")

    def action_show_tasks(self) -> None:
        """The asyncio tasks; from there, back."""
        self._toggle("tasks")

    def action_show_groups(self) -> None:
        """The agents in groups; from there, back."""
        self._toggle("groups")

    def action_show_code(self) -> None:
        """The loaded code; from there, back."""
        self._toggle("code")

    def action_show_traces(self) -> None:
        """The trace sessions; from there, back."""
        self._toggle("traces")

    def action_show_approvals(self) -> None:
        """What waits for a person; from there, back."""
        self._toggle("approvals")

    def action_show_audit(self) -> None:
        """Who did what."""
        self._toggle("audit")

    def action_show_log(self) -> None:
        """The log; of one agent, from its page; from there, back."""
        place, log = self.history.current, self.pages["log"]
        assert isinstance(log, LogScreen)
        if place.page == "detail" and place.agent is not None:
            log.filter_bar.open(f"agent={place.agent.pid}")
            log.narrow(f"agent={place.agent.pid}")
        self._toggle("log")

    def action_show_letters(self) -> None:
        """The dead letters; from there, back."""
        self._toggle("letters")

    def action_show_budgets(self) -> None:
        """The budgets; from there, back."""
        self._toggle("budgets")

    def action_show_names(self) -> None:
        """The process groups and names; from there, back."""
        self._toggle("names")

    def show_filtered(self, text: str, sort: str | None = None) -> None:
        """The agents that match a filter, in the table."""
        self.visit(Place("agents"))
        page = self.agents_page
        if text:
            page.filter_bar.open(text)
        page.show_only(text, sort)
        page.table.focus()

    def _toggle(self, page: PageName) -> None:
        if self.history.current.page == page:
            self.action_history_back()
        else:
            self.visit(Place(page))

    def action_show_held(self) -> None:
        """Open the agent that holds the scheduler."""
        held = self.node.held(self.node.clock())
        if held is None:
            self.say("nobody holds the scheduler")
        elif held.pid:
            self.visit(Place("detail", Identity(held.pid, held.name, held.class_name, 0, "")))
        else:
            self.push_screen(HeldStack(held))

    def action_finding(self) -> None:
        """Show the agents behind the next finding."""
        found = self.node.findings
        if not found:
            self.say(self.node.verdict() or "nothing is known to be wrong")
            return
        self.show_finding((self._finding_shown + 1) % len(found))

    def show_finding(self, number: int) -> None:
        """Show the agents behind one of the findings."""
        found = self.node.findings
        self._finding_shown = number
        finding = found[number]
        self.show_filtered(finding.filter, finding.sort)
        self.say(f"finding {self._finding_shown + 1} of {len(found)}", finding.level)

    @on(VitalsHeader.FindingClicked)
    def _finding_clicked(self) -> None:
        self.action_finding()

    @property
    def _is_deeper(self) -> bool:
        return self.history.position > 0 or self.opening is not None

    def action_leave(self) -> None:
        """Close what is open, else go one page back; from the first one, quit."""
        if self.page.close_inner():
            return
        if self._is_deeper:
            self.action_history_back()
        else:
            self.exit()

    async def action_back(self) -> None:
        """Close what is open, else go one page back."""
        if not self.page.close_inner():
            self.action_history_back()

    def action_history_back(self) -> None:
        """The page seen before; from the first one, the nodes that we came from."""
        if self.history.back():
            self._show_place()
        elif self.opening is not None:
            self.action_show_nodes()

    def action_show_nodes(self) -> None:
        """All nodes of the fleet, if there is one."""
        if self.opening is None:
            self.say("attached to one node; `observe attach NODE NODE …` shows several")
            return
        self.leaves_for_fleet = True
        self.exit()

    def show_opening(self) -> None:
        """What the person wanted to see when they opened this node from several."""
        if self.opening is None:
            return
        if self.opening.pid:
            self.visit_pid(self.opening.pid)
        elif self.opening.filter:
            self.visit(Place("agents"))
            self.agents_page.filter_bar.open(self.opening.filter)
            self.agents_page.show_only(self.opening.filter)
            self.agents_page.table.focus()

    def action_history_forward(self) -> None:
        """The page seen after."""
        if self.history.forward():
            self._show_place()

    def sort_by(self, column: str) -> None:
        """Sort the table by a column, wherever we are."""
        self.visit(Place("agents"))
        self.agents_page.sort_by(column)
