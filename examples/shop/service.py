"""The shop's service: a node `shop` with its supervision tree, and the probe beside it.

python -m observe.examples.shop.service --directory /tmp/shop --model-url http://127.0.0.1:8099/v1

shop ── model-pool ── model-1 ... model-4        the gates to the model
     ├─ tools ──┬─ order-desks ── orders-1, -2   on the shop's database
     │          └─ searches ───── search-1, -2
     ├─ sessions ── desk-1 ... desk-8 ── session-1 ... session-400
     └─ scout                                    reads the handbook, and runs away one night
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import logging.handlers
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from observe.examples.shop import orders, refunds
from observe.examples.shop.chat import ChatModel, Endpoint
from observe.examples.shop.ledger import Ledger
from observe.examples.shop.lifetime import until_told
from observe.examples.shop.model_server import MODEL
from observe.examples.shop.policies import policy_file
from observe.examples.shop.scout import Scout
from observe.examples.shop.sessions import FIRST_PAUSE_S, Session, Team
from observe.examples.shop.tools import DocumentSearch, ModelGate, OrderDesk, ToolAgent
from observe.examples.shop.traced import traced
from observe.probe import NodeNameTaken, Probe
from observe.runtime import Budget, ChildSpec, Node, PreemptionUnavailable, Supervisor
from observe.runtime.frozen import import_greenlet

DESK_SIZE: Final = 50
"""Sessions to a supervisor."""

PRICE: Final = (0.5e-6, 1.5e-6)
"""What the demo's model would cost a token, there and back."""

LOG_BYTES: Final = 1024 * 1024


class Desk(Supervisor):
    """Watches some sessions.

    A session that fails waits for `FIRST_PAUSE_S` before it tries again, so that even when each step of each session
    fails there are at most `DESK_SIZE / FIRST_PAUSE_S` restarts a second. A fifth more is allowed: only sessions that
    cannot even start get there, and then the desk is right to give up.
    """

    period_s = 10.0
    intensity = round(1.2 * DESK_SIZE * period_s / FIRST_PAUSE_S)


class Sessions(Supervisor):
    """Watches the desks."""

    intensity = 3
    period_s = 30.0


class Pool(Supervisor):
    """Watches a number of agents of one kind."""

    intensity = 10
    period_s = 10.0


class Tools(Supervisor):
    """Watches the tools."""

    intensity = 3
    period_s = 30.0


class Shop(Supervisor):
    """Watches all that the shop has."""

    intensity = 3
    period_s = 30.0


def plan(sessions: int, team: Team, database: Path) -> list[ChildSpec]:
    """The children of `Shop`. What sessions need comes before them."""
    desks = [
        _watched(Desk, f"desk-{place}", [_session(number, team) for number in numbers])
        for place, numbers in enumerate(_portions(sessions), start=1)
    ]
    tools = [
        _watched(Pool, "order-desks", _several(OrderDesk, "orders", team.orders, database)),
        _watched(Pool, "searches", _several(DocumentSearch, "search", team.search, database)),
    ]
    return [
        _watched(Pool, "model-pool", _several(ModelGate, "model", team.gates)),
        _watched(Tools, "tools", tools),
        _watched(Sessions, "sessions", desks),
        # The same search 40 times without progress: then it is not searching, it is running away.
        ChildSpec(Scout, (team,), name="scout", budget=Budget(same_call=40, on_limit="isolated")),
    ]


def _watched(supervisor: type[Supervisor], name: str, children: list[ChildSpec]) -> ChildSpec:
    return ChildSpec(supervisor, (children,), name=name)


def _several(agent: type[ToolAgent | ModelGate], name: str, number: int, *args: object) -> list[ChildSpec]:
    return [ChildSpec(agent, args, name=f"{name}-{place}") for place in range(1, number + 1)]


def _session(number: int, team: Team) -> ChildSpec:
    return ChildSpec(Session, (number, team), name=f"session-{number}")


def _portions(sessions: int) -> list[range]:
    """The numbers from 1 to `sessions`, a desk's worth at a time."""
    firsts = range(1, sessions + 1, DESK_SIZE)
    return [range(first, min(first + DESK_SIZE, sessions + 1)) for first in firsts]


