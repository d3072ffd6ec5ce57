"""The options that narrow a search of the audit log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from observe.audit.matching import Wanted


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What narrows a search."""
    phases = click.Choice(["requested", "completed", "failed", "denied", "expired", "noted"])
    for option in (
        click.option("--what", default="", metavar="VERB", help="Only this action, such as kill."),
        click.option("--phase", type=phases, help="Only records of this kind."),
        click.option("--who", default="", metavar="NAME", help="Only of this name or fingerprint."),
        click.option("--agent", default="", metavar="AGENT", help="Only about this pid or name."),
        click.option(
            "--trace", default="", metavar="ID", help="Only of this trace, by its id or how it begins."
        ),
        click.option("--since", default="", metavar="WHEN", help="2h, 7d, or 2026-11-25[T14:30]."),
        click.option("--until", default="", metavar="WHEN", help="Likewise."),
    ):
        function = option(function)
    return function


def wanted(text: tuple[str, ...], options: dict[str, Any], *, notes: bool) -> Wanted:
    """What the options ask for. Raises click.BadParameter."""
    from observe.audit.matching import Wanted

    now = time.time()
    since, until = moment(options.pop("since"), now), moment(options.pop("until"), now)
    options["phase"] = options["phase"] or ""
    notes = notes or options["phase"] == "noted" or bool(options["what"])
    limits: dict[str, Any] = {"since": since or 0.0, "until": until if until is not None else float("inf")}
    return Wanted(text, **options, **limits, notes=notes)


def moment(text: str, now: float) -> float | None:
    """Unix time of `2h` (ago), `7d`, or a date; None for an empty text. Raises click.BadParameter."""
    if not text:
        return None
    from observe.console.moments import moment as read

    try:
        return read(text, now)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
