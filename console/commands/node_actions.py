"""The verbs that act on a service as a whole: `log-level`, `gc`. Their texts are those of `observe.console.deeds`."""

from __future__ import annotations

from typing import Any, Final

import click

from observe.console.acting import Manner, act_on_node, manner_options
from observe.console.deeds import BY_ID, Deed, do
from observe.console.options import node_argument


def _act(
    deed: Deed, node: str, arguments: dict[str, Any], reason: str, as_json: bool, timeout_s: float
) -> None:
    act_on_node(
        node,
        lambda client: do(client, deed, None, arguments, reason),
        Manner(yes=True, as_json=as_json, timeout_s=timeout_s),
    )


LOG_LEVEL: Final = BY_ID["log-level"]
GC: Final = BY_ID["gc"]


@click.command(LOG_LEVEL.id, help=f"{LOG_LEVEL.description}\n\n{LOG_LEVEL.more}")
@node_argument
@click.argument("level", type=click.Choice(LOG_LEVEL.wants[0].choices, case_sensitive=False))
@click.argument("logger", default="")
@manner_options
def log_level(node: str, level: str, logger: str, reason: str, as_json: bool, timeout_s: float) -> None:
    """Set the level of a logger."""
    _act(LOG_LEVEL, node, {"level": level.upper(), "logger": logger}, reason, as_json, timeout_s)


@click.command(GC.id, help=f"{GC.description}\n\n{GC.more}")
@node_argument
@click.option(
    "--generation", type=click.IntRange(0, 2), default=2, show_default=True, help="The oldest to look at."
)
@manner_options
def gc(node: str, generation: int, reason: str, as_json: bool, timeout_s: float) -> None:
    """Collect garbage."""
    _act(GC, node, {"generation": generation}, reason, as_json, timeout_s)


COMMANDS: Final = {command.name: command for command in (log_level, gc)}
