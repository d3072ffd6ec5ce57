"""What an action is told already by the line on which it was asked for: the field, the messages, the activity. Pure."""

import ast
import json

from observe.console.deeds import Deed
from observe.console.lines import Line
from observe.probe.wire_agent import Detail, Value

MAX_CONTAINING = 256
"""Characters of a message's text that the wire takes to find it by."""


def from_line(deed: Deed, detail: Detail, line: Line | None) -> dict[str, str]:
    """For the fields of the dialog, as a person would have typed it."""
    if line is None:
        return {}
    section, _, rest = line.key.partition("/")
    if deed.id == "edit" and section == "state":
        return _field(detail, rest)
    if deed.verb == "mailbox" and section == "mailbox":
        return _messages(detail, rest.partition("/")[0])
    if deed.id == "cancel" and section == "now" and rest.isdigit() and int(rest) < len(detail.activities):
        return {"activity": detail.activities[int(rest)].name}
    return {}


def _field(detail: Detail, rest: str) -> dict[str, str]:
    value, path = detail.state, []
    for part in rest.partition("|")[0].split("/"):
        number, _, label = part.partition(":")
        items = value.items if value is not None and value.items is not None else []
        if not number.isdigit() or int(number) >= len(items):
            break
        value = items[int(number)][1]
        path.append(_plain(label))
    return {"field": ".".join(path), "value": as_json(value)} if path and value is not None else {}


def _plain(label: str) -> str:
    """A key of a map as a path has it: its text, not its repr."""
    try:
        key = ast.literal_eval(label)
    except (ValueError, SyntaxError):
        return label
    return key if isinstance(key, str) else label


def as_json(value: Value) -> str:
    """The value as JSON where its text says all of it; else nothing."""
    if value.cut or value.masked or value.error:
        return ""
    try:
        return json.dumps(ast.literal_eval(value.text), ensure_ascii=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return ""


def _messages(detail: Detail, number: str) -> dict[str, str]:
    if not number.isdigit() or int(number) >= len(detail.mailbox):
        return {}
    index = int(number)
    if index == 0:
        return {"messages": "oldest 1"}
    if index == detail.mailbox_total - 1:
        return {"messages": "newest 1"}
    return {"messages": f"containing {detail.mailbox[index].text[:MAX_CONTAINING]}"}
