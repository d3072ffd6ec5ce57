"""What is on the screen as a file: JSON and CSV of what is listed, text and SVG of the screen itself. Pure but for the writing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

FORMATS: Final = ("json", "csv", "txt", "svg")
"""By the end of the file's name."""


def written(
    path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]], screen: Sequence[str], svg: str
) -> int:
    """Write the file that the end of its name asks for. Returns its bytes.

    Raises:
        ValueError: the name ends otherwise.
        FileExistsError: it exists; nothing is overwritten.
        OSError: it cannot be written.
    """
    match path.suffix.lower():
        case ".json":
            text = json.dumps(
                [dict(zip(columns, row, strict=True)) for row in rows], indent=1, ensure_ascii=False
            )
        case ".csv":
            text = as_csv(columns, rows)
        case ".txt":
            text = "\n".join(line.rstrip() for line in screen)
        case ".svg":
            text = svg
        case _:
            raise ValueError(f"the name must end in {', '.join(FORMATS)}: that says what is written")
    content = (text + "\n").encode(errors="replace")
    with path.open("xb") as file:
        file.write(content)
    return len(content)


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A heading and a line a row; what is not known is empty. No cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value  # an agent's name must not run in somebody's spreadsheet
    return value
