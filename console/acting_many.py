"""One action on many agents: the list first, then yes, then one command for each of exactly those agents.

```
filter --> list (pid, what goes with each) --> the count is typed, or --yes --> command, command, ... --> outcome of each
```

Each agent gets a command of its own, sent from here, and there is no verb for many on the wire: when the console dies in
the middle, nobody is hit any more, what was done is on record agent by agent, and nothing is half recorded. A list
that a node works through by itself would go on after the person who could have stopped it is gone. What ties the records
together is the reason, to which the filter and a number of the whole are added.

Whom it hits is fixed with the list: pids are never given twice, and each command names the incarnation. Who begins
to match later is left alone; who has ended meanwhile is told as gone, and its successor is not hit in its place.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from observe.console.exits import INTERRUPTED, REFUSED, complain
from observe.console.format import one_line, plural

if TYPE_CHECKING:
    from observe.console.acting import Do, Manner
    from observe.console.deeds import Deed
    from observe.probe.client import NodeClient
    from observe.probe.wire_agent import Detail

MOST: Final = 1000
"""Agents hit by one command line unless `--limit` says otherwise. More that match are a mistake, as a rule."""

MOST_EVER: Final = 10_000

LOOKED_AT: Final = 200
"""Of so many of them the node is asked what goes with each. Each question takes a moment of its scheduler."""

LISTED: Final = 20
"""Lines of the list for people; `--json` lists all."""

AT_ONCE: Final = 8
"""Commands under way. Each may take a second to be answered, and keeps the node's other work waiting a little."""

REASON_MAX: Final = 900
"""Characters of a reason beside which there is room for what ties the records together (the wire takes 1,024)."""


@dataclass(slots=True)
class One:
    """One agent of the list."""

    pid: int
    name: str | None
    class_name: str
    status: str
    mailbox: int
    activity: str | None = None
    """In which it is now."""
    goes: str = ""
    """What goes with it, or what would be done; empty when the node was not asked."""
    outcome: str = "not sent"
    """`done`, `begun` (not over yet), `refused`, `gone`, `not sent` or `unknown`."""
    what: str = ""

    @property
    def label(self) -> str:
        """As people call it."""
        return one_line(f"{self.name or self.class_name} (pid {self.pid})")


@dataclass(slots=True)
class Many:
    """What was asked for."""

    node: str
    where: str
    deed: Deed
    limit: int
    rate: float
    dry_run: bool
    reason: str
    manner: Manner
    agents: list[One] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    full_name: str = ""
    incarnation: str = ""


def act_on_many(many: Many, rehearse: Do | None, doing: Do) -> None:
    """List, ask, act, tell. Ends the command with REFUSED unless all was done."""
    asyncio.run(_list(many, rehearse))
    if not many.agents:
        complain(f"no agent of {many.full_name} matches {many.where!r}; nothing was {many.deed.done}")
        raise click.exceptions.Exit(REFUSED)
    if not many.manner.as_json:
        _show_list(many)
    if many.dry_run:
        if many.manner.as_json:
            _print(many)
        return
    if not many.manner.yes:  # also of what never asks about one: a filter may mean more than was thought
        _ask(many)
    many.reason = reason_of(many.reason, many.where, len(many.agents))
    interrupted = False
    try:
        asyncio.run(_act(many, doing))
    except KeyboardInterrupt:
        interrupted = True
    counts = Counter(one.outcome for one in many.agents)
    if many.manner.as_json:
        _print(many)
    else:
        click.echo(_summary(many, counts))
    if interrupted:
        raise click.exceptions.Exit(INTERRUPTED)
    if counts["done"] + (counts["gone"] if many.deed.ends else 0) < len(many.agents):
        raise click.exceptions.Exit(REFUSED)


# -- the list ----------------------------------------------------------------------------------------------------------


async def _list(many: Many, rehearse: Do | None) -> None:
    from observe.console.link import link

    async with link(many.node, many.manner.timeout_s) as client:
        many.full_name, many.incarnation = client.info.name, client.info.incarnation
        await _matching(many, client)
        asked = many.agents[:LOOKED_AT]
        if rehearse is not None or many.deed.ends:
            gate = asyncio.Semaphore(AT_ONCE)
            details = await asyncio.gather(*(_look(one, client, rehearse, gate) for one in asked))
            if many.deed.ends:
                await _warn(many, client, [one for one in details if one is not None])


