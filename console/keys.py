"""The one registry of what a person can do in the console.

The key bindings, the help overlay, the command palette and the line of keys at the bottom are all made from it, so
that they agree. Every action has a plain key: what ctrl and shift send through tmux and ssh is anybody's guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from observe.console.deeds import DEEDS

Page = Literal[
    "app", "overview", "agents", "detail", "tree", "crashes", "findings", "code", "tasks", "groups", "traces", "approvals", "audit", "log", "letters", "budgets", "names", "agent",
    "fleet", "nodes", "fleet_agents", "replay",
]  # fmt: skip
"""`app` and `fleet` are everywhere; `agent` is wherever there is an agent to act on."""

Role = Literal["viewer", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
"""Each role may do what those before it may."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person can do, and all that help, palette and footer need to know about it."""

    id: str
    """Name of the method `action_<id>` on the page (or the app) that carries it out."""

    page: Page
    """Where it works; "app" is everywhere on a node, "fleet" everywhere on several."""

    keys: tuple[str, ...]
    """Textual's names of the keys; the first is the one that is shown."""

    name: str
    """Two or three words for the palette and the help."""

    description: str
    """One sentence."""

    role: Role = "viewer"
    """The least role that may do it."""

    footer: str = ""
    """The word beside its key at the bottom of the screen; empty: not there."""

    palette: bool = True
    """Whether the palette offers it; moving a cursor by name would help nobody."""


AGENT_PAGES: Final[frozenset[Page]] = frozenset(
    {"overview", "agents", "detail", "tree", "findings", "approvals"}
)
"""Where a line is about an agent that can be acted on."""

