"""The one table of what can be done to an agent or a node: for the command line and for the console alike.

The verbs of the command line, and the keys, menu, palette and dialogs of the console are made from it, so that they
agree on what is asked, what is told and who may. Light: no wire, no Textual; a test holds the roles against the wire's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

if TYPE_CHECKING:
    from observe.probe import wire_agent
    from observe.probe.client import NodeClient
    from observe.probe.wire_actions import Acted

    Outcome = Acted | wire_agent.Outcome
    """Both have `done`, `what`, `pid` and `took_s`."""

Kind = Literal["json", "text", "agent", "choice", "messages", "number", "list", "flag"]
"""`list` is texts with commas between them, `flag` yes or no; both are options of the command line."""


@dataclass(frozen=True, slots=True)
class Want:
    """Something that an action has to be told."""

    name: str
    """The argument on the wire; `messages` stands for one of four."""

    kind: Kind
    ask: str
    """What a person reads in the empty field, which has the name beside it: at most 55 letters."""

    choices: tuple[str, ...] = ()
    """For `choice`; the first is what is meant when nothing is said."""

    needed: bool = True


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that can be done."""

    id: str
    """The verb of the command line, and the action of the console."""

    verb: str
    """The verb of the wire."""

    key: str
    """In the console, as Textual names it."""

    name: str
    """For menus: two or three words; with `…` when it asks."""

    title: str
    """Of the console's question."""

    question: str
    """Of the command line; `{agent}` and the arguments stand in it."""

    doing: str
    done: str
    """`killing`, `killed`: for sentences about it."""

    description: str
    """One sentence, ending with a full stop."""

    more: str = ""
    """What else the command line's help says."""

    role: Literal["operator", "admin"] = "operator"
    asks: bool = True
    """Whether it can do harm, and is asked about."""

    wants: tuple[Want, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Arguments that make this deed of a more general verb."""

    rehearses: bool = False
    """The node can tell what it would change."""

    ends: bool = False
    """The agent ends: what goes with it is told before, and who comes after it afterwards."""

    undo: str = ""
    """The deed that undoes it; where that is itself, with what was there before (`observe.console.undoing`)."""

    several: bool = True
    """Whether it can be done to all marked agents."""

    on_node: bool = False
    """It is about the node and not about one agent."""


WHICH = Want("messages", "messages", "oldest 1, newest 3, containing TEXT, or all")

DEEDS: Final[tuple[Deed, ...]] = (
    Deed(
        "kill", "kill", "K", "Kill…", "Kill this agent?", "Kill {agent}", "killing", "killed",
        "End one agent at once; its supervisor may bring it back.",
        "Asks first when a person is at the keyboard; a script is not asked.\n\n\b\n"
        "observe kill shop session-7\n"
        'observe kill shop 42 --yes --reason "hangs since 03:10"',
        ends=True,
    ),
    Deed(
        "stop", "stop", "E", "Stop in order…", "Stop this agent in order?", "Stop {agent}", "stopping", "stopped",
        "Ask one agent to end in order, with its `terminate`; its supervisor may bring it back.",
        "\b\n"
        "observe stop shop session-7\n"
        'observe stop shop 42 --yes --reason "no longer needed"',
        ends=True,
    ),
    Deed(
        "restart", "restart", "R", "Restart…", "Restart this agent?", "Restart {agent}", "restarting", "restarted",
        "End one agent in order and start its successor in the same place, alone.",
        "\b\n"
        "observe restart shop session-7\n"
        "observe restart shop session-7 --from checkpoint --yes\n"
        "observe restart shop session-7 --from fresh --json | jq .pid",
        wants=(Want("source", "choice", "spec (as its child spec says), checkpoint or fresh",
                    ("spec", "checkpoint", "fresh"), needed=False),),
        ends=True,
    ),
    Deed(
        "next-rung", "next_rung", "N", "Next rung…", "Take the next rung of its ladder?",
        "Take the next rung of {agent}", "taking a rung", "taken",
        "Treat one agent as failed, so that the next rung of its ladder is taken.",
        "\b\n"
        "observe next-rung shop session-7\n"
        'observe next-rung shop session-7 --yes --reason "the retries lead nowhere" --json',
    ),
    Deed(
        "suspend", "suspend", "z", "Suspend…", "Suspend this agent?", "Suspend {agent}", "suspending", "suspended",
        "Let one agent take no further message; its mailbox keeps queueing.",
        "A step that is under way ends first: then the status is 1, and the agent is suspended when it has ended. "
        "Timers keep running, and a kill works as ever.\n\n\b\n"
        "observe suspend shop session-7\n"
        'observe suspend shop 42 --yes --reason "to look at it in peace"',
        undo="resume",
    ),
    Deed(
        "resume", "resume", "Z", "Resume", "Resume this agent?", "Resume {agent}", "resuming", "resumed",
        "Let a suspended agent go on with its mailbox.",
        "\b\nobserve resume shop session-7",
        asks=False,
    ),
    Deed(
        "send", "send", "i", "Send a message…", "Send it a message?", "Send it to {agent}", "sending", "sent",
        "Cast a message, a JSON value, to one agent.",
        "\b\n"
        """observe send shop session-7 '{"order": 3}'\n"""
        'observe send shop session-7 work --text --reason "nudge"\n'
        "observe send shop session-7 -- -1",
        wants=(Want("message", "json", 'in JSON: {"order": 3} or "text"'),),
    ),
    Deed(
        "edit", "edit", "e", "Edit a field…", "Edit a field of its state?", "Edit {agent}", "editing", "edited",
        "Put another value, in JSON, into one field of an agent's state.",
        "FIELD is an attribute or a path below it. The value must be what the field is declared as. "
        "Needs the role admin.\n\n\b\n"
        "observe edit shop session-7 limit 20 --dry-run\n"
        'observe edit shop session-7 limits.per_day 20 --yes --reason "asked for by the customer"\n'
        "observe edit shop session-7 tone friendly --text",
        role="admin",
        wants=(Want("field", "text", "limit, or a path below it: limits.per_day"),
               Want("value", "json", 'in JSON: 20, true or "text"')),
        rehearses=True, undo="edit", several=False,
    ),
    Deed(
        "drop", "mailbox", "d", "Drop messages…", "Drop messages that wait?", "Drop them from {agent}", "dropping",
        "dropped",
        "Make dead letters of messages that wait for one agent; whoever waits for a reply is told.",
        "\b\n"
        "observe drop shop session-7 --containing poison --dry-run\n"
        'observe drop shop session-7 --oldest 1 --yes --reason "crashes it"',
        wants=(WHICH,), fixed={"do": "drop"}, rehearses=True,
    ),
    Deed(
        "move", "mailbox", "m", "Move messages…", "Move messages to another agent?", "Move them from {agent}", "moving",
        "moved",
        "Move messages that wait for one agent to another one, TO; replies go to whoever asked.",
        "\b\n"
        "observe move shop session-7 session-8 --all\n"
        "observe move shop session-7 session-8 --newest 100 --yes",
        wants=(Want("to", "agent", "a pid or a name"), WHICH), fixed={"do": "move"}, rehearses=True,
    ),
    Deed(
        "cancel", "cancel_activity", "x", "Cancel an activity…", "Cancel an activity?",
        "Cancel {activity} of {agent}", "cancelling", "cancelled",
        "Cancel an activity of one agent where it waits; the innermost when none is named.",
        "Its block raises ActivityCancelled; what follows is the agent's own affair.\n\n\b\n"
        "observe cancel shop session-7\n"
        'observe cancel shop session-7 tool:search --yes --reason "the index is gone"',
        wants=(Want("activity", "text", "which; else the innermost", needed=False),),
    ),
    Deed(
        "checkpoint", "checkpoint", "C", "Save a checkpoint", "Save a checkpoint?", "Save {agent}", "saving", "saved",
        "Save one agent's state now.",
        '\b\nobserve checkpoint shop session-7 --reason "before the deployment"',
        asks=False,
    ),
    Deed(
        "approve", "approve", "O", "Approve…", "Let it do what it waits to do?", "Let {agent} do what it waits to do", "approving",
        "approved",
        "Let an activity begin for which one agent waits for a person; `observe approvals` shows what is asked.",
        "Of two people who must agree, the first lets it wait for the second, who needs another key.\n\n\b\n"
        'observe approve shop session-7 --reason "the customer is known"\n'
        "observe approve shop session-7 12 --yes",
        wants=(Want("approval", "number", "its number; else the only one", needed=False),),
    ),
    Deed(
        "refuse", "refuse", "V", "Refuse…", "Refuse what it waits to do?", "Refuse what {agent} waits to do", "refusing", "refused",
        "Let an activity not begin for which one agent waits for a person: its block raises ApprovalRefused.",
        "\b\n"
        'observe refuse shop session-7 --reason "twice the price"\n'
        "observe refuse shop session-7 12 --yes",
        wants=(Want("approval", "number", "its number; else the only one", needed=False),),
    ),
    Deed(
        "contain", "contain", "I", "Contain…", "Contain this agent?", "Make {agent} {level}", "containing", "contained",
        "Fence one agent in, or all below a supervisor: monitored, restricted, isolated, suspended or killed; none lets it out.",
        "State and mailbox are kept. The fence outlives restarts of the agent. `restricted` lets only the listed activities begin and "
        "messages go to the listed agents; patterns, with commas between them.\n\n\b\n"
        'observe contain shop session-7 isolated --reason "runs away"\n'
        "observe contain shop session-7 restricted --tools 'model:*,tool:search' --recipients ledger\n"
        "observe contain shop sessions monitored --subtree --yes\n"
        "observe contain shop session-7 none",
        wants=(Want("level", "choice", "monitored restricted isolated suspended killed none",
                    ("none", "monitored", "restricted", "isolated", "suspended", "killed")),
               Want("tools", "list", "of restricted: may begin, such as model:*, tool:search", needed=False),
               Want("recipients", "list", "of restricted: may be sent to, by name or class", needed=False),
               Want("subtree", "flag", "all below it, also those to come: yes or no", needed=False),
               Want("two_person", "flag", "lowering it takes a second key: yes or no", needed=False)),
        undo="contain",
    ),
    Deed(
        "reset-budget", "reset_budget", "B", "Reset the budget…", "Let its budget begin anew?",
        "Reset the budget of {agent}", "resetting", "reset",
        "Let the budget of one agent, or of the tree below a supervisor, begin anew.",
        "\b\n"
        "observe reset-budget shop session-7\n"
        'observe reset-budget shop sessions --yes --reason "paid for"',
    ),
    Deed(
        "log-level", "log_level", "D", "Log level…", "Set the level of a logger?", "Set it", "setting", "set",
        "Set the level of a logger of the service; of the root logger when none is named.",
        "\b\n"
        'observe log-level shop debug shop.orders --reason "orders get lost"\n'
        "observe log-level shop warning",
        asks=False,
        wants=(Want("level", "choice", "DEBUG INFO WARNING ERROR CRITICAL; NOTSET: as above it",
                    ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET")),
               Want("logger", "text", "its name; else the root logger", needed=False)),
        undo="log-level", on_node=True,
    ),
    Deed(
        "gc", "collect_garbage", "M", "Collect garbage…", "Collect garbage now?", "Collect garbage", "collecting",
        "collected",
        "Run the service's garbage collector, during which nothing else of it runs.",
        "\b\nobserve gc shop\nobserve gc shop --generation 0 --json",
        asks=False, on_node=True,
    ),
)  # fmt: skip
"""In the order of menus and of `observe --help`."""

BY_ID: Final = {deed.id: deed for deed in DEEDS}


def question(deed: Deed, agent: str, arguments: Mapping[str, Any]) -> str:
    """What the command line asks."""
    named = {name: value for name, value in arguments.items() if isinstance(value, str)}
    return deed.question.format_map({"activity": "the innermost activity", **_said(named), "agent": agent})


def question_of_several(deed: Deed, agents: str) -> str:
    """What the console asks about several agents, `3 agents`: before anything else has been said."""
    one = "this agent"
    return deed.title.replace(one, agents) if one in deed.title else f"{question(deed, agents, {})}?"


def _said(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def arguments_of(deed: Deed, said: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of the wire from what a person has said for each `Want`, as text.

    Raises:
        ValueError: something is missing or cannot be read; the sentence says what.
    """
    arguments: dict[str, Any] = {}
    for want in deed.wants:
        text = said.get(want.name, "").strip()
        if not text and want.needed:
            raise ValueError(f"say {want.name.replace('_', ' ')}: {want.ask}")
        if want.kind == "json":
            arguments[want.name] = json_value(text)
        elif want.kind == "messages":
            arguments |= messages_of(text)
        elif want.kind == "agent":
            arguments[want.name] = int(text) if text.isascii() and text.isdigit() else text
        elif want.kind == "choice":
            arguments[want.name] = _choice(want, text)
        elif want.kind == "number":
            if text:
                arguments[want.name] = _number(want, text)
        elif want.kind == "list":
            if text:
                arguments[want.name] = [part.strip() for part in text.split(",") if part.strip()]
        elif want.kind == "flag":
            arguments[want.name] = _flag(want, text)
        elif text:
            arguments[want.name] = text
    return arguments


def _number(want: Want, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"{want.name}: {text!r} is no number")
    return int(text)


def _choice(want: Want, text: str) -> str:
    if not text:
        return want.choices[0]
    for choice in want.choices:
        if choice.casefold() == text.casefold():
            return choice
    raise ValueError(f"{text!r} is none of {', '.join(want.choices)}")


def _flag(want: Want, text: str) -> bool:
    if text.casefold() in ("", "no", "n"):
        return False
    if text.casefold() in ("yes", "y"):
        return True
    raise ValueError(f"{want.name}: {text!r} is neither yes nor no")


def messages_of(text: str) -> dict[str, Any]:
    """Which messages: `oldest 1`, `newest 3`, `containing TEXT`, `all`.

    Raises:
        ValueError: it is none of these.
    """
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if word in ("oldest", "newest") and rest.isascii() and rest.isdigit() and int(rest):
        return {word: int(rest)}
    if word == "containing" and rest:
        return {"containing": rest}
    if text == "all":
        return {"everything": True}
    raise ValueError("say which messages: oldest 1, newest 3, containing TEXT, or all")


def json_value(text: str) -> Any:
    """A JSON value that a person has typed.

    Raises:
        ValueError: it is none, or does not fit the wire.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_int=_whole_number)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # a half of a surrogate pair is no text
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f'no JSON value ({error}); text goes into quotes: "like this"') from None
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not in JSON")


def _whole_number(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ValueError("a whole number has 64 bits at most")
    return number


async def do(
    client: NodeClient,
    deed: Deed,
    agent: int | str | None,
    arguments: Mapping[str, Any],
    reason: str,
    *,
    dry_run: bool = False,
) -> Outcome:
    """Have it done by the node, or with `dry_run` only told. `agent` is None for what is done to the node."""
    if deed.verb == "kill":
        assert agent is not None
        return await client.kill(agent, reason=reason)
    given: dict[str, Any] = {**deed.fixed, **arguments, "reason": reason}
    if not deed.on_node:
        given["agent"] = agent
    if dry_run:
        given["dry_run"] = True
    return await client.act(deed.verb, **given)