async def _matching(many: Many, client: NodeClient) -> None:
    """All that match, by pid: page for page from the last pid on, so that who ends meanwhile shifts nobody out."""
    from observe.probe.wire_table import MAX_ROWS, Query

    last = 0
    columns = ["pid", "name", "class", "status", "mailbox", "activity"]
    while True:
        query = Query(
            sort="pid", descending=False, filter=f"{many.where} pid>{last}", limit=MAX_ROWS, columns=columns
        )
        page = await client.agents(query)
        if page.matched > many.limit:
            complain(
                f"{page.matched:,} agents of {client.info.name} match, more than {many.limit:,}; nothing was {many.deed.done}",
                f"say more narrowly which, or give --limit (at most {MOST_EVER:,})",
            )
            raise click.exceptions.Exit(REFUSED)
        many.agents += [One(*row) for row in page.rows]
        if len(page.rows) < MAX_ROWS or len(many.agents) >= many.limit:
            return
        last = many.agents[-1].pid


async def _look(one: One, client: NodeClient, rehearse: Do | None, gate: asyncio.Semaphore) -> Detail | None:
    from observe.probe.errors import RemoteError

    async with gate:
        try:
            if rehearse is not None:
                one.goes = one_line((await rehearse(client, one.pid)).what)
                return None
            detail = await client.inspect(one.pid, max_items=0)
        except RemoteError as error:
            one.goes = one_line(str(error))
            return None
    parts = []
    if detail.mailbox_total:
        parts.append(f"{plural(detail.mailbox_total, 'message')} will be lost")
    if detail.children_total:
        parts.append(f"{plural(detail.children_total, 'agent')} will end with it")
    if detail.supervisor is None:
        parts.append("it is the root: the node would end")
    if (detail.spec or {}).get("restart") == "temporary":
        parts.append("will NOT be restarted")
    one.goes = "; ".join(parts) or "its supervisor will restart it"
    return detail


async def _warn(many: Many, client: NodeClient, details: Sequence[Detail]) -> None:
    """A supervisor whose children end faster than its intensity allows gives up, with everybody below it."""
    from observe.probe.errors import RemoteError

    below = Counter(
        one.supervisor.pid
        for one in details
        if one.supervisor is not None and (one.spec or {}).get("restart") != "temporary"
    )
    for pid, ends in below.most_common(20):
        try:
            above = await client.inspect(pid, max_items=0)
        except RemoteError:
            continue
        intensity, period_s = (above.spec or {}).get("intensity"), (above.spec or {}).get("period_s")
        if not isinstance(intensity, int) or not isinstance(period_s, (int, float)) or ends <= intensity:
            continue
        if many.rate * period_s <= intensity:
            continue
        name = above.agent.get("name") or above.agent.get("class")
        many.warnings.append(
            f"{ends:,} of them are children of {name} (pid {pid}), which gives up after {plural(intensity, 'restart')} in "
            f"{period_s:g} s and ends with all that are below it: --rate {intensity / period_s * 0.9:.2g} keeps it alive"
        )


def _show_list(many: Many) -> None:
    verb = many.deed.id.replace("-", " ")
    click.echo(
        f"{verb}: {plural(len(many.agents), 'agent')} of {many.full_name} where {one_line(many.where)}",
        err=True,
    )
    for one in many.agents[:LISTED]:
        doing = f" in {one_line(one.activity)}" if one.activity else ""
        waiting = f"{doing}, {plural(one.mailbox, 'message')} wait{'s' if one.mailbox == 1 else ''}"
        goes = f": {one.goes}" if one.goes else ""
        click.echo(f"  {one.label}  {one_line(one.class_name)}, {one.status}{waiting}{goes}", err=True)
    if len(many.agents) > LISTED:
        click.echo(f"  and {len(many.agents) - LISTED:,} more (--json lists all)", err=True)
    if many.deed.ends:
        lost = sum(one.mailbox for one in many.agents)
        click.echo(f"  in all: {plural(lost, 'message')} will be lost", err=True)
        if len(many.agents) > LOOKED_AT:
            click.echo(f"  of the first {LOOKED_AT} only it is known who else ends with them", err=True)
    for text in many.warnings:
        click.echo(f"Warning: {one_line(text)}", err=True)