ACTIONS: Final[tuple[Action, ...]] = (
    # on agents, wherever they are
    *(Action(deed.id, "agent", (deed.key,), deed.name, deed.description, deed.role) for deed in DEEDS),
    # everywhere
    Action("help", "app", ("question_mark", "f1"), "Help", "All keys, and what each column means.", footer="help"),
    Action(
        "palette", "app", ("ctrl+p", "colon"), "Command palette", "Every action by name.", palette=False
    ),
    Action("show_overview", "app", ("v", "1"), "Overview", "What is wrong, what crashed, and who does most."),
    Action("show_agents", "app", ("a", "2"), "Agents", "The table of all agents."),
    Action("show_tree", "app", ("t", "3"), "Supervision tree", "Who supervises whom, the unhealthy first."),
    Action(
        "show_crashes", "app", ("c", "4"), "Crashes", "Recent crashes, grouped by where they happened."
    ),
    Action(
        "show_findings", "app", ("f", "5"), "Findings", "What the node has diagnosed of itself, with evidence and advice."
    ),
    Action("show_nodes", "app", ("n",), "Nodes", "All nodes of the fleet, when the console was opened on several."),
    Action("show_groups", "app", ("b", "7"), "Groups", "Agents in groups with totals: by class, supervisor, status, activity or process."),
    Action("show_code", "app", ("number_sign",), "Code", "Loaded modules and versions, what has changed on the disk, and reloading it."),
    Action("show_tasks", "app", ("T", "6"), "Tasks", "The asyncio tasks of the service, of agents or not."),
    Action("show_traces", "app", ("8",), "Traces", "What chosen agents send, receive, answer and do: sessions of this console."),
    Action("show_approvals", "app", ("J", "9"), "Approvals", "What waits until a person agrees, and what was decided lately."),
    Action("show_audit", "app", ("apostrophe",), "Audit log", "Who did what to whom, when, why, and what became of it; and whether the log is proven."),
    Action("show_log", "app", ("f2",), "Log", "What the service logs, and which agent; from an agent's page, what that agent logs."),
    Action("show_letters", "app", ("f3",), "Dead letters", "Messages that reached nobody: for whom, from whom, and why."),
    Action("show_budgets", "app", ("f4",), "Budgets and cost", "What agents may spend, have spent, and spend a minute; how long a limit lasts."),
    Action("show_names", "app", ("f5",), "Groups and names", "Process groups with their members, and registered names with the agents that have them."),
    Action("trace", "app", ("Y",), "Trace…", "Listen to the chosen or marked agents, or to whom you name, within bounds.", "operator"),
    Action("show_held", "app", ("h",), "Who holds the scheduler", "Open the agent that holds the scheduler."),
    Action(
        "finding",
        "app",
        ("exclamation_mark",),
        "Next finding",
        "Show the agents behind the line of findings under the header; again for the next finding.",
    ),
    Action("export", "app", ("w",), "Write to a file…", "What is listed as JSON or CSV, the screen as text or SVG."),
    Action("pause", "app", ("P",), "Pause my view", "Freeze this screen, not the node; again to go on."),
    Action("back", "app", ("escape",), "Back", "Close, clear the filter, or go back one page.", palette=False),
    Action("history_back", "app", ("left_square_bracket",), "Back in history", "The page seen before this one."),
    Action("history_forward", "app", ("right_square_bracket",), "Forward in history", "The page seen after it."),
    Action(
        "control", "app", ("W",), "Take control…",
        "Be allowed to act for a quarter of an hour, after saying why; again to go back to looking.",
    ),
    Action("deeds", "app", ("A",), "Act…", "All that can be done to the agent or agents chosen, or to the node, from a list."),
    Action("toggle_theme", "app", ("L",), "Light or dark", "Switch between the light and the dark theme."),
    Action("leave", "app", ("q",), "Back or quit", "Close what is open, else go back one page; from the first one, quit.", footer="quit"),
    Action("quit", "app", ("ctrl+c", "f10"), "Quit", "Leave from wherever one is; the node does not notice."),
    # the overview
    Action("open", "overview", ("enter",), "Open", "Go where the line leads: an agent, a finding's agents, a crash.", footer="open"),
    Action("table", "overview", ("s",), "As a table", "The agents table, in the order of this section.", footer="table"),
    Action("copy", "overview", ("y",), "Copy", "Put the line on the clipboard."),
    # the agents table
    Action("open", "agents", ("enter",), "Open agent", "State, mailbox, stack and crash of one agent.", footer="open"),
    Action("filter", "agents", ("slash",), "Filter", "Show only the agents that match, as you type.", footer="filter"),
    Action("sort_menu", "agents", ("S", "s"), "Sort by…", "Choose the column to sort by from a list.", footer="sort"),
    Action("sort_left", "agents", ("less_than_sign",), "Sort by column to the left", "Sort by the column before."),
    Action(
        "sort_right", "agents", ("greater_than_sign",), "Sort by column to the right", "Sort by the column after."
    ),
    Action("columns", "agents", ("o",), "Columns…", "Choose which columns to show, and in which order."),
    Action("reverse", "agents", ("r",), "Reverse the order", "Largest first or smallest first."),
    Action("follow", "agents", ("F",), "Follow the selection", "Keep the chosen agent in view while rows move."),
    Action("mark", "agents", ("space",), "Mark", "Mark the chosen agent, or unmark it; actions are then about all marked."),
    Action("pin", "agents", ("p",), "Pin", "Keep the chosen agent in sight above the table, or let it go."),
    Action("unmark", "agents", ("U",), "Unmark all", "Take all marks away."),
    Action("times", "agents", ("tilde",), "Times as clock or age", "Since when instead of for how long, or the other way round."),
    Action("reveal", "agents", ("full_stop",), "Go to the selection", "Scroll to where the chosen agent is."),
    Action("copy", "agents", ("y",), "Copy", "Put the agent's name and pid on the clipboard."),
    Action("row_down", "agents", ("down", "j"), "Down", "One row down.", palette=False),
    Action("row_up", "agents", ("up", "k"), "Up", "One row up.", palette=False),
    Action("page_down", "agents", ("pagedown", "ctrl+d"), "Page down", "One screen down.", palette=False),
    Action("page_up", "agents", ("pageup", "ctrl+u"), "Page up", "One screen up.", palette=False),
    Action("first", "agents", ("home", "g"), "First", "The first row.", palette=False),
    Action("last", "agents", ("end", "G"), "Last", "The last row.", palette=False),
    # one agent
    Action("open", "detail", ("enter",), "Open or unfold", "Go to this agent, or unfold this value.", footer="open"),
    Action("supervisor", "detail", ("u",), "Go to supervisor", "One up in the tree.", footer="supervisor"),
    Action("copy", "detail", ("y",), "Copy", "Put the line under the cursor on the clipboard."),
    # the tree
    Action("open", "tree", ("enter",), "Open agent", "State, mailbox, stack and crash of one agent.", footer="open"),
    Action(
        "children", "tree", ("s",), "Children as a table", "The children of this supervisor in the table.",
        footer="children",
    ),
    Action("filter", "tree", ("slash",), "Filter", "Show only the agents that match, with all above them.", footer="filter"),
    Action("copy", "tree", ("y",), "Copy", "Put the agent's name and pid on the clipboard."),
    # crashes
    Action("open", "crashes", ("enter",), "Show traceback", "Move to the traceback, or open the agent.", footer="traceback"),
    Action("agent", "crashes", ("o",), "Open agent", "Open the agent that crashed, or its successor.", footer="agent"),
    Action("copy", "crashes", ("y",), "Copy", "Put the traceback on the clipboard."),
    # findings
    Action("open", "findings", ("enter",), "Open", "The worst agent; on the line of agents, all of them in the table.", footer="open"),
    Action("table", "findings", ("s",), "Agents concerned", "All agents that the finding is about, in the table.", footer="agents"),
    Action("copy", "findings", ("y",), "Copy", "Put the line on the clipboard."),
    # tasks
    Action("open", "tasks", ("enter",), "To the stack", "Move to the stack of the chosen task; there, open its agent.", footer="stack"),
    Action("filter", "tasks", ("slash",), "Filter", "Show only the tasks that match, as you type.", footer="filter"),
    Action("order", "tasks", ("S", "s"), "Sort by the next column", "By number, age, state, coroutine and place in turn."),
    Action("cancel_task", "tasks", ("X",), "Cancel task…", "Ask the chosen task to cancel, after a question.", "operator", footer="cancel"),
    Action("copy", "tasks", ("y",), "Copy", "Put the line on the clipboard."),
    # the code
    Action("open", "code", ("enter",), "To the difference", "Move to the chosen module: where it is, and what has changed on the disk.", footer="diff"),
    Action("filter", "code", ("slash",), "Filter", "Show only modules with this in their name, or in that of a class.", footer="filter"),
    Action("mark", "code", ("space",), "Mark", "Mark the module, to be reloaded with others in one go."),
    Action("only_changed", "code", ("s",), "Only changed", "Show only modules that are others on the disk; again for all.", footer="changed"),
    Action("reload", "code", ("r",), "Reload…", "Put the marked modules, or the chosen one, in the place of what is loaded, after showing what that touches.", "admin", footer="reload"),
    Action("rollback", "code", ("u",), "Undo the reload…", "Put back what was loaded before the newest reload, after a question.", "admin", footer="undo"),
    Action("agents", "code", ("o",), "Agents of the module", "The agents of the module's classes in the table."),
    Action("copy", "code", ("y",), "Copy", "Put the name of the module on the clipboard; below, the line."),
    # groups
    Action("open", "groups", ("enter",), "Agents of the group", "The agents of this group in the table.", footer="agents"),
    Action("next_by", "groups", ("o",), "Group by the next", "By class, supervisor, status, activity and process in turn.", footer="group by"),
    Action("next_sort", "groups", ("S", "s"), "Sort by the next column", "By each column in turn, the largest first.", footer="sort"),
    Action("copy", "groups", ("y",), "Copy", "Put the line on the clipboard."),
    # trace sessions
    Action("open", "traces", ("enter",), "Open", "From a session to its events; there, open the agent.", footer="open"),
    Action("filter", "traces", ("slash",), "Filter", "Show only the events whose lines have all these words, and none of those after a -.", footer="filter"),
    Action("chart", "traces", ("o",), "Lines, chart, waterfall", "Draw the events as lines, as a sequence chart with agents as lanes, or as bars on one scale of time.", footer="chart"),
    Action("order", "traces", ("S",), "Newest first or last", "Turn the order of the events round."),
    Action("stop", "traces", ("X",), "Stop or forget", "End the chosen session; take one that has ended off the list.", footer="stop"),
    Action("save", "traces", ("s",), "Save the events…", "What the session keeps, and passes the filter, as a file of `observe trace`, or as a drawing."),
    Action("copy", "traces", ("y",), "Copy", "Put the line on the clipboard."),
    # what waits for a person
    Action("open", "approvals", ("enter",), "To the details", "Move to the details of the chosen line; there, open its agent.", footer="details"),
    Action("open_agent", "approvals", ("o",), "Open agent", "Open the agent that asks, or that asked.", footer="agent"),
    Action("copy", "approvals", ("y",), "Copy", "Put the line on the clipboard."),
    # the audit log
    Action("open", "audit", ("enter",), "To the record", "Move to the chosen record in full; there, to the other record of the command.", footer="record"),
    Action("filter", "audit", ("slash",), "Filter", "By who, what, on, outcome, since, until and words, as you type.", footer="filter"),
    Action("order", "audit", ("S",), "Newest first or last", "Turn the order of the records round."),
    Action("further", "audit", ("r",), "Look further back", "Look for what passes the filter before the records that were looked at, thousands at a time.", footer="further"),
    Action("prove", "audit", ("p",), "Prove the log", "Read all of it, and compare it with its signed checkpoint and with those kept on this machine.", footer="prove"),
    Action("agent", "audit", ("o",), "Open agent", "Open the agent that the record is about.", footer="agent"),
    Action("save", "audit", ("s",), "Save the records…", "What passes the filter as a file: JSON lines as they stand in the log, or OTLP."),
    Action("copy", "audit", ("y",), "Copy", "Put the record on the clipboard, as it stands in the log."),
    # the log
    Action("open", "log", ("enter",), "Unfold", "All that is known of the record, with its traceback; again to fold it.", footer="unfold"),
    Action("agent", "log", ("o",), "Open agent", "Open the agent that has logged the record.", footer="agent"),
    Action("filter", "log", ("slash",), "Filter", "Only records with these words, of agent=NAME or logger=NAME, as you type.", footer="filter"),
    Action("level", "log", ("S",), "Least serious", "Show records from debug, info, warning or error on, in turn.", footer="level"),
    Action("follow", "log", ("F",), "Follow", "To the newest record, and along with those that come.", footer="follow"),
    Action("copy", "log", ("y",), "Copy", "Put the record on the clipboard."),
    # dead letters
    Action("open", "letters", ("enter",), "To the message", "Move to the message of the chosen line; there, open the agent.", footer="message"),
    Action("agent", "letters", ("o",), "Open agent", "Open the agent that it was for, or that has its place now.", footer="agent"),
    Action("filter", "letters", ("slash",), "Filter", "Only letters for, from, or with these words, as you type.", footer="filter"),
    Action("next_by", "letters", ("S",), "Group by the next", "By whom they were for, why they reached nobody, and who sent them, in turn.", footer="group"),
    Action("resend", "letters", ("s",), "Send again…", "Send the chosen letter again, once, after a question.", "operator", footer="again"),
    Action("copy", "letters", ("y",), "Copy", "Put the line on the clipboard."),
    # budgets
    Action("open", "budgets", ("enter",), "Open", "The agent of the line; of a class, its agents in the table; of a cap, its limits.", footer="open"),
    Action("by_class", "budgets", ("o",), "By class, by policy", "A line for each class; for each tenant, run, agent or the like that spends of a policy's cap; or again for each agent and tree.", footer="group by"),
    Action("next_sort", "budgets", ("S",), "Sort by the next column", "By share used, time left, cost and tokens a minute in turn, the worst first.", footer="sort"),
    Action("filter", "budgets", ("slash",), "Filter", "Only those whose names or classes have these words, as you type.", footer="filter"),
    Action("copy", "budgets", ("y",), "Copy", "Put the line on the clipboard."),
    # process groups and names
    Action("open", "names", ("enter",), "Open", "The agent of the line; of a group, unfold its members.", footer="open"),
    Action("filter", "names", ("slash",), "Filter", "Only groups and names with these words, as you type.", footer="filter"),
    Action("copy", "names", ("y",), "Copy", "Put the line on the clipboard."),
    # a recording: everywhere
    Action("play", "replay", ("vertical_line",), "Play or pause", "Let the recording go on, or stand still."),
    Action("back_10", "replay", ("left_parenthesis",), "Ten seconds back", "Show the node as it was ten seconds before."),
    Action("on_10", "replay", ("right_parenthesis",), "Ten seconds on", "Show the node as it was ten seconds later."),
    Action("back_60", "replay", ("left_curly_bracket",), "A minute back", "Show the node as it was a minute before."),
    Action("on_60", "replay", ("right_curly_bracket",), "A minute on", "Show the node as it was a minute later."),
    Action("next_crash", "replay", ("semicolon",), "Next crash", "Go to the next crash of an agent or death of the node, and pause there."),
    Action("crash_before", "replay", ("comma",), "Crash before", "Go to the crash before this moment, and pause there."),
    Action("go_to", "replay", ("at",), "Go to a time…", "Type a time, such as 14:03:07, -90s from the end, or crash."),
    Action("faster", "replay", ("circumflex_accent",), "Faster", "Twice as fast, up to 64 times."),
    Action("slower", "replay", ("underscore",), "Slower", "Half as fast, down to a quarter."),
    # several nodes: everywhere
    Action("help", "fleet", ("question_mark", "f1"), "Help", "All keys, and what each column means.", footer="help"),
    Action("palette", "fleet", ("ctrl+p", "colon"), "Command palette", "Every action by name.", palette=False),
    Action("show_nodes", "fleet", ("n", "1"), "All nodes", "A line for each node, and the findings of all, the worst first."),
    Action("show_agents", "fleet", ("a", "2"), "Agents of all nodes", "One table of the agents of all nodes: its first 200."),
    Action("back", "fleet", ("escape",), "Back to the nodes", "Close, clear the filter, or go back to the nodes.", palette=False),
    Action(
        "control", "fleet", ("W",), "Take control of all…",
        "Be allowed to act on these nodes for a quarter of an hour, after saying why; again to go back to looking.",
    ),
    Action("toggle_theme", "fleet", ("L",), "Light or dark", "Switch between the light and the dark theme."),
    Action("leave", "fleet", ("q",), "Back or quit", "Close what is open, else go back to the nodes; from there, quit.", footer="quit"),
    Action("quit", "fleet", ("ctrl+c", "f10"), "Quit", "Leave from wherever one is; the nodes do not notice."),
    # the nodes
    Action("open", "nodes", ("enter",), "Open node", "The console on this node, or on the agents of this finding; n there leads back.", footer="open"),
    Action("copy", "nodes", ("y",), "Copy", "Put the line on the clipboard."),
    # the agents of all nodes
    Action("open", "fleet_agents", ("enter",), "Open agent on its node", "The console on the agent's node, at this agent; n there leads back.", footer="open"),
    Action("filter", "fleet_agents", ("slash",), "Filter", "Show only the agents that match, as you type.", footer="filter"),
    Action("sort_menu", "fleet_agents", ("S", "s"), "Sort by…", "Choose the column to sort by from a list.", footer="sort"),
    Action("reverse", "fleet_agents", ("r",), "Reverse the order", "Largest first or smallest first."),
    Action("kill", "fleet_agents", ("K",), "Kill on its node…", "End this agent on its node, after a question.", "operator", footer="kill"),
    Action("copy", "fleet_agents", ("y",), "Copy", "Put the line on the clipboard."),
)  # fmt: skip

