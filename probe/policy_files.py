"""Files of policies: read, checked with pydantic, and made into the runtime's rules. docs/policies.md has the form.

    version: 1
    rules:
      - policy: refunds
        effect: approve
        on: tool:refund
        where: {amount: ">100"}

What is wrong is told with its line and the policy's name, all of it at once. Nothing that is not known is passed over: a word that is
misspelt must not make a rule wider than it was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from observe.probe.finding_names import NAMES
from observe.probe.policy_yaml import Document, Unreadable
from observe.runtime.caps import WARN_AT, Cap, CapEffect
from observe.runtime.conformance import Machine
from observe.runtime.decisions import APPROVAL_S
from observe.runtime.errors import PoliciesRefused, PolicyFault
from observe.runtime.policies import Effect, Level, OnFinding, Rule
from observe.runtime.policy_set import PolicySet, version_of

MOST_RULES: Final = 1000
MOST_MACHINES: Final = 100

MOST_FAULTS: Final = 20
"""Told at once. Who has more of them mends these first."""

Text = Annotated[str, Field(min_length=1, max_length=256)]
Texts = Annotated[list[Text], Field(max_length=64)]
Patterns = Annotated[list[Text], Field(min_length=1, max_length=64)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]


class Part(BaseModel):
    """A part of a file: strict, and nothing unknown in it."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Teller(Part):
    """Who is told when nobody answers."""

    after_s: float = Field(gt=0)
    to: Text


class RulePart(Part):
    """One rule, as `observe.runtime.policies.Rule` says."""

    policy: Name
    effect: Effect
    on: Text
    kind: Literal["activity", "send"] = "activity"
    agents: Patterns = Field(default_factory=lambda: ["*"])
    where: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=16)
    hours: str = ""
    reason: str = Field(default="", max_length=500)
    approvers: Texts = Field(default_factory=list)
    timeout_s: float = Field(default=APPROVAL_S, gt=0, le=7 * 86_400)
    on_timeout: Literal["deny", "allow"] = "deny"
    two_person: bool = False
    escalate: list[Teller] = Field(default_factory=list, max_length=16)
    level: Level | None = None
    tools: Texts | None = None
    recipients: Texts | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> RulePart:
        of_approvals = {
            "approvers",
            "timeout_s",
            "on_timeout",
            "two_person",
            "escalate",
        } & self.model_fields_set
        if self.effect != "approve" and of_approvals:
            raise ValueError(f"{', '.join(sorted(of_approvals))}: only rules that `approve` have that")
        self.made()
        return self

    def made(self) -> Rule:
        """The runtime's rule."""
        return Rule(
            self.policy,
            self.effect,
            self.on,
            kind=self.kind,
            agents=tuple(self.agents),
            where={name: str(value) for name, value in self.where.items()},
            hours=self.hours,
            reason=self.reason,
            approvers=tuple(self.approvers),
            timeout_s=self.timeout_s,
            on_timeout=self.on_timeout,
            two_person=self.two_person,
            escalate=tuple((one.after_s, one.to) for one in self.escalate),
            level=self.level,
            tools=None if self.tools is None else tuple(self.tools),
            recipients=None if self.recipients is None else tuple(self.recipients),
        )


