"""The desk: reads requests, decides who may ask what, answers from the picture or asks the service. No sockets.

```
frame --> decode --> envelope --> hello said? version? verb? role? arguments? --> the verb's handler --> reply, or later
```

The handlers are in the modules `verbs_*`, and there is no other way to a verb than their tables. Whatever goes wrong becomes an error reply with a code of the protocol. Nothing of a traceback crosses the wire.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from observe.probe import (
    verbs_actions,
    verbs_approvals,
    verbs_audit,
    verbs_code,
    verbs_console,
    verbs_consoles,
    verbs_letters,
    verbs_looks,
    verbs_policies,
    verbs_probe,
    verbs_reading,
    verbs_reload,
    verbs_tasks,
    verbs_traces,
    verbs_watching,
    verbs_workers,
    wire,
)
from observe.probe.asks import Answer, Asks
from observe.probe.codec import REQUEST_DEPTH, REQUEST_LIMIT_BYTES, decode
from observe.probe.commands import CommandGate
from observe.probe.counter import Client, Handler, Hands, Reply, explain_fault
from observe.probe.deaths import Deaths
from observe.probe.errors import BadFrame, Refusal
from observe.probe.keys import KeyHolder, KeyRing
from observe.probe.picture import Picture
from observe.probe.standing import Standing
from observe.probe.streams import Streams, Subscription
from observe.probe.wire_base import Asked, Command

logger = logging.getLogger("observe.probe")

MAX_CLIENTS: Final = 128
"""Clients that have said hello."""

LOOK_AFTER_S: Final = 3.0
"""A client that has been silent for so long is sent a reply that means nothing, again and again after as long: nothing else tells that one
has gone that asks for nothing and is told nothing, such as a console that was killed with no credit left."""

MEANS_NOTHING: Final[dict[str, Any]] = {"id": 0, "ok": True, "result": {}}
"""A reply to nobody's request. Clients pass over replies that they do not wait for."""

SILENT_S: Final = 60.0
"""A client that has been silent for so long is forgotten when another one needs its place. It must say hello again."""

MODULES: Final = (
    verbs_traces,
    verbs_code,
    verbs_probe,
    verbs_reading,
    verbs_watching,
    verbs_actions,
    verbs_approvals,
    verbs_policies,
    verbs_audit,
    verbs_reload,
    verbs_consoles,
    verbs_tasks,
    verbs_workers,
    verbs_console,
    verbs_looks,
    verbs_letters,
)
"""The modules that answer verbs. `observe.probe.counter` says what such a module is."""

M = TypeVar("M", bound=Asked)
Send = Callable[[bytes, dict[str, Any]], bool]