FLEET_PAGES: Final[tuple[Page, ...]] = ("nodes", "fleet_agents")
"""The pages of the console on several nodes."""

LINE_KEYS: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    (("down", "j"), "line_down", "One line down."),
    (("up", "k"), "line_up", "One line up."),
    (("pagedown", "ctrl+d"), "view_down", "One screen down."),
    (("pageup", "ctrl+u"), "view_up", "One screen up."),
    (("home", "g"), "first", "The first line."),
    (("end", "G"), "last", "The last line."),
    (("right", "plus", "l"), "unfold", "Unfold, or one line down."),
    (("left", "minus"), "fold", "Fold, or go to the line that holds this one."),
    (("asterisk",), "unfold_all", "Unfold everything below this line; again to fold it."),
    (("tab",), "other_view", "To the other half of the screen."),
)
"""Keys of every view made of lines (an agent, the tree, crashes): keys, method `action_<…>`, meaning."""

KEY_NAMES: Final = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "exclamation_mark": "!",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "full_stop": ".",
    "apostrophe": "'",
    "tilde": "~",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "at": "@",
    "vertical_line": "|",
    "semicolon": ";",
    "comma": ",",
    "number_sign": "#",
    "circumflex_accent": "^",
    "underscore": "_",
    "plus": "+",
    "minus": "-",
    "asterisk": "*",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "f1": "F1",
}
"""How keys are written for people; a key that is not here is written as it is."""

