"""The events of a trace session as a file: again to be shown by `observe trace show`, or as a drawing. Pure but for the writing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from observe.console.sequence import as_mermaid, as_svg, as_text, chart
from observe.console.trace_file import as_otlp, head
from observe.probe.wire_traces import TraceEvent

FORMATS: Final = ("jsonl", "mmd", "svg", "txt", "otlp")
TEXT_CELLS: Final = 120


def saved(path: Path, node: str, selector: str, events: Sequence[TraceEvent]) -> int:
    """Write the file that the end of its name asks for. Returns its bytes.

    Raises:
        ValueError: the name ends otherwise.
        FileExistsError: it exists; nothing is overwritten.
        OSError: it cannot be written.
    """
    match path.suffix.lower():
        case ".jsonl" | ".json":
            maps = [head(node, selector), *(event.to_wire() for event in events)]
            text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in maps)
        case ".mmd":
            text = as_mermaid(chart(events))
        case ".svg":
            text = as_svg(chart(events))
        case ".txt":
            text = "\n".join(as_text(chart(events), TEXT_CELLS)) + "\n"
        case ".otlp":
            text = json.dumps(as_otlp(node, events), ensure_ascii=False) + "\n"
        case _:
            raise ValueError(f"the name must end in {', '.join(FORMATS)}: that says what is written")
    content = text.encode(errors="replace")
    with path.open("xb") as file:
        file.write(content)
    return len(content)
