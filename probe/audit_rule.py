"""The rule by which the probe masks what it records, and what of a command is recorded beside its target."""

from __future__ import annotations

import re
from typing import Any, Final

from observe.audit.plain import MASK, Rule
from observe.probe.personal import is_personal, mask_personal
from observe.probe.wire_base import Command
from observe.tracing.masking import mask_text, secrecy

_ENVELOPE: Final = frozenset({*Command.model_fields, "agent"})


class MaskingRule:
    """Names and shapes of secrets, as everywhere in observe; and of personal data, since these records are kept for years."""

    def __init__(self, node: str = "", *, keeps_personal: bool = False) -> None:
        """`node` is the full name of the node, which is not taken for an e-mail address."""
        self._node = node
        self._keeps_personal = keeps_personal
        self.name = "observe.tracing.masking 1" + ("" if keeps_personal else ", observe.probe.personal 1")

    def is_secret(self, name: str, value: object) -> bool:
        """Whether `value` is a secret by what it is called."""
        if not self._keeps_personal and is_personal(name):
            return True
        kind = secrecy(name)
        return kind == 2 or (kind == 1 and isinstance(value, str))

    def mask(self, text: str) -> str:
        """The text, with what looks like a secret or is personal replaced."""
        masked = mask_text(text)[0]
        return masked if self._keeps_personal else mask_personal(masked, self._node)


def with_arguments(target: dict[str, Any], command: Command, rule: Rule) -> dict[str, Any]:
    """The target of a record, with what the command was given beside it. A value whose field is called a secret is masked here: the
    log sees the two apart."""
    arguments = {
        name: part
        for name, part in command.to_wire().items()
        if name not in _ENVELOPE and target.get(name) != part
    }
    path = arguments.get("field")
    if isinstance(path, str) and "value" in arguments and _is_secret(path, arguments["value"], rule):
        arguments["value"] = MASK
    return target | {"arguments": arguments} if arguments else target


def _is_secret(path: str, value: object, rule: Rule) -> bool:
    """Whether a field is one, or is within one, by the names on its path."""
    return any(rule.is_secret(part, value) for part in re.split(r"[./]", path))