GLOBAL_FOOTER: Final = ("show_agents", "show_tree", "show_crashes")
"""Actions of the app whose short names stand in the footer while their page is not the one on the screen."""


BUSY_PAGES: Final[frozenset[Page]] = frozenset(
    {"code", "traces", "approvals", "audit", "log", "letters", "budgets"}
)
"""Pages whose own keys fill the footer."""


def key_name(key: str) -> str:
    """A key as it is written for people: `?`, `Enter`, `ctrl+p`."""
    return KEY_NAMES.get(key, key)


def keys_of(action: Action) -> str:
    """All keys of an action for the help: `? F1`."""
    return " ".join(key_name(key) for key in action.keys)


_rebound: dict[tuple[Page, str], tuple[str, ...]] = {}
"""The keys that a person has given to actions in place of ours; see `observe.console.keymap`."""


def rebind(keys: Mapping[tuple[Page, str], tuple[str, ...]]) -> None:
    """Give these actions these keys, and all others their own. For consoles that are opened from then on."""
    _rebound.clear()
    _rebound.update(keys)


def rebound() -> dict[str, str]:
    """The same as Textual's keymap has it, by the ids of bindings."""
    return {f"{page}.{action_id}": ",".join(keys) for (page, action_id), keys in _rebound.items()}


