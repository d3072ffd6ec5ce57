"""A profile as its client gets it: sums by agent and by function, and the formats that other programs draw. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from observe.probe.wire_code import ProfileEvent


@dataclass(frozen=True, slots=True)
class Sums:
    """How often something was seen."""

    name: str
    self_count: int
    """As the innermost function; of an agent: while it ran."""
    total: int
    """Anywhere in the stack; of an agent: also while it waited."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What was seen of where time goes. Counts are samples."""

    stacks: tuple[ProfileEvent, ...]
    """The most frequent first."""
    samples: int
    """How often was looked."""
    idle: int
    """How often the scheduler, or the one agent, had nothing to do."""
    others: int
    """In stacks too rare to be told."""
    took_s: float
    cost_s: float
    """Processor time that sampling took of the service."""
    ended: str
    dropped: int

    @classmethod
    def of(cls, events: Sequence[ProfileEvent], ended: str, dropped: int) -> Profile:
        """From the events of a session."""
        stacks = tuple(one for one in events if one.kind == "stack")
        total = next((one for one in events if one.kind == "profile"), None)
        if total is None:
            return cls(stacks, 0, 0, 0, 0.0, 0.0, ended or "interrupted", dropped)
        return cls(
            stacks, total.samples, total.idle, total.others, total.took_s, total.cost_s, ended, dropped
        )

    def by_owner(self) -> list[Sums]:
        """Agents, the event loop and threads, by how often they ran or, of one agent, waited."""
        runs: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for one in self.stacks:
            total[_whose(one)] += one.count
            if one.how == "runs":
                runs[_whose(one)] += one.count
        return [Sums(name, runs[name], count) for name, count in total.most_common()]

    def by_function(self) -> list[Sums]:
        """Functions, by how often they were the innermost one."""
        inner: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for one in self.stacks:
            for name in set(one.stack):
                total[name] += one.count
            if one.stack:
                inner[one.stack[-1]] += one.count
        names = sorted(total, key=lambda name: (-inner[name], -total[name], name))
        return [Sums(name, inner[name], total[name]) for name in names]

    def as_collapsed(self) -> str:
        """One stack a line, for flamegraph.pl and its kin: `desk-1;app:handle;app:search 42`."""
        lines = (
            f"{';'.join(part.replace(';', ',') for part in _path(one))} {one.count}\n" for one in self.stacks
        )
        return "".join(lines)

    def as_speedscope(self, name: str) -> dict[str, Any]:
        """For https://www.speedscope.app: its file format, with one profile whose weights are seconds."""
        numbers: dict[str, int] = {}
        samples = [[numbers.setdefault(part, len(numbers)) for part in _path(one)] for one in self.stacks]
        each_s = self.took_s / self.samples if self.samples else 0.0
        weights = [one.count * each_s for one in self.stacks]
        return {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": "observe",
            "name": name,
            "shared": {"frames": [{"name": part} for part in numbers]},
            "profiles": [
                {"type": "sampled", "name": name, "unit": "seconds", "startValue": 0, "endValue": sum(weights),
                 "samples": samples, "weights": weights}
            ],
        }  # fmt: skip


def _whose(one: ProfileEvent) -> str:
    name = one.name or "?"
    return f"{name} {one.pid}" if one.pid else name


def _path(one: ProfileEvent) -> list[str]:
    return [_whose(one), *(["(waits)"] if one.how == "waits" else []), *one.stack]