class MachinePart(Part):
    """One machine: in full (`start`, `states`), or one of the short forms (`only`, `never`, `at_most`)."""

    policy: Name
    agents: Patterns = Field(default_factory=lambda: ["*"])
    start: Name | None = None
    states: dict[Name, dict[Text, Name]] | None = Field(default=None, max_length=200)
    only: Text | None = None
    never: Text | None = None
    at_most: int | None = Field(default=None, ge=0, lt=200)
    of: Text | None = None
    after: Text | None = None
    until: Text | None = None
    within_s: float | None = Field(default=None, gt=0)
    once: bool | None = None
    per: str = Field(default="", max_length=64)
    expires: dict[Name, float] = Field(default_factory=dict)
    fields: list[Text] = Field(default_factory=list, max_length=16)
    effect: Literal["report", "deny", "contain"] = "report"
    level: Level | None = None
    reason: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _makes_sense(self) -> MachinePart:
        forms = {form: words for form, words in FORMS.items() if getattr(self, form) is not None}
        if len(forms) != 1:
            raise ValueError(
                "give one of `states`, `only`, `never`, `at_most`: what must happen in which order"
            )
        ((form, (needed, allowed)),) = forms.items()
        for word in sorted(ALL_WORDS - set(needed) - set(allowed)):
            if word in self.model_fields_set:
                raise ValueError(f"{word}: it does not belong to `{form}`")
        for word in needed:
            if getattr(self, word) is None:
                raise ValueError(f"{word}: `{form}` needs it")
        self.made()
        return self

    def made(self) -> Machine:
        """The runtime's machine."""
        more: dict[str, Any] = {
            "agents": tuple(self.agents),
            "per": self.per,
            "fields": tuple(self.fields),
            "effect": self.effect,
            "level": self.level,
            "reason": self.reason,
        }
        if self.states is not None:
            return Machine(self.policy, self.states, self.start or "", expires=self.expires, **more)
        if self.only is not None:
            once = self.once is not False
            return Machine.only(
                self.policy, self.only, after=self.after or "", within_s=self.within_s, once=once, **more
            )
        if self.never is not None:
            return Machine.never(self.policy, self.never, after=self.after or "", until=self.until, **more)
        return Machine.at_most(self.policy, self.at_most or 0, self.of or "", until=self.until, **more)


class FindingPart(Part):
    """Whoever a finding is about is contained, as `observe.runtime.policies.OnFinding` says."""

    policy: Name
    check: Text
    level: Level
    agents: Patterns = Field(default_factory=lambda: ["*"])
    tools: Texts | None = None
    recipients: Texts | None = None
    reason: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _makes_sense(self) -> FindingPart:
        if self.check not in NAMES:
            raise ValueError(f"there is no check {self.check!r}; there are {', '.join(NAMES)}")
        self.made()
        return self

    def made(self) -> OnFinding:
        """The runtime's."""
        return OnFinding(
            self.policy,
            self.check,
            self.level,
            agents=tuple(self.agents),
            tools=None if self.tools is None else tuple(self.tools),
            recipients=None if self.recipients is None else tuple(self.recipients),
            reason=self.reason,
        )


class CapPart(Part):
    """What may be spent, as `observe.runtime.caps.Cap` says."""

    policy: Name
    per: Text = "agent"
    agents: Patterns = Field(default_factory=lambda: ["*"])
    tool_calls: int | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    of: Patterns = Field(default_factory=lambda: ["tool:*"])
    every_s: float | None = Field(default=None, ge=1, le=366 * 86_400)
    effect: CapEffect = "deny"
    level: Level | None = None
    warn_at: float = Field(default=WARN_AT, gt=0, lt=1)
    warn_level: Level | None = None
    tools: Texts | None = None
    recipients: Texts | None = None
    reason: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _makes_sense(self) -> CapPart:
        if "of" in self.model_fields_set and self.tool_calls is None:
            raise ValueError("of: it says which tool_calls are counted, and there is no limit for them")
        self.made()
        return self

    def made(self) -> Cap:
        """The runtime's."""
        return Cap(
            self.policy,
            self.per,
            agents=tuple(self.agents),
            tool_calls=self.tool_calls,
            tokens=self.tokens,
            cost=self.cost,
            of=tuple(self.of),
            every_s=self.every_s,
            effect=self.effect,
            level=self.level,
            warn_at=self.warn_at,
            warn_level=self.warn_level,
            tools=None if self.tools is None else tuple(self.tools),
            recipients=None if self.recipients is None else tuple(self.recipients),
            reason=self.reason,
        )


FORMS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "states": (("start",), ("expires",)),
    "only": (("after",), ("within_s", "once")),
    "never": (("after",), ("until",)),
    "at_most": (("of",), ("until",)),
}
"""Of each form of a machine the words that it needs, and those that it may have."""

ALL_WORDS: Final = {word for needed, allowed in FORMS.values() for word in (*needed, *allowed)}


