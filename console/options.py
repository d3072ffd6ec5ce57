"""Arguments and options that several verbs share, and how the shell completes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])

COMPLETION_TIMEOUT_S: Final = 1.0
"""Nobody waits longer for a completion; without an answer the shell offers nothing."""


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # generic only in later versions of click
    ParamType = click.ParamType


class NodeName(ParamType):
    """The name of a node, completed from the cards on this machine."""

    name = "node"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from observe.probe.cards import list_cards

        try:
            cards = list_cards()
        except Exception:  # noqa: BLE001 - a completion that fails must be silent, the shell would print it
            return []
        at = "@" in incomplete
        names = {card.full_name if at else card.name: card.state for card in cards}
        return [
            CompletionItem(name, help=state) for name, state in names.items() if name.startswith(incomplete)
        ]


class AgentName(ParamType):
    """A pid or a registered name, completed by asking the node."""

    name = "agent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if isinstance(value, int):
            return value
        if value.isascii() and value.isdigit():
            return int(value)
        if not value:
            self.fail("an agent is a pid or a registered name; this one is empty", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        import asyncio

        from observe.console.link import names_like

        node = ctx.params.get("node")
        if not node:
            return []
        try:
            names = asyncio.run(names_like(node, incomplete, COMPLETION_TIMEOUT_S))
        except Exception:  # noqa: BLE001 - a completion that fails must be silent, the shell would print it
            return []
        return [CompletionItem(name) for name in names]


def complete_column(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last of a comma-separated list of columns."""
    from observe.probe.wire_table import COLUMNS

    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(before + comma + column) for column in COLUMNS if column.startswith(last)]


def node_argument(function: Function) -> Function:
    return click.argument("node", type=NodeName())(function)


def nodes_argument(function: Function) -> Function:
    return click.argument("nodes", type=NodeName(), nargs=-1, metavar="NODE...")(function)


def agent_argument(function: Function) -> Function:
    return click.argument("agent", type=AgentName())(function)


def json_option(function: Function) -> Function:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout and nothing else."
    )(function)


def timeout_option(function: Function) -> Function:
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0.1, 60.0),
        default=3.0,
        show_default=True,
        metavar="S",
        help="Seconds to wait for the node.",
    )(function)


def watch_options(function: Function) -> Function:
    """Parameters `watch` and `interval_s`: go on, and how long to wait between two pictures."""
    interval = click.option(
        "--interval",
        "interval_s",
        type=click.FloatRange(0.1, 60.0),
        default=1.0,
        show_default=True,
        metavar="S",
        help="Seconds between pictures with --watch.",
    )
    watch = click.option("--watch", is_flag=True, help="Go on until Ctrl-C; with --json one document a line.")
    return watch(interval(function))
