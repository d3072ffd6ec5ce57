"""One trace event as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from observe.console.format import clock_ms, duration

if TYPE_CHECKING:
    from observe.probe.wire_traces import TraceEvent

STYLES: Final = {
    "crash": "bold red",
    "exit": "yellow",
    "restart": "cyan",
    "spawn": "green",
    "state": "magenta",
    "schedule": "dim",
}
MESSAGE_CELLS: Final = 400


def line(event: TraceEvent) -> Text:
    """When, who, which kind, to or from whom, what."""
    text = Text(no_wrap=False, overflow="fold")
    text.append(f"{clock_ms(event.at)}  ", "dim")
    text.append(event.name or event.class_name, "bold")
    text.append(f" {event.pid}  ", "dim")
    text.append(f"{event.kind:<8} ", STYLES.get(event.kind, "blue"))
    arrow = {
        "send": "→",
        "call": "→",
        "receive": "←",
        "handled": "",
        "reply": "→" if event.way == "out" else "←",
    }
    peer = event.peer_name or (
        "outside" if event.kind in ("receive", "reply") and event.how not in ("timer", "signal") else ""
    )
    if peer:
        text.append(f"{arrow.get(event.kind, '')} {peer}".strip() + "  ", "cyan")
    if event.how in ("timer", "signal"):
        text.append(f"({event.how})  ", "dim")
    for part, style in _parts(event):
        text.append(part, style)
    return text


def _parts(event: TraceEvent) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    if event.activity:
        parts.append((f"{event.way} {event.activity}  ", ""))
    if event.kind == "state":
        for name, old, new in event.changes:
            parts += [
                (f"{name}: ", "bold"),
                (old or "(nothing)", "red"),
                (" → ", "dim"),
                (f"{new or '(nothing)'}  ", "green"),
            ]
    elif event.message is not None:
        parts.append((str(event.message["text"])[:MESSAGE_CELLS] + "  ", ""))
    if event.value is not None:
        parts += [("= ", "dim"), (str(event.value["text"])[:MESSAGE_CELLS] + "  ", "green")]
    if event.text:
        parts.append((f"{event.text}  ", ""))
    if event.error:
        parts.append((f"{event.error}  ", "red"))
    if event.took_s is not None:
        parts.append((duration(event.took_s), "dim"))
    return parts