class Sheet(Part):
    """A whole file."""

    version: Literal[1]
    rules: list[RulePart] = Field(default_factory=list, max_length=MOST_RULES)
    machines: list[MachinePart] = Field(default_factory=list, max_length=MOST_MACHINES)
    caps: list[CapPart] = Field(default_factory=list, max_length=MOST_MACHINES)
    findings: list[FindingPart] = Field(default_factory=list, max_length=MOST_MACHINES)

    @model_validator(mode="after")
    def _says_something(self) -> Sheet:
        if not self.model_fields_set & {"rules", "machines", "caps", "findings"}:
            raise ValueError(
                "it has no `rules:`, `machines:`, `caps:` or `findings:`; for none at all write `rules: []`"
            )
        return self


def read(path: Path) -> PolicySet:
    """The policies of a file.

    Raises:
        PoliciesRefused: it cannot be read, or something in it is wrong; the error says what and where.
    """
    source = str(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PoliciesRefused(source, [PolicyFault(f"cannot be read: {error.strerror or error}")]) from None
    return parse(text, source)


def parse(text: bytes, source: str) -> PolicySet:
    """The policies of a text. Raises as `read` does."""
    try:
        document = Document(text)
    except Unreadable as error:
        raise PoliciesRefused(source, [error.fault]) from None
    if not isinstance(document.data, dict):
        fault = PolicyFault("policies begin with `version: 1` and `rules:`", document.line_of(()))
        raise PoliciesRefused(source, [fault])
    try:
        sheet = Sheet.model_validate(document.data)
    except ValidationError as error:
        raise PoliciesRefused(source, _faults(error, document)) from None
    twice = _twice(sheet, document)
    if twice:
        raise PoliciesRefused(source, twice)
    return PolicySet(
        tuple(one.made() for one in sheet.rules),
        tuple(one.made() for one in sheet.machines),
        tuple(one.made() for one in sheet.findings),
        tuple(one.made() for one in sheet.caps),
        source,
        version_of(text),
    )


def _twice(sheet: Sheet, document: Document) -> list[PolicyFault]:
    """Policies that have the name of another one: counts and records could not tell them apart."""
    seen: set[str] = set()
    faults = []
    parts: list[tuple[str, Sequence[RulePart | MachinePart | CapPart | FindingPart]]] = [
        ("rules", sheet.rules),
        ("machines", sheet.machines),
        ("caps", sheet.caps),
        ("findings", sheet.findings),
    ]
    for section, named in parts:
        for place, one in enumerate(named):
            if one.policy in seen:
                line = document.line_of((section, place, "policy"))
                faults.append(PolicyFault("another policy has this name", line, one.policy))
            seen.add(one.policy)
    return faults


def _faults(error: ValidationError, document: Document) -> list[PolicyFault]:
    faults: list[PolicyFault] = []
    seen: set[tuple[int, str]] = set()
    for one in error.errors(include_url=False, include_input=False):
        loc = one["loc"]
        path = tuple(part for part in loc if isinstance(part, int | str))
        known = path
        while known and known not in document.lines:
            known = known[:-1]  # the rest names the kinds of value that were tried
        where = ".".join(str(part) for part in (known if len(path) < 2 else known[2:]))
        text = one["msg"].removeprefix("Value error, ")
        if one["type"] == "missing":
            where = ".".join(str(part) for part in path[2:] or path)
        elif one["type"] == "extra_forbidden":
            text = "there is no such word here"
            where = where or str(path[-1])
        elif len(path) > len(known):
            text = "a text, a number, true or false is wanted" if "where" in path else text
        name = _name_at(document.data, path)
        if name and text.startswith(f"{name}: "):
            text = text[len(name) + 2 :]
        at = (document.line_of(path), where)
        if where and at in seen:
            continue  # another kind of value that it is not either
        seen.add(at)
        faults.append(PolicyFault(f"{where}: {text}" if where else text, at[0], name))
    return sorted(faults, key=lambda fault: fault.line)[:MOST_FAULTS]


def _name_at(data: Any, path: tuple[int | str, ...]) -> str:
    """The policy in which a fault stands."""
    if len(path) < 2 or not isinstance(path[1], int):
        return ""
    part = data[path[0]][path[1]]
    name = part.get("policy") if isinstance(part, dict) else None
    return name[:64] if isinstance(name, str) else f"number {path[1] + 1}"
