"""The verbs that act on a service as a whole: `log-level`, `gc`."""

from __future__ import annotations

from typing import Final

import click

from observe.console.acting import Manner, act_on_node, manner_options
from observe.console.options import node_argument

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@click.command("log-level")
@node_argument
@click.argument("level", type=click.Choice(LEVELS, case_sensitive=False))
@click.argument("logger", default="")
@manner_options
def log_level(node: str, level: str, logger: str, reason: str, as_json: bool, timeout_s: float) -> None:
    """Set the level of a logger of the service; of the root logger when none is named.

    \b
    observe log-level shop debug shop.orders --reason "orders get lost"
    observe log-level shop warning
    """
    act_on_node(
        node,
        lambda client: client.set_log_level(level.upper(), logger, reason),
        Manner(yes=True, as_json=as_json, timeout_s=timeout_s),
    )


@click.command("gc")
@node_argument
@click.option(
    "--generation", type=click.IntRange(0, 2), default=2, show_default=True, help="The oldest to look at."
)
@manner_options
def gc(node: str, generation: int, reason: str, as_json: bool, timeout_s: float) -> None:
    """Run the service's garbage collector, during which nothing else of it runs.

    \b
    observe gc shop
    observe gc shop --generation 0 --json
    """
    act_on_node(
        node,
        lambda client: client.collect_garbage(generation, reason),
        Manner(yes=True, as_json=as_json, timeout_s=timeout_s),
    )


COMMANDS: Final = {command.name: command for command in (log_level, gc)}
