"""From a verb to a node and back: connect, ask, and add to a refusal what the person may have meant."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from observe.console.exits import GONE
from observe.probe.cards import list_cards
from observe.probe.client import NodeClient, connect, resolve
from observe.probe.errors import NoSuchNode, RemoteError
from observe.probe.wire_table import COLUMNS, Query


@asynccontextmanager
async def link(
    node: str, timeout_s: float, agent: int | str | None = None, columns: Sequence[str] = ()
) -> AsyncIterator[NodeClient]:
    """Connect to `node` for the requests of one verb.

    `agent` and `columns` are what the person asked for: when the node does not know them, the error that leaves this
    block suggests similar ones.

    Raises:
        AttachError: no such node, no answer, or the node said no.
    """
    try:
        async with connect(node, timeout_s=timeout_s) as client:
            if not client.is_past:
                note_state(client.info.name, client.info.state)
                if client.way:
                    click.echo(client.way, err=True)
            try:
                yield client
            except RemoteError as error:
                if error.code == "no_such_agent" and isinstance(agent, str):
                    error.hint = await _similar_agents(client, agent) or error.hint
                elif error.code == "no_such_column":
                    error.hint = _similar_columns(columns) or error.hint
                elif error.code == "node_dead":
                    error.hint = error.hint or f"`observe ps {node}` still shows its last picture"
                raise
    except NoSuchNode as error:
        error.hint = _similar_nodes(node) or error.hint
        raise


def note_state(name: str, state: str) -> bool:
    """Whether the node is gone. If so, the command ends with a word about it, after what it still shows."""
    if state in ("up", "held"):
        return False
    click.get_current_context().meta[GONE] = (name, state)
    return True


def known(node: str) -> None:
    """Make sure that `node` has a card, dead or alive.

    Raises:
        NoSuchNode: it has none; the hint names similar ones.
    """
    try:
        resolve(node)
    except NoSuchNode as error:
        error.hint = _similar_nodes(node) or error.hint
        raise


async def names_like(node: str, start: str, timeout_s: float) -> list[str]:
    """Registered names on `node` that begin with `start`, for completion."""
    async with connect(node, timeout_s=timeout_s) as client:
        return [name for name in await _names(client, start) if name.startswith(start)]


async def _names(client: NodeClient, part: str) -> list[str]:
    query = Query(sort="name", descending=False, filter=part, limit=1000, columns=["name"])
    page = await client.agents(query)
    return [row[0] for row in page.rows if row[0]]


async def _similar_agents(client: NodeClient, agent: str) -> str:
    # A node may have a million names: ask for those that share a beginning, and only then for any thousand.
    for part in (agent[: max(3, len(agent) // 2)], ""):
        try:
            similar = difflib.get_close_matches(agent, await _names(client, part), n=3, cutoff=0.6)
        except RemoteError:
            return ""
        if similar:
            return f"did you mean {' or '.join(similar)}?"
    return ""


def _similar_columns(asked: Sequence[str]) -> str:
    for column in asked:
        if column not in COLUMNS:
            similar = difflib.get_close_matches(column, COLUMNS, n=2)
            return f"did you mean {' or '.join(similar)}?" if similar else ""
    return ""


def _similar_nodes(node: str) -> str:
    names = [name for card in list_cards() for name in (card.name, card.full_name)]
    similar = difflib.get_close_matches(node, names, n=1)
    return f"did you mean {similar[0]}? `observe nodes` lists the nodes on this machine" if similar else ""
