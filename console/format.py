"""Numbers, times and text as people read them, one way for the tables, the header and the command line.

Everything here is pure: no clock is read, no terminal asked. Widths are in character cells.
"""

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len, set_cell_size

ELLIPSIS = "…"
NOTHING = "-"
"""Shown where a value does not exist, as opposed to being zero."""

STATUS_GLYPHS = {
    "starting": "◌",
    "idle": "·",
    "runnable": "○",
    "frozen": "❄",
    "running": "●",
    "waiting": "◐",
    "suspended": "‖",
    "exited": "✕",
    "holding": "■",
}
"""One cell each, different in shape: the status can be told without its colour."""

NODE_GLYPHS = {"up": "●", "held": "■", "dead": "✕", "stopped": "○", "lost": "↻", "connecting": "↻"}

_BYTES = ("B", "K", "M", "G", "T", "P")
_COUNTS = ("", "k", "M", "G", "T")
_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def clip(text: str, width: int) -> str:
    """`text` in at most `width` cells, its end replaced by an ellipsis where it is too long."""
    if width <= 0:
        return ""
    if len(text) <= width and text.isascii():
        return text
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS


def clip_middle(text: str, width: int) -> str:
    """`text` in at most `width` cells; its middle gives way, as both ends of a path or a name tell."""
    if cell_len(text) <= width:
        return text
    if width < 5:
        return clip(text, width)
    head = (width - 1) // 2
    tail = width - 1 - head
    if text.isascii():
        return text[:head] + ELLIPSIS + text[-tail:]
    end = text[-tail:]
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(text, head) + ELLIPSIS + end


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells, clipped or filled with blanks; `right` aligns it to the right."""
    text = clip(text, width)
    blanks = " " * (width - (len(text) if text.isascii() else cell_len(text)))
    return blanks + text if right else text + blanks


def one_line(text: str) -> str:
    """`text` on one line, control characters made visible: what an agent says must not move the cursor."""
    if text.isprintable():
        return text
    shown = []
    for character in text:
        if character.isprintable():
            shown.append(character)
        elif character in "\n\r":
            shown.append("⏎")
        elif character.isspace():
            shown.append(" ")
        else:
            shown.append("�")
    return "".join(shown)


def count(number: float) -> str:
    """A whole number exactly, with thousands marked: 1,234,567."""
    return f"{round(number):,}"


def money(cost: float | None) -> str:
    """A cost in whatever currency the models report."""
    if cost is None:
        return "-"
    return "0" if cost == 0 else f"{cost:.4f}" if cost < 0.1 else f"{cost:,.2f}"


def short_count(number: float) -> str:
    """A number in at most 5 cells: 999, 1.2k, 12.3k, 123k, 1.2M."""
    negative = "-" if number < 0 else ""
    number = abs(number)
    if number < 1000:
        return f"{negative}{round(number)}" if round(number) < 1000 else f"{negative}1.0k"
    for unit in _COUNTS[1:]:
        number /= 1000
        if number < 99.95:
            return f"{negative}{number:.1f}{unit}"
        if number < 999.5:
            return f"{negative}{number:.0f}{unit}"
    return f"{negative}{number:.0f}{_COUNTS[-1]}"


def rate(per_second: float) -> str:
    """Events a second in at most 5 cells, without the unit: 0, 0.4, 12.5, 340, 1.2k."""
    if per_second == 0:
        return "0"
    if 0 < per_second < 0.05:
        return "<0.1"
    if 0 < per_second < 99.95:
        return f"{per_second:.1f}"
    return short_count(per_second)


def size(size_bytes: float) -> str:
    """Bytes in binary multiples, at most 5 cells: 512B, 1.5K, 412M, 3.2G."""
    number = float(max(0.0, size_bytes))
    for unit in _BYTES[:-1]:
        if number < 1023.5 or (unit == "B" and number < 1024):
            return f"{number:.0f}{unit}" if unit == "B" or number >= 99.95 else f"{number:.1f}{unit}"
        number /= 1024
    return f"{number:.1f}{_BYTES[-1]}"


def memory(size_bytes: float) -> str:
    """What a process takes; a dash when that is not known, as of one that is gone: none takes nothing."""
    return size(size_bytes) if size_bytes > 0 else NOTHING


def percent(share: float) -> str:
    """A share of one as a percentage, at most 5 cells: 0%, 0.4%, 37%, 250%."""
    value = share * 100
    if value == 0:
        return "0%"
    if 0 < value < 0.05:
        return "<0.1%"
    if 0 < value < 9.95:
        return f"{value:.1f}%"
    return f"{value:.0f}%"


def duration(seconds: float) -> str:
    """A length of time in at most 6 cells: 0, 85µs, 2.1ms, 4.2s, 3m07s, 2h05m, 3d04h, 412d."""
    if seconds <= 0:
        return "0"
    if seconds < 0.000_999_5:
        return f"{max(1.0, seconds * 1e6):.0f}µs"
    if seconds < 0.099_95:
        return f"{seconds * 1e3:.1f}ms"
    if seconds < 0.999_5:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    if whole < 100 * 86_400:
        return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
    return f"{whole // 86_400}d"


def ago(seconds: float) -> str:
    """How long since something happened: `just now` or `3m07s ago`."""
    return "just now" if seconds < 1.0 else f"{duration(seconds)} ago"


def clock(at: float) -> str:
    """The time of day of a Unix time, in this machine's time zone: 14:03:07."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def clock_ms(at: float) -> str:
    """The time of day with milliseconds: what happens between agents happens within one second."""
    return f"{clock(at)}.{int(at * 1000) % 1000:03d}"