def _bound(action: Action) -> Action:
    keys = _rebound.get((action.page, action.id))
    return action if keys is None else replace(action, keys=keys)


def on_page(page: Page) -> tuple[Action, ...]:
    """The actions that belong to one page alone, in their order."""
    return tuple(_bound(action) for action in ACTIONS if action.page == page)


def available(page: Page) -> tuple[Action, ...]:
    """What can be done on `page`: its own actions, those on agents, and those that work everywhere."""
    on_agents = () if page in FLEET_PAGES else on_page("agent")
    return on_page(page) + on_agents + on_page(everywhere(page))


def everywhere(page: Page) -> Page:
    """The page whose actions work on `page` as well."""
    return "fleet" if page in FLEET_PAGES else "app"


def find(page: Page, action_id: str) -> Action:
    """The action of `page` with this id.

    Raises:
        KeyError: there is none.
    """
    for action in ACTIONS:
        if action.page == page and action.id == action_id:
            return _bound(action)
    raise KeyError(action_id)


def permitted(action: Action, role: str, *, readonly: bool) -> bool:
    """Whether somebody attached with `role` (and perhaps read-only by their own choice) may do this."""
    if action.role == "viewer":
        return True
    if readonly or role not in ROLES:
        return False
    return ROLES.index(role) >= ROLES.index(action.role)


