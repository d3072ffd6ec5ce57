"""The desk: reads requests, decides who may ask what, answers from the picture or asks the service. No sockets.

```
frame --> decode --> envelope --> hello said? version? verb? role? arguments? --> one method a verb --> reply, or later
```

Whatever goes wrong becomes an error reply with a code of the protocol. Nothing of a traceback crosses the wire.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from observe.probe import verbs_actions, wire
from observe.probe.addresses import is_loopback, parse_listen
from observe.probe.asks import Answer, Asks
from observe.probe.codec import REQUEST_DEPTH, REQUEST_LIMIT_BYTES, decode
from observe.probe.commands import CommandGate
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import BadFrame, Refusal
from observe.probe.filters import parse
from observe.probe.holding import describe_holder, explain
from observe.probe.keys import KeyHolder, KeyRing
from observe.probe.picture import Picture
from observe.probe.queries import answer, check_column
from observe.probe.standing import Standing
from observe.probe.streams import Streams, Subscription
from observe.probe.trees import strategies_of
from observe.probe.whereabouts import where

logger = logging.getLogger("observe.probe")

MAX_CLIENTS: Final = 128
"""Clients that have said hello."""

SILENT_S: Final = 60.0
"""A client that has been silent for so long is forgotten when another one needs its place. It must say hello again."""

TREE_TIMEOUT_S: Final = 0.5
"""A tree does not wait longer for the strategies of supervisors; those known from before are used instead."""

MODULES: Final = (verbs_actions,)
"""The modules that answer verbs beside the desk's own. `observe.probe.counter` says what such a module is."""

M = TypeVar("M", bound=wire.Asked)
Send = Callable[[bytes, dict[str, Any]], bool]