def endpoint_from(arguments: argparse.Namespace) -> Endpoint:
    """The model that the sessions ask: the demo's own, or a real one whose key only the environment knows."""
    if arguments.model_url:
        return Endpoint(arguments.model_url, MODEL, timeout_s=arguments.model_timeout or 3.0, price=PRICE)
    return Endpoint(
        os.environ["OPENAI_BASE_URL"],
        os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
        api_key=os.environ["OPENAI_API_KEY"],
        timeout_s=arguments.model_timeout or 60.0,
    )


def can_preempt() -> bool:
    """Whether this interpreter can freeze steps. Where it cannot, the shop works as well: an endless loop then holds
    the scheduler, and is named and killed instead of frozen."""
    try:
        import_greenlet()
    except PreemptionUnavailable as error:
        print(f"the demo goes on without preemption: {error}", file=sys.stderr)
        return False
    return True


def rules(code: Path) -> Callable[[str, float], float]:
    """The shop's refund, from the copy in `code`: there people may edit it, and it is loaded again by its own name."""
    code.mkdir(parents=True, exist_ok=True)
    copy = code / "refunds.py"
    if not copy.exists():
        shutil.copyfile(refunds.__file__, copy)
    sys.path.insert(0, str(code.resolve()))
    refund: Callable[[str, float], float] = importlib.import_module("refunds").refund
    return refund


async def serve(arguments: argparse.Namespace) -> None:
    """Run the shop until told to stop; say on stdout when it is open."""
    directory: Path = arguments.directory
    database = directory / "shop.db"
    orders.build(database, arguments.seed)
    ledger = Ledger(directory / "ledger.db")
    model = ChatModel(endpoint_from(arguments))
    team = Team(
        ledger,
        model,
        rules(arguments.code or directory / "code"),
        seed=arguments.seed,
        think_s=arguments.think,
    )
    held = policy_file(arguments.code or directory / "code")
    try:
        async with (
            Node(
                f"{arguments.name}@localhost",
                intensity=3,
                period_s=30.0,
                preempt=can_preempt(),
                policies=held,
            ) as node,
            Probe(node),
            traced(node),
        ):
            await node.spawn(Shop, plan(arguments.sessions, team, database), name="shop", restart="permanent")
            print(json.dumps({"node": node.name, "pid": os.getpid()}), flush=True)
            await until_told(arguments.until_stdin_closes)
    finally:
        await model.close()
        ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="service", description="The shop's service, with a node to attach to."
    )
    parser.add_argument("--directory", type=Path, required=True, help="for the databases and the log")
    parser.add_argument("--code", type=Path, help="where the code lies that may be edited [DIRECTORY/code]")
    parser.add_argument(
        "--model-url", help="base URL of the model; without it OPENAI_BASE_URL and OPENAI_API_KEY"
    )
    parser.add_argument("--model-timeout", type=float, help="seconds for one answer [3, a real model 60]")
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--name", default="shop", help="of the node")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--think", type=float, default=8.0, help="mean seconds between two steps of a session"
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the parent does")
    arguments = parser.parse_args()
    if not arguments.model_url and not (
        os.environ.get("OPENAI_BASE_URL") and os.environ.get("OPENAI_API_KEY")
    ):
        parser.error("give --model-url, or set OPENAI_BASE_URL and OPENAI_API_KEY")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    log = logging.handlers.RotatingFileHandler(
        arguments.directory / "service.log", maxBytes=LOG_BYTES, backupCount=1
    )
    log.setLevel(logging.WARNING)  # the file is for trouble; `observe log` has the rest
    logging.getLogger("observe.examples.shop").setLevel(logging.INFO)
    logging.basicConfig(
        level=logging.WARNING, handlers=[log], format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    try:
        asyncio.run(serve(arguments))
    except NodeNameTaken as error:
        sys.exit(
            f"{error} (`observe attach {arguments.name}` opens it, `observe demo --name NAME` runs another)"
        )
    except Exception as error:
        logging.getLogger(__name__).exception("the shop cannot run")
        sys.exit(f"the shop cannot run: {error}")


if __name__ == "__main__":
    main()
