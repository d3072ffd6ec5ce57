"""Who is told when something is wrong, and where the audit log's checkpoints go: arguments of `Probe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from observe.probe.event_kinds import EVENT_KINDS

KINDS: Final = tuple(sorted(set(EVENT_KINDS) - {"spawn", "exit"}))
"""Kinds of event that can be told. Spawns and exits are not: there may be thousands a second."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Events that are told to a webhook and to a command.

        Probe(node, escalation=Escalation(webhook="https://chat.example/hook", command="mail -s observe oncall@example.com"))

    Several may be given, such as one for whoever is on call, and one for the owners of a policy.

    Raises:
        ValueError: an argument makes no sense; the text says which.
        TypeError: a text where several are expected.
    """

    webhook: str = ""
    """A URL to which each is posted as a JSON document. Empty: none."""
    command: str = ""
    """A command of the shell that gets the same document on its standard input. Empty: none."""
    kinds: tuple[str, ...] = ("finding", "governed", "limit", "node")
    """Which kinds of event (docs/protocol.md, **event**)."""
    policies: tuple[str, ...] = ()
    """Of `governed`: patterns of policies, one of which must have decided it; empty for all."""
    agents: tuple[str, ...] = ()
    """Patterns of the name or class of the agent that it is about, one of which must fit; empty for all, and for what is about none."""
    a_minute: int = 30
    """At most so many; how many were left out stands in the next one."""

    def __post_init__(self) -> None:
        if not self.webhook and not self.command:
            raise ValueError("Escalation needs webhook=, command= or both: otherwise nobody is told")
        _check_url(self.webhook)
        unknown = set(self.kinds) - set(KINDS) if not isinstance(self.kinds, str) else {self.kinds}
        if unknown:
            raise ValueError(f"kinds are some of {', '.join(KINDS)}, not {', '.join(sorted(unknown))!r}")
        if isinstance(self.policies, str) or isinstance(self.agents, str):
            raise TypeError('policies and agents are several patterns, such as ("tenants", "one-*")')
        if self.policies and "governed" not in self.kinds:
            raise ValueError("policies= is about events of the kind governed, which kinds= leaves out")
        if not 1 <= self.a_minute <= 600:
            raise ValueError(f"a_minute must be between 1 and 600, not {self.a_minute!r}")

    def is_about(self, event: Mapping[str, Any]) -> bool:
        """Whether this event is told."""
        if event["kind"] not in self.kinds:
            return False
        if self.policies and event["kind"] == "governed" and not _fits(self.policies, (event.get("reason"),)):
            return False
        return not self.agents or _fits(self.agents, (event.get("name"), event.get("class")))


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the probe takes the audit log's newest checkpoint by itself, so that nobody can take back what was recorded.

        Probe(node, anchor=Anchor(file="/mnt/other/shop.notes"))

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    file: str = ""
    """Each is added to this file, best on another disk or machine. Empty: none."""
    webhook: str = ""
    """A URL to which each is posted as text. Empty: none."""
    command: str = ""
    """A command of the shell that gets each on its standard input. Empty: none."""
    otlp: str = ""
    """The endpoint of an OTLP collector, such as `http://collector:4318`: it gets each as a log record, whose body is the checkpoint.
    Empty: none."""
    witness: str = ""
    """The URL of a witness of https://c2sp.org/tlog-witness: it looks at the proof that the log has only grown, and signs. What it has
    signed is kept in the log's directory, in `log.witnessed`. Empty: none."""
    every_s: float = 60.0
    """Seconds between two, when there is a new one."""

    def __post_init__(self) -> None:
        if not (self.file or self.webhook or self.command or self.otlp or self.witness):
            raise ValueError(
                "Anchor needs file=, webhook=, command=, otlp= or witness=: otherwise the checkpoints go nowhere"
            )
        _check_url(self.webhook)
        _check_url(self.otlp, "otlp")
        _check_url(self.witness, "witness")
        if not 1 <= self.every_s <= 86_400:
            raise ValueError(f"every_s must be between 1 and 86,400 seconds, not {self.every_s!r}")


def _fits(patterns: tuple[str, ...], names: tuple[str | None, ...]) -> bool:
    return any(name and fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _check_url(url: str, what: str = "webhook") -> None:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f'{what} is a URL such as "https://example.com/hook", not {url!r}')