class Desk:
    """Answers requests."""

    def __init__(
        self, picture: Picture, keys: KeyRing, streams: Streams, commands: CommandGate, asks: Asks, send: Send
    ) -> None:
        self._picture = picture
        self._keys = keys
        self._streams = streams
        self._commands = commands
        self._asks = asks
        self._send = send
        self._clients: dict[bytes, Client] = {}
        self.standing = Standing()
        self.bad_frames = 0
        self.more_statistics: Callable[[], dict[str, int]] = dict
        """Further counters, of the server."""
        self.yielded = False
        """Somebody asked this probe to make way, and may: the server ends."""
        self._verbs: dict[str, Handler] = {
            "ping": self._ping,
            "vitals": self._vitals,
            "agents": self._agents,
            "inspect": self._inspect,
            "stack": self._stack,
            "tree": self._tree,
            "crashes": self._crashes,
            "findings": self._findings,
            "watch": self._watch,
            "rewatch": self._rewatch,
            "credit": self._credit,
            "unwatch": self._unwatch,
            "where": self._where,
            "kill": self._kill,
            "yield": self._yield,
        }
        hands = Hands(picture, streams, commands, asks)
        for module in MODULES:
            self._verbs |= module.handlers(hands)

    def statistics(self) -> dict[str, int]:
        """How many clients there are, and how many frames could not be read."""
        return {"clients": len(self._clients), "bad_frames": self.bad_frames} | self.more_statistics()

    def serve(self, verb: str, handler: Callable[[Client, Any, Reply, float], None]) -> None:
        """Let `handler` answer a verb of the table."""
        self._verbs[verb] = handler

    def receive(self, client_id: bytes, user_id: str, data: bytes, now: float) -> None:
        """Take one frame of a client and see to it that it is answered, at once or later."""
        number = 0

        def reply(result: Answer) -> None:
            if isinstance(result, Refusal):
                error = {"code": result.code, "message": result.message, "hint": result.hint}
                self._send(client_id, {"id": number, "ok": False, "error": error})
            else:
                self._send(client_id, {"id": number, "ok": True, "result": result})

        try:
            try:
                message = decode(data, limit_bytes=REQUEST_LIMIT_BYTES, depth=REQUEST_DEPTH)
            except BadFrame as error:
                self.bad_frames += 1
                raise Refusal("bad_frame", str(error), "send one msgpack map a frame") from None
            number = _number(message)
            self._handle(client_id, user_id, message, reply, now)
        except Refusal as refusal:
            reply(refusal)
        except Exception:  # the edge of the process: a fault of ours must not end the probe
            logger.exception("a request could not be answered")
            reply(Refusal("internal", "the probe could not answer because of a fault of its own"))

    def refuse_frames(self, client_id: bytes) -> None:
        """Answer a message that does not consist of exactly one frame."""
        self.bad_frames += 1
        error = {"code": "bad_frame", "message": "a message consists of exactly one frame", "hint": ""}
        self._send(client_id, {"id": 0, "ok": False, "error": error})

    def forget(self, client_id: bytes) -> None:
        """A client is gone."""
        if self._clients.pop(client_id, None) is not None:
            self._streams.close_all_of(client_id)

    def end_sessions_of_others(self) -> None:
        """End the sessions of keys that are not accepted any more, or not in that role."""
        for client in list(self._clients.values()):
            if not self._keys.accepts(client.holder):
                # Told with id 0, which no request has. Who does not listen gets no answer and no push all the same.
                error = {
                    "code": "revoked",
                    "message": "this key was revoked, or its role was changed, while it was attached",
                    "hint": "ask whoever runs the node",
                }
                self._send(client.id, {"id": 0, "ok": False, "error": error})
                self.forget(client.id)

    def _handle(
        self, client_id: bytes, user_id: str, message: dict[str, Any], reply: Reply, now: float
    ) -> None:
        holder = self._keys.holder(user_id)
        if message.get("verb") == "hello":
            self._hello(client_id, holder, message, reply, now)
            return
        client = self._clients.get(client_id)
        if client is None or client.holder is not holder:
            raise Refusal("hello_first", "the first request of a connection is hello")
        client.seen_at = now
        version = message.get("v")
        if type(version) is int and version != client.version:
            raise _unsupported(f"this connection speaks version {client.version} and not {version}")
        request = _read(wire.Request, message)
        handler = self._verbs.get(request.verb)
        if handler is None:
            raise Refusal(
                "unknown_verb", f"there is no verb {request.verb!r}", f"there are {', '.join(wire.VERBS)}"
            )
        _, model = wire.VERBS[request.verb]
        is_command = issubclass(model, wire.Command)
        if not is_command and not holder.may(request.verb):  # the gate refuses commands, and records that
            raise Refusal("forbidden", f"your key has the role {holder.role}, which may not {request.verb}")
        handler(client, _read(model, request.args, "args"), reply, now)

    # -- verbs ----------------------------------------------------------------------------------------------------------

    def _hello(
        self, client_id: bytes, holder: KeyHolder, message: dict[str, Any], reply: Reply, now: float
    ) -> None:
        # Read in any version: what a later one adds to the envelope or the arguments is passed over.
        asked = message.get("args")
        known = (
            {key: asked[key] for key in wire.HelloArgs.model_fields if key in asked}
            if isinstance(asked, dict)
            else {}
        )
        args = _read(wire.HelloArgs, known, "args")
        common = set(args.versions) & set(wire.PROTOCOL_VERSIONS)
        if not common:
            raise _unsupported("no version of the protocol is spoken by both sides")
        if client_id not in self._clients and len(self._clients) >= MAX_CLIENTS:
            self._make_room(now)
        self._clients[client_id] = Client(client_id, holder, max(common), now)
        reply(wire.Welcome(version=max(common), role=holder.role, node=self._picture.info()).to_wire())

    def _make_room(self, now: float) -> None:
        silent = min(self._clients.values(), key=lambda client: client.seen_at)
        if now - silent.seen_at < SILENT_S:
            raise Refusal("busy", "too many clients are attached", "close one, or try again in a minute")
        self.forget(silent.id)

    def _ping(self, _client: Client, _args: wire.NoArgs, reply: Reply, _now: float) -> None:
        reply({"now": time.time()})

    def _vitals(self, _client: Client, args: wire.VitalsArgs, reply: Reply, _now: float) -> None:
        reply(self._picture.current_vitals(args.history_s).to_wire())

    def _agents(self, _client: Client, query: wire.Query, reply: Reply, _now: float) -> None:
        reply(self.page(query))

    def _crashes(self, _client: Client, args: wire.CrashesArgs, reply: Reply, _now: float) -> None:
        reply(self._picture.crashes(args.limit))

    def _findings(self, _client: Client, _args: wire.NoArgs, reply: Reply, _now: float) -> None:
        reply(self.standing.statement())

    def _inspect(self, _client: Client, args: wire.InspectArgs, reply: Reply, now: float) -> None:
        picture = self._picture
        row = picture.row(args.agent)
        line = picture.agent(row)
        pid = line["pid"]
        place = (line["name"], line["child"], line["supervisor"])
        if picture.ended:
            crash = picture.last_crash_of(*place)
            note = f"the node is {picture.ended}; this is the last that was heard of the agent"
            reply(wire.Detail.from_wire({"agent": line, "last_crash": crash, "note": note}).to_wire())
            return

        def done(result: Answer) -> None:
            if isinstance(result, Refusal):
                reply(explain(result, picture))
                return
            newest = picture.table.row_of(pid)
            detail = {"last_crash": picture.last_crash_of(*place)} | {
                key: part for key, part in result.items() if part is not None
            }
            detail["agent"] = line if newest is None else picture.agent(newest)
            try:
                reply(wire.Detail.from_wire(detail).to_wire())
            except ValidationError as error:
                reply(_unreadable("inspect", error))

        self._asks.ask("inspect", {"pid": pid, "max_items": args.max_items}, done, now)

    def _stack(self, _client: Client, args: wire.StackArgs, reply: Reply, now: float) -> None:
        picture = self._picture
        pid = int(picture.table.ints("pid")[picture.row(args.agent)])

        def done(result: Answer) -> None:
            held = picture.held
            if isinstance(result, Refusal):
                if held is not None and held.pid == pid and held.stack:
                    note = f"holds the scheduler; {describe_holder(held)}"
                    stack = wire.Stack(pid=pid, status="running", frames=held.stack, note=note)
                    reply(stack.to_wire())
                else:
                    reply(explain(result, picture))
                return
            try:
                reply(wire.Stack.from_wire(result).to_wire())
            except ValidationError as error:
                reply(_unreadable("stack", error))

        self._asks.ask("stack", {"pid": pid}, done, now)

    def _tree(self, _client: Client, args: wire.TreeArgs, reply: Reply, now: float) -> None:
        picture = self._picture

        def draw(result: Answer) -> None:
            if not isinstance(result, Refusal):
                picture.strategies.update(strategies_of(result))
            try:
                row = picture.trees.root() if args.root is None else picture.row(args.root)
                branch = picture.trees.branch(row, args.depth, args.max_children, picture.strategies)
                reply(branch.to_wire())
            except Refusal as refusal:
                reply(refusal)

        row = picture.trees.root() if args.root is None else picture.row(args.root)
        if picture.ended or picture.held:
            draw({})
            return
        pid = int(picture.table.ints("pid")[row])
        fields = {"pid": pid, "depth": args.depth, "max_children": args.max_children}
        self._asks.ask("tree", fields, draw, now, timeout_s=TREE_TIMEOUT_S)

    def _watch(self, client: Client, args: wire.WatchArgs, reply: Reply, now: float) -> None:
        if args.query is not None:
            self._check(args.query)
        reply({"sub": self._streams.open(client.id, args, now).sub})

    def _rewatch(self, client: Client, args: wire.RewatchArgs, reply: Reply, now: float) -> None:
        self._check(args.query)
        self._streams.requery(client.id, args.sub, args.query, now)
        reply({"sub": args.sub})

    def _credit(self, client: Client, args: wire.CreditArgs, reply: Reply, _now: float) -> None:
        self._streams.add_credit(client.id, args.sub, args.n)
        reply({})

    def _unwatch(self, client: Client, args: wire.UnwatchArgs, reply: Reply, _now: float) -> None:
        self._streams.close(client.id, args.sub)
        reply({})

    def _where(self, _client: Client, args: wire.WhereArgs, reply: Reply, _now: float) -> None:
        config = self._picture.config
        host, _ = parse_listen(config.listen)
        reply(where(args.node, config.server_public, is_loopback(host)))

    def _kill(self, client: Client, args: wire.KillArgs, reply: Reply, now: float) -> None:
        picture = self._picture
        try:
            row = picture.row(args.agent)
        except Refusal as refusal:
            missing: Refusal | None = refusal
            target: dict[str, Any] = {"agent": args.agent}
        else:
            missing = None
            line = picture.agent(row)
            target = {"agent": args.agent} | {key: line[key] for key in ("pid", "name", "class", "child")}

        def carry_out(done: Reply) -> None:
            def answered(result: Answer) -> None:
                if isinstance(result, Refusal):
                    done(explain(result, picture, "kill"))
                    return
                try:
                    done(wire.Outcome.from_wire(result).to_wire())
                except ValidationError as error:
                    done(_unreadable("kill", error))

            if missing is not None and not picture.ended:
                done(missing)
                return
            fields = {"pid": target.get("pid", 0), "reason": args.reason}
            self._asks.ask("kill", fields, answered, now, late=answered)

        self._commands.submit("kill", args, client.holder, target, time.time(), carry_out, reply)

    def _yield(self, _client: Client, _args: wire.NoArgs, reply: Reply, _now: float) -> None:
        picture = self._picture
        if picture.ended is None:
            raise Refusal(
                "refused",
                f"{picture.config.node} is running (process {picture.config.pid}), so its probe stays",
                "stop it first, or choose another name",
            )
        self.yielded = True
        reply({})

    # -- subscriptions --------------------------------------------------------------------------------------------------

    def push(self, subscription: Subscription, now: float) -> None:
        """Send what is due for one subscription."""
        data: dict[str, Any]
        if subscription.what == "events":
            data = {"events": subscription.take_events()}
        elif subscription.what == "vitals":
            data = self._picture.current_vitals().to_wire()
        else:
            assert subscription.query is not None
            try:
                data = self.page(subscription.query)
            except Refusal:  # it was checked when the watch began
                logger.exception("the query of a watch cannot be answered any more")
                data = {}
        push = subscription.stamp(now, data)
        if not self._send(subscription.client, push):
            subscription.undo(push)

    def page(self, query: wire.Query) -> dict[str, Any]:
        """The page that a query asks for. Raises `Refusal`."""
        table, now_us = self._picture.table, self._picture.now_us()
        at = self._picture.wall(table.newest_us) if table.newest_us else time.time()
        return answer(table, query, now_us, at).to_wire()

    def _check(self, query: wire.Query) -> None:
        """Refuse a query that cannot be answered before a watch of it begins."""
        for column in (query.sort, *(query.columns or ())):
            check_column(column)
        parse(query.filter)


def _number(message: dict[str, Any]) -> int:
    number = message.get("id")
    return number if type(number) is int and 0 < number <= 2**53 else 0


def _read(model: type[M], data: dict[str, Any], where: str = "") -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Refusal(
            "bad_request", explain_fault(error, where), "docs/protocol.md lists the arguments"
        ) from None


def explain_fault(error: ValidationError, where: str = "") -> str:
    """The first fault of an invalid message, as one line: `args.limit: Input should be less than or equal to 1000`."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part)[:64] for part in (*([where] if where else ()), *fault["loc"][:6]))
    return f"{path or 'the message'}: {fault['msg']}"[:500]


def _unsupported(why: str) -> Refusal:
    spoken = ", ".join(map(str, wire.PROTOCOL_VERSIONS))
    return Refusal(
        "unsupported_version", f"{why}; this node speaks {spoken}", "install the same version of observe"
    )


def _unreadable(op: str, error: ValidationError) -> Refusal:
    logger.warning("the service's answer to %s cannot be read: %s", op, explain_fault(error))
    return Refusal("internal", f"the node's answer to {op} cannot be read: {explain_fault(error)}")
