"""What all messages of the attach protocol share: how they are read, and what a command carries. No input, no output.

Modules with the messages of some verbs (`wire_*.py`) build on this one; `wire.py` gathers them in its table of verbs.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import VERSION, BaseModel, ConfigDict, Field

BUILDS_LATE: Final = tuple(int(part) for part in VERSION.split(".")[:2]) >= (2, 14)
"""Whether a message is made ready to be read when the first of its kind comes, and not when its module is loaded: a verb of
the command line needs five of two hundred kinds, and making them all takes 60 ms. Before pydantic 2.14 two threads
that need the same kind for the first time could get in each other's way."""

COMMAND_HORIZON_S: Final = 30.0
"""How far ahead `expires_at` may lie. The probe remembers command ids for so long, so none is carried out twice."""

Pid = Annotated[int, Field(ge=0, lt=2**63)]
AgentArgument = Annotated[int, Field(ge=1, lt=2**63)] | Annotated[str, Field(min_length=1, max_length=1024)]
Role = Literal["viewer", "operator", "admin"]


class Asked(BaseModel):
    """What a client sends: strict types, no unknown keys."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=BUILDS_LATE
    )

    def to_wire(self) -> dict[str, Any]:
        """The map for a frame."""
        return self.model_dump(by_alias=True)


class Told(BaseModel):
    """What a node sends: strict types, unknown keys are passed over."""

    model_config = ConfigDict(
        strict=True, extra="ignore", populate_by_name=True, allow_inf_nan=False, defer_build=BUILDS_LATE
    )

    def to_wire(self) -> dict[str, Any]:
        """The map for a frame."""
        return self.model_dump(by_alias=True)

    @classmethod
    def from_wire(cls, data: object) -> Self:
        """Read what a node sent. Raises pydantic's ValidationError."""
        return cls.model_validate(data)


class Traced(Told):
    """What a command did to an agent, which may be traced."""

    trace: str = ""
    span: str = ""
    """Where the agent was in its trace when the command reached it; left out where nothing is traced."""

    def to_wire(self) -> dict[str, Any]:
        """The map for a frame."""
        made = super().to_wire()
        return {key: part for key, part in made.items() if part != "" or key not in Traced.model_fields}


def class_name_field() -> Any:
    """A field `class` on the wire, which Python keeps for itself: attribute `class_name`."""
    return Field(validation_alias="class", serialization_alias="class")


class Command(Asked):
    """What every verb that changes something carries beside its own arguments."""

    incarnation: str = Field(min_length=1, max_length=128)
    """The node's, as `hello` gave it. A command for another is `stale`."""
    expires_at: float
    """By the server's clock; at most `COMMAND_HORIZON_S` ahead."""
    command_id: str = Field(min_length=1, max_length=64)
    """Unique. A repeated one gets its first answer and is not carried out again."""
    reason: str = Field(default="", max_length=1024)
    """Why, for the audit log."""


class Frame(Told):
    """One level of a stack."""

    file: str
    line: int
    function: str
    source: str = ""
    """The line of code; empty when it cannot be read."""


class AgentName(Told):
    """An agent that another one points to."""

    pid: int
    name: str | None = None
    class_name: str = class_name_field()