def since(at: float, now: float, cells: int) -> str:
    """A moment in the past, in so many cells: `03:05:39`, `03:05` where there is no room, `Nov 25` when it was another day."""
    then = datetime.fromtimestamp(at)
    if then.date() != datetime.fromtimestamp(now).date():
        return then.strftime("%b %d")
    return then.strftime("%H:%M:%S" if cells >= 8 else "%H:%M")


def timestamp(at: float) -> str:
    """Date and time of a Unix time, in this machine's time zone: 2026-11-21 14:03:07."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def moment(at: float, now: float) -> str:
    """A moment in the past, in words: 14:03:07 (2m10s ago)."""
    return f"{clock(at)} ({ago(max(0.0, now - at))})"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun: `1 agent`, `2 agents`, `1,024 agents`."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` cells, filled to `share` (0 to 1) in eighths of a cell.

    Anything above zero shows at least the thinnest stroke: little is not nothing.
    """
    if width <= 0:
        return ""
    eighths = min(width * 8, max(0, round(share * width * 8)))
    if share > 0 and eighths == 0:
        eighths = 1
    full, rest = divmod(eighths, 8)
    text = _EIGHTHS[8] * full + (_EIGHTHS[rest] if rest else "")
    return text + " " * (width - len(text))


def spark(values: Sequence[float], width: int, *, top: float | None = None) -> str:
    """A one-line history of `width` cells, newest to the right, from zero up to `top` or the largest value."""
    return spark_lines(values, width, 1, top=top)[0]


def spark_lines(
    values: Sequence[float], width: int, height: int, *, top: float | None = None, relative: bool = False
) -> list[str]:
    """A history `width` cells wide and `height` lines high, top line first, newest to the right.

    It begins at zero; `relative` shows how a large number moves instead: from the smallest value to the largest, or
    to a twentieth above it when it hardly moves.

    More values than cells: the newest `width` are shown. Fewer: the left stays blank. A value above zero shows at
    least the lowest block, so that a single crash in a minute is seen.
    """
    if width <= 0 or height <= 0:
        return [""] * max(0, height)
    shown = list(values[-width:])
    lowest = 0.0
    if relative and shown:
        lowest = min(shown) * 0.999
        top = lowest + max(shown) / 20
    highest = max([top or 0.0, *shown], default=0.0) - lowest
    steps = height * 8
    levels = []
    for value in shown:
        level = round((value - lowest) / highest * steps) if highest > 0 else 0
        levels.append(min(steps, max(level, 1 if value > 0 else 0)))
    blank = " " * (width - len(levels))
    lines = []
    for line in range(height - 1, -1, -1):
        floor = line * 8
        lines.append(blank + "".join(_BLOCKS[min(8, max(0, level - floor))] for level in levels))
    return lines
