"""The table of agents: its columns, which rows are asked for, and a window of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from observe.probe.wire_base import Asked, Role, Told

STATUS_NAMES: Final = ("starting", "idle", "runnable", "running", "waiting", "suspended", "exited", "frozen")
"""The index is the status number of the feed."""

COLUMNS: Final = (
    "pid", "name", "class", "status", "status_s", "mailbox", "mailbox_max", "handled", "rate", "reductions", "load",
    "restarts", "crashes", "activity", "activity_s", "age_s", "supervisor", "child", "process", "containment",
    "restarts_min", "crashes_min", "risk", "tokens", "cost",
)  # fmt: skip
"""The columns of the agents table in their order. docs/protocol.md says what each means."""

TEXT_COLUMNS: Final = frozenset({"name", "class", "status", "activity", "child", "containment"})

LEVELS: Final = ("none", "monitored", "restricted", "isolated", "suspended", "killed")
"""Of containment, each further than the one before."""

MAX_ROWS: Final = 1000
"""The most rows in one page: about 200 kB. A screen shows fifty."""


class Query(Asked):
    """Which agents to show, in which order."""

    sort: str = Field(default="reductions", max_length=64)
    """A column; unknown ones are answered with `no_such_column`."""
    descending: bool = True
    filter: str = Field(default="", max_length=1024)
    """Terms that must all hold, in the language of `observe.probe.filters` (docs/filters.md)."""
    offset: int = Field(default=0, ge=0, lt=2**53)
    limit: int = Field(default=50, ge=0, le=MAX_ROWS)
    columns: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=64)
    """Which columns to send and in which order; None for all."""


class Page(Told):
    """A window of the agents table."""

    columns: list[str]
    rows: list[list[Any]]
    matched: int
    """Rows that passed the filter."""
    total: int
    """Live agents."""
    at: float
    """When the newest telemetry in it was gathered."""
    offset: int

    def as_dicts(self) -> list[dict[str, Any]]:
        """The rows, each as a map from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_wire(self) -> dict[str, Any]:
        """As in `Told`, without a copy of each row."""
        return dict(self.__dict__)


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "agents": ("viewer", Query),
}
