"""The file in which a person gives other keys to actions: read once, checked before the screen changes.

[keys]
"agents.filter" = ["slash", "ctrl+f"]      # page.action, as `observe attach --keys` lists them
"app.leave" = "Q"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from textual.keys import Keys

from observe.console.keys import ACTIONS, LINE_KEYS, Action, Page, available, key_name
from observe.probe.errors import AttachError

MAX_BYTES: Final = 100_000
MAX_KEYS: Final = 8
"""Of one action."""

PLAIN: Final = frozenset({*(key.value for key in Keys), "space", "enter", "tab"})

Rebound = dict[tuple[Page, str], tuple[str, ...]]


class BadKeyFile(AttachError):
    """The file of keys cannot be used; nothing of it is."""

    exit_code = 2

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}", hint="`observe attach --keys` lists the actions and their keys")


def default_path() -> Path:
    """`$OBSERVE_KEYS_FILE`, else `keys.toml` in the platform's place for configuration. It need not exist."""
    chosen = os.environ.get("OBSERVE_KEYS_FILE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_config_path

    return user_config_path("observe") / "keys.toml"


def load(path: Path) -> Rebound:
    """The keys that a person gave to actions; none without a file.

    Raises:
        BadKeyFile: it cannot be read, names an action or key that does not exist, or gives a key two meanings.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadKeyFile(path, f"larger than {MAX_BYTES:,} bytes")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadKeyFile(path, f"cannot be read: {error}") from None
    keys = content.get("keys", {})
    if not isinstance(keys, dict):
        raise BadKeyFile(path, "[keys] is no table")
    rebound = _read(path, keys)
    for page in {action.page for action in ACTIONS if action.page not in ("app", "agent", "fleet")}:
        _check(path, page, rebound)
    return rebound


def _read(path: Path, keys: Mapping[str, Any]) -> Rebound:
    actions = {name_of(action): action for action in ACTIONS}
    rebound: Rebound = {}
    for name, value in keys.items():
        action = actions.get(name)
        if action is None:
            raise BadKeyFile(path, f"there is no action {name!r}")
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not 0 < len(given) <= MAX_KEYS:
            raise BadKeyFile(path, f"{name} takes a key, or a list of up to {MAX_KEYS}")
        for key in given:
            if not isinstance(key, str) or not _exists(key):
                raise BadKeyFile(path, f"{name}: there is no key {key!r}; for example f5, ctrl+f, slash, Q")
        rebound[action.page, action.id] = tuple(given)
    return rebound


def _exists(key: str) -> bool:
    *modifiers, last = key.split("+") if key != "+" else [key]
    return set(modifiers) <= {"ctrl", "alt", "shift"} and (
        (len(last) == 1 and last.isalnum()) or last in PLAIN or key in PLAIN or key_name(last) != last
    )


def _check(path: Path, page: Page, rebound: Rebound) -> None:
    """No key means two things on one page; what a page does itself goes before, as it always has."""
    taken: dict[str, str] = {}
    changed = {f"{of}.{action_id}" for of, action_id in rebound}
    for action in available(page):
        for key in rebound.get((action.page, action.id), action.keys):
            other = taken.setdefault(key, name_of(action))
            if other != name_of(action) and changed & {other, name_of(action)}:
                raise BadKeyFile(path, f"{key_name(key)} would be both {other} and {name_of(action)}")
    lines = {key for keys, _, _ in LINE_KEYS for key in keys} if page != "agents" else set()
    for (of, action_id), keys in rebound.items():
        for key in keys:
            if of == page and key in lines:
                raise BadKeyFile(path, f"{of}.{action_id}: {key_name(key)} moves in every view made of lines")


def name_of(action: Action) -> str:
    """How the file calls an action: `agents.filter`."""
    return f"{action.page}.{action.id}"


def listed(actions: Iterable[Action]) -> list[str]:
    """All actions as lines of such a file, with what they do."""
    lines = ["[keys]"]
    for action in actions:
        keys = ", ".join(f'"{key}"' for key in action.keys)
        lines.append(f'"{name_of(action)}" = [{keys}]  # {action.name}')
    return lines
