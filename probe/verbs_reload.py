"""The desk's side of hot reload: the gate decides and records, the service reloads."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.retelling import retold
from observe.probe.wire_reload import CodeArgs, LoadedCode, ReloadArgs, ReloadDone

MORE_S: Final = 4.5
"""How long loading (`observe.runtime.reload.loading.LOAD_S`) and migrating may take beside the time that steps may take to
end. All of it is less than a client waits."""


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    return {"reload": partial(_reload, hands), "code": partial(_code, hands)}


def _reload(hands: Hands, client: Client, args: ReloadArgs, reply: Reply, now: float) -> None:
    if not args.modules and not args.rollback:
        raise Refusal("bad_request", "args.modules: name at least one module", "as in `import shop.orders`")
    fields = {name: getattr(args, name) for name in ("modules", "dry_run", "rollback", "timeout_s")}

    def carry_out(done: Reply) -> None:
        answered = retold(hands, "reload", ReloadDone, done)
        wait_s = args.timeout_s + MORE_S
        hands.asks.ask("reload", fields, answered, now, timeout_s=wait_s, late=answered)

    target = {"modules": list(args.modules)}
    hands.commands.submit("reload", args, client.holder, target, time.time(), carry_out, reply)


def _code(hands: Hands, _client: Client, args: CodeArgs, reply: Reply, now: float) -> None:
    answered = retold(hands, "code", LoadedCode, reply)
    hands.asks.ask("code", {"diff": args.diff}, answered, now)