def _ask(many: Many) -> None:
    count = len(many.agents)
    if not sys.stdin.isatty():
        raise click.UsageError(
            "Nobody is at the keyboard to confirm the list: give --yes, or --dry-run to see it."
        )
    if many.manner.as_json:
        _show_list(many)
    verb = many.deed.id.replace("-", " ")
    answer = click.prompt(
        f"Type {count} to {verb} them", default="", show_default=False, err=True, prompt_suffix=": "
    )
    if answer.strip().replace(",", "") != str(count):
        click.echo(f"Not {many.deed.done}.", err=True)
        raise click.exceptions.Exit(REFUSED)


# -- the commands ------------------------------------------------------------------------------------------------------


async def _act(many: Many, doing: Do) -> None:
    from observe.console.link import link

    async with link(many.node, many.manner.timeout_s) as client:
        if client.info.incarnation != many.incarnation:
            complain(
                f"{client.info.name} has restarted since the list; nobody was {many.deed.done}",
                "look again and repeat the command",
            )
            raise click.exceptions.Exit(REFUSED)
        gate = asyncio.Semaphore(AT_ONCE)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        under_way: list[asyncio.Task[None]] = []
        try:
            for number, one in enumerate(many.agents):
                # By the clock and not by pauses, or the time of each command would be added to its pause.
                await asyncio.sleep(max(0.0, begin + number / many.rate - loop.time()))
                await gate.acquire()
                if client.state != "up":
                    break
                under_way.append(loop.create_task(_act_on_one(many, one, client, doing, gate)))
            if under_way:
                await asyncio.wait(under_way)
        finally:
            for task in under_way:  # Ctrl-C: what was sent may be done or not, and is told so
                task.cancel()
        for task in under_way:
            task.result()


async def _act_on_one(many: Many, one: One, client: NodeClient, doing: Do, gate: asyncio.Semaphore) -> None:
    from observe.probe.errors import AttachError, RemoteError

    one.outcome = "unknown"
    try:
        outcome = await doing(client, one.pid)
    except RemoteError as error:
        one.outcome, one.what = "gone" if error.code == "no_such_agent" else "refused", str(error)
    except AttachError as error:
        one.what = f"sent, and nothing was heard of it: {error}"
    else:
        one.outcome, one.what = "done" if outcome.done else "begun", outcome.what
    finally:
        gate.release()
    if not many.manner.as_json:
        click.echo(f"{one.outcome:<8} {one.label}: {one_line(one.what)}", err=one.outcome != "done")


def reason_of(reason: str, where: str, count: int) -> str:
    """The reason in each record of one command line: what was said, and what ties them together."""
    tie = f"one of {count} where {where}"[:100] + f" [{secrets.token_hex(4)}]"
    return f"{reason[:REASON_MAX]} ({tie})" if reason else tie


def _summary(many: Many, counts: Counter[str]) -> str:
    parts = [f"{counts['done']:,} of {len(many.agents):,} {many.deed.done}"]
    for name, text in (
        ("begun", "begun and not over yet"),
        ("refused", "refused"),
        ("gone", "had ended before"),
        ("unknown", "sent without an answer"),
        ("not sent", "not begun with"),
    ):
        if counts[name]:
            parts.append(f"{counts[name]:,} {text}")
    return ", ".join(parts)


def _print(many: Many) -> None:
    from observe.console.output import print_json

    print_json(
        {
            "node": many.full_name,
            "incarnation": many.incarnation,
            "where": many.where,
            "dry_run": many.dry_run,
            "warnings": many.warnings,
            "summary": dict(Counter(one.outcome for one in many.agents)),
            "agents": [
                {
                    "pid": one.pid,
                    "name": one.name,
                    "class": one.class_name,
                    "status": one.status,
                    "mailbox": one.mailbox,
                    "activity": one.activity,
                    "goes": one.goes,
                    "outcome": one.outcome,
                    "what": one.what,
                }
                for one in many.agents
            ],
        }
    )
