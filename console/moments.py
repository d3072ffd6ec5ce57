"""Times as people type them where something is looked for: `2h` ago, or a date. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment(text: str, now: float) -> float:
    """Unix time of `2h` (ago), `7d`, `2026-11-25` or `2026-11-25T14:30`.

    Raises:
        ValueError: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - float(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time: 2h, 7d, 2026-11-25 or 2026-11-25T14:30") from None