class Desk:
    """Answers requests."""

    def __init__(
        self,
        picture: Picture,
        keys: KeyRing,
        streams: Streams,
        commands: CommandGate,
        asks: Asks,
        send: Send,
        deaths: Callable[[int], Deaths],
    ) -> None:
        """
        Args:
            send: sends a message to a client, and says whether it could be sent.
            deaths: reads so many of the newest reports of the node's deaths.
        """
        self._picture = picture
        self._keys = keys
        self._streams = streams
        self._commands = commands
        self._asks = asks
        self._send = send
        self._clients: dict[bytes, Client] = {}
        self.standing = Standing(allowed=picture.allowed.checks)
        picture.subscribers = self._without_credit
        picture.unrecorded = lambda: commands.scribe.trouble
        self.bad_frames = 0
        self.more_statistics: Callable[[], dict[str, int]] = dict
        """Further counters, of the server."""
        self.when_fresh: Callable[[Callable[[], None], float], None] = _at_once
        """Calls back when the picture shows what has just happened."""
        self.yielded = False
        """Somebody asked this probe to make way, and may: the server ends."""
        hands = Hands(
            picture,
            streams,
            commands,
            asks,
            self.standing,
            deaths,
            self._make_way,
            self._clients,
            self.statistics,
        )
        self._verbs: dict[str, Handler] = {}
        for module in MODULES:
            self._verbs |= module.handlers(hands)

    def statistics(self) -> dict[str, int]:
        """How many clients there are, and how many frames could not be read."""
        return {"clients": len(self._clients), "bad_frames": self.bad_frames} | self.more_statistics()

    @property
    def verbs(self) -> frozenset[str]:
        """All that can be reached over the wire."""
        return frozenset(self._verbs) | {"hello"}

    def _make_way(self) -> None:
        self.yielded = True

    def _without_credit(self) -> list[tuple[int, str, int]]:
        """For the check of slow consumers."""
        found = []
        for one in self._streams:
            client = self._clients.get(one.client)
            if one.credit == 0 and client is not None:
                found.append((one.sub, f"{client.holder.name} ({one.what})", one.missed + one.dropped))
        return found

    def receive(self, client_id: bytes, user_id: str, data: bytes, now: float, address: str = "") -> None:
        """Take one frame of a client and see to it that it is answered, at once or later."""
        self._commands.address = address
        number, is_command = 0, False

        def reply(result: Answer) -> None:
            body: dict[str, Any] = {"ok": True, "result": result}
            if isinstance(result, Refusal):
                error = {"code": result.code, "message": result.message, "hint": result.hint}
                body = {"ok": False, "error": error}
            receipt = self._commands.scribe.checkpoint if is_command else ""
            if receipt:
                body["receipt"] = receipt
            self._send(client_id, {"id": number} | body)

        try:
            try:
                message = decode(data, limit_bytes=REQUEST_LIMIT_BYTES, depth=REQUEST_DEPTH)
            except BadFrame as error:
                self.bad_frames += 1
                raise Refusal("bad_frame", str(error), "send one msgpack map a frame") from None
            number, is_command = _number(message), _is_command(message)
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

    def look_after_clients(self, now: float) -> None:
        """Forget those whose connection has ended, within some seconds."""
        for client in list(self._clients.values()):
            if now - max(client.seen_at, client.looked_at) >= LOOK_AFTER_S:
                client.looked_at = now
                self._send(client.id, MEANS_NOTHING)  # whoever cannot be sent to is forgotten

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
        if not _is_command(message) and not holder.may(
            request.verb
        ):  # the gate refuses commands, and records that
            raise Refusal("forbidden", f"your key has the role {holder.role}, which may not {request.verb}")
        handler(client, _read(model, request.args, "args"), reply, now)

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
        self._clients[client_id] = Client(client_id, holder, max(common), now, args.client)
        by_card = holder.key == self._picture.config.client_public
        self._commands.attached(holder, args, by_card, now)

        def welcome() -> None:
            reply(wire.Welcome(version=max(common), role=holder.role, node=self._picture.info()).to_wire())

        self.when_fresh(welcome, now)

    def _make_room(self, now: float) -> None:
        silent = min(self._clients.values(), key=lambda client: client.seen_at)
        if now - silent.seen_at < SILENT_S:
            raise Refusal("busy", "too many clients are attached", "close one, or try again in a minute")
        self.forget(silent.id)

    def push(self, subscription: Subscription, now: float) -> None:
        """Send what is due for one subscription."""
        push = subscription.stamp(now, verbs_watching.contents(self._picture, subscription))
        if not self._send(subscription.client, push):
            subscription.undo(push)


def _at_once(go: Callable[[], None], _now: float) -> None:
    go()


def _number(message: dict[str, Any]) -> int:
    number = message.get("id")
    return number if type(number) is int and 0 < number <= 2**53 else 0


def _is_command(message: dict[str, Any]) -> bool:
    verb = message.get("verb")
    known = wire.VERBS.get(verb) if isinstance(verb, str) else None
    return known is not None and issubclass(known[1], Command)


def _read(model: type[M], data: dict[str, Any], where: str = "") -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Refusal(
            "bad_request", explain_fault(error, where), "docs/protocol.md lists the arguments"
        ) from None


def _unsupported(why: str) -> Refusal:
    spoken = ", ".join(map(str, wire.PROTOCOL_VERSIONS))
    return Refusal(
        "unsupported_version", f"{why}; this node speaks {spoken}", "install the same version of observe"
    )
