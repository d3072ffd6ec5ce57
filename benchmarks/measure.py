"""What the benchmarks share: repeated timing, results, and how they are shown."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

REPEAT = 15


@dataclass(frozen=True, slots=True)
class Result:
    """One figure."""

    name: str
    value: float
    unit: str
    goal: str = ""
    """What the project promises for this figure, empty when nothing."""
    ok: bool | None = None
    """Whether the goal was reached on this machine, at this moment."""
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def at_least(name: str, value: float, unit: str, goal: float, note: str = "") -> Result:
    """A figure that should be large."""
    return Result(name, value, unit, f"at least {_number(goal)}", value >= goal, note)


def at_most(name: str, value: float, unit: str, goal: float, note: str = "") -> Result:
    """A figure that should be small."""
    return Result(name, value, unit, f"at most {_number(goal)}", value <= goal, note)


def _number(goal: float) -> str:
    return f"{goal:,.0f}" if goal >= 100 else f"{goal:.3g}"


async def best_rate(count: int, work: Callable[[], Awaitable[None]], repeat: int = REPEAT) -> float:
    """Operations a second of one core, of `work` which does `count` of them: the best of `repeat` short runs.

    By processor time, so that others who take the core do not count; and the best, not the mean, because everything
    that disturbs a run only ever makes it slower.
    """
    best = 0.0
    for _ in range(repeat):
        gc.collect()
        began = time.process_time()
        await work()
        best = max(best, count / (time.process_time() - began))
    return best


def bare_step_ns() -> float:
    """What CPython itself takes here to make and run one coroutine that does not wait, in nanoseconds.

    The yardstick beside our figures: no runtime with `async def` handlers can do better than this a message, and it
    tells how fast this machine is at this moment.
    """

    async def handle(message: int) -> int:
        return message

    def run(count: int) -> float:
        began = time.perf_counter()
        for number in range(count):
            try:
                handle(number).send(None)
            except StopIteration:
                pass
        return (time.perf_counter() - began) / count * 1e9

    return min(run(20_000) for _ in range(10))


def machine() -> dict[str, object]:
    """Where the figures were taken."""
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "bare_step_ns": round(bare_step_ns()),
    }


def resident_bytes() -> int:
    """Resident memory of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def show(title: str, results: list[Result]) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column, justify in (
        ("figure", "left"),
        ("value", "right"),
        ("unit", "left"),
        ("goal", "left"),
        ("", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]  # a literal in a tuple
    for result in results:
        mark = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}[result.ok]
        value = f"{result.value:,.0f}" if abs(result.value) >= 100 else f"{result.value:,.2f}"
        table.add_row(result.name, value, result.unit, result.goal, f"{mark} [dim]{result.note}[/]")
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # in a file or a log, where 80 columns would break every line
    console.print(table)


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def child_argv(module: str, *args: str) -> list[str]:
    """The command line that runs a benchmark's module in a process of its own."""
    return [sys.executable, "-m", module, *args]
