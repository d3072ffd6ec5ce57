"""Recent crashes in groups of the same type at the same place: one fault is one line, however often it strikes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from observe.console.format import ago, clock, one_line, pad, plural
from observe.console.lines import Folds, Line
from observe.probe.wire_agent import Crash


@dataclass(slots=True)
class Group:
    """Crashes of one type at one place."""

    fingerprint: str
    crashes: list[Crash] = field(default_factory=list)
    """Newest first."""

    @property
    def newest(self) -> Crash:
        """The last one: its reason stands for all."""
        return self.crashes[0]

    @property
    def told(self) -> Crash:
        """The last one of which the traceback is known, as of many at once most are left out; else the last one."""
        return next((crash for crash in self.crashes if "\n" in crash.traceback), self.newest)

    @property
    def agents(self) -> int:
        """How many different agents it struck; an agent and its successors count once."""
        return len({(crash.supervisor, crash.child or crash.pid) for crash in self.crashes})


def group(crashes: Iterable[Crash]) -> list[Group]:
    """Group crashes that come newest first; the most frequent group is the first."""
    groups: dict[str, Group] = {}
    for crash in crashes:
        key = crash.fingerprint or crash.kind
        groups.setdefault(key, Group(key)).crashes.append(crash)
    return sorted(groups.values(), key=lambda group: (-len(group.crashes), -group.newest.at))


def group_lines(groups: list[Group], folds: Folds, now: float) -> list[Line]:
    """One line a group, and below it, when it is unfolded, one line a crash. `now` is the node's clock."""
    lines: list[Line] = []
    for item in groups:
        newest = item.newest
        key = f"group/{item.fingerprint}"
        is_open = folds.is_open(key)
        lines.append(
            Line(
                key,
                (
                    (pad(f"{len(item.crashes):,}x", 6, right=True) + "  ", "bad"),
                    (pad(ago(max(0.0, now - newest.at)), 12), "dim"),
                    (pad(plural(item.agents, "agent"), 11), "text"),
                    (one_line(newest.class_name) + "  ", "text"),
                    (one_line(newest.reason), "strong"),
                ),
                0,
                is_open,
            )
        )
        if is_open:
            for number, crash in enumerate(item.crashes):
                lines.append(_crash_line(f"{key}/{crash.pid}/{number - len(item.crashes)}", crash))
    return lines


def _crash_line(key: str, crash: Crash) -> Line:
    name = crash.name or crash.child or ""
    successor = f"restarted as #{crash.restarted}" if crash.restarted else "not restarted"
    return Line(
        key,
        (
            (clock(crash.at) + "  ", "dim"),
            (f"{name} #{crash.pid}".strip() + "  ", "text"),
            (successor, "dim"),
        ),
        1,
        pid=crash.restarted or crash.pid,
    )


def crash_at(groups: list[Group], key: str) -> Crash | None:
    """The crash that a line stands for: of a group the newest that has a traceback."""
    for item in groups:
        prefix = f"group/{item.fingerprint}"
        if key == prefix:
            return item.told
        if key.startswith(prefix + "/"):
            pid, _, number = key[len(prefix) + 1 :].partition("/")
            index = int(number) + len(item.crashes)
            if 0 <= index < len(item.crashes) and str(item.crashes[index].pid) == pid:
                return item.crashes[index]
    return None
