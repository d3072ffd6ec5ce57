"""Process groups and registered names as they cross the wire. No input, no output."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from observe.probe.wire_base import AgentName, Asked, Role, Told, class_name_field

MAX_NAMES: Final = 500
"""The most groups, and the most names, in one answer."""


class NamesArgs(Asked):
    text: str = Field(default="", max_length=256)
    """In the name of a group, or in a name or the class of the agent that has it, whatever the case."""
    limit: int = Field(default=100, ge=0, le=MAX_NAMES)


class Member(AgentName):
    """A member of a process group."""

    times: int = 1
    """How often it has joined."""


class ProcessGroup(Told):
    """Agents that are reached together under one name."""

    name: str
    memberships: int
    """How many messages one that is published makes."""
    members: list[Member] = Field(default_factory=list)
    """In the order in which they joined; 100 at most."""
    members_total: int = 0


class Name(Told):
    """A registered name, and the agent that has it."""

    name: str
    pid: int
    class_name: str = class_name_field()
    status: str = ""
    """Empty: it runs in a worker process."""


class NamesPage(Told):
    """The result of `names`."""

    groups: list[ProcessGroup]
    """The largest first."""
    groups_matched: int
    groups_total: int
    names: list[Name]
    """In the order of the alphabet."""
    names_matched: int
    names_total: int


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"names": ("viewer", NamesArgs)}