def footer(page: Page, *, deeper: bool = False) -> list[tuple[str, str, Action]]:
    """Key, word and action for the bottom line of `page`, the page's own first; `deeper`: there is a page to go back to."""
    own = [(key_name(action.keys[0]), action.footer, action) for action in on_page(page) if action.footer]
    if page in FLEET_PAGES:
        other = find("fleet", "show_agents" if page == "nodes" else "show_nodes")
        own.append((key_name(other.keys[0]), "agents" if page == "nodes" else "nodes", other))
        return own + [
            (key_name(act.keys[0]), _word(act, deeper), act) for act in on_page("fleet") if act.footer
        ]
    if page == "agents":
        kill = find("agent", "kill")
        own.append((key_name(kill.keys[0]), "kill", kill))
    if page == "approvals":
        for verdict in ("refuse", "approve"):
            act = find("agent", verdict)
            own.insert(0, (key_name(act.keys[0]), verdict, act))
    if page == "traces":
        begin = find("app", "trace")
        own.insert(0, (key_name(begin.keys[0]), "trace", begin))
    if page in AGENT_PAGES:
        deeds = find("app", "deeds")
        own.append((key_name(deeds.keys[0]), "act", deeds))
    words = {"show_agents": "agents", "show_tree": "tree", "show_crashes": "crashes"}
    shared = []
    for action in on_page("app"):
        if action.id in GLOBAL_FOOTER and page in BUSY_PAGES:
            continue  # they have so many keys of their own
        if action.id == "show_agents" and page != "overview":
            continue  # Esc leads there from most pages; the line is short
        if action.id in GLOBAL_FOOTER and action.id != f"show_{page}":
            shared.append((key_name(action.keys[0]), words[action.id], action))
        elif action.footer:
            shared.append((key_name(action.keys[0]), _word(action, deeper), action))
    return own + shared


def _word(action: Action, deeper: bool) -> str:
    return "back" if action.id == "leave" and deeper else action.footer
