"""The probe's sockets and its one loop. Moves bytes between them and the modules that know what they mean.

```
 service:  PUSH   ==feed==>  PULL  --> Feed --> Picture <-- Desk <-- ROUTER <==CURVE==> clients
           ROUTER <=control> DEALER <-> Asks                          REP   <--ZAP--    libzmq asks who may in
           words  ==memory=> NodeWatch        pidfd of the service
```

One thread, one poll: nothing in here waits for anything else. Each source gets a bounded share of every turn, so that a
flood on one does not silence the others.
"""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from observe.audit.log import AuditLog
from observe.probe.admission import Admission
from observe.probe.asks import Answer, Asks
from observe.probe.audit_rule import MaskingRule
from observe.probe.audited_records import AuditedRecords
from observe.probe.cards import NodeLock
from observe.probe.codec import decode, encode, encode_for_client
from observe.probe.commands import CommandGate
from observe.probe.config import Config
from observe.probe.coroner import Coroner
from observe.probe.courier import Outward
from observe.probe.desk import Desk
from observe.probe.errors import BadFrame, Refusal
from observe.probe.far_socket import FarSocket
from observe.probe.feed import Feed
from observe.probe.finding_orders import FindingOrders
from observe.probe.frames import GovernedFrame
from observe.probe.governed import GovernedRecords
from observe.probe.greetings import Greetings
from observe.probe.holder_watch import HolderWatch
from observe.probe.listening import Listener
from observe.probe.node_watch import NodeWatch
from observe.probe.orphans import Orphans
from observe.probe.outgoing import Full, Outgoing
from observe.probe.own_card import OwnCard
from observe.probe.picture import Picture
from observe.probe.recording import DEATH, EVENTS, FRAME
from observe.probe.recordings import Recordings
from observe.probe.sampling import SAMPLE_S, Sampler
from observe.probe.scribe import Scribe
from observe.probe.sockets import connect_control, connect_feed, prepare_router
from observe.probe.streams import EventItem, Streams
from observe.probe.turned_away import TurnedAway
from observe.probe.waiting import WaitingFor

if TYPE_CHECKING:
    from observe.probe.metrics_out import MetricsLink

logger = logging.getLogger("observe.probe")

TURN_S: Final = 0.1
"""At least so often the loop looks at the words, which no event announces."""

FEED_SHARE: Final = 500
CLIENT_SHARE: Final = 100
CONTROL_SHARE: Final = 100
"""Messages taken from each socket in one turn."""

CLIENT_SHARE_S: Final = 0.05
"""Seconds for the requests of clients in one turn: a query of a million agents takes some tens of milliseconds."""

SETTLE_S: Final = 1.0
"""How long the last records may take to reach the disk before the process ends. The service waits two seconds for it."""

COPYING_TURN_S: Final = 0.002
"""A turn takes at least so long while a keyframe of very many agents is copied."""

LOOK_S: Final = 0.2
"""Between two looks at the words of worker processes."""

FLUSH_MS: Final = 500
"""How long the last messages to clients may take before the process ends."""


class Server:
    """Serves one node until it ends. Made, `open`ed, `run` and `close`d on one thread."""

    def __init__(self, config: Config, lock: NodeLock) -> None:
        self.config = config
        self.endpoint = ""
        """Where clients find it; set by `open`."""
        self._lock = lock
        self._directory = Path(config.directory)
        self._card = OwnCard(config, self._directory)
        self._stopping = False
        self._end_at: float | None = None
        """Monotonic seconds at which a probe whose node has died stops lingering."""
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._router: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._feed_socket: zmq.Socket[bytes] = self._context.socket(zmq.PULL)
        self._far = FarSocket("")
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        stacks = Path(config.stacks) if config.stacks else self._directory / "stacks.txt"
        self._watch = NodeWatch(
            config.pid,
            Path(config.words) if config.words else self._directory / "words",
            stacks,
            config.dump_signal,
            config.scheduler_thread,
        )
        self._look_at = 0.0
        self._streams = Streams()
        self._applying = False
        self._picture = Picture(config, self._publish)
        self._outgoing = Outgoing(self._router)
        self._outward = Outward(
            f"{config.node}@{config.host}", config.incarnation, config.escalations, config.anchor,
            lambda text: self._picture.event("node", time.time(), text),
            path := Path(config.audit) if config.audit else self._directory / "audit",
        )  # fmt: skip
        self._feed = Feed(self._picture)
        self._feed.on_trace = lambda frame: self._streams.publish_trace(
            frame.session, frame.events, frame.dropped
        )
        self._asks = Asks(self._send_control)
        self._orphans = Orphans(
            self._picture,
            self._asks,
            self._directory,
            Path(config.record) if config.record else None,  # looked at before it is written to
            lambda text: self._picture.event("node", time.time(), text),
        )
        self._recordings = Recordings(config, self._streams, self._picture, self._feed)
        self._coroner = Coroner(self._picture, self._watch, self._directory, stacks)
        self._sampler = Sampler(self._picture, self._watch, self._coroner, self._recordings)
        self._turned_away = TurnedAway(lambda text: self._picture.event("node", time.time(), text))
        self._admission = Admission(config, self._context, self._turned_away)
        self._listener = Listener(self._router, config.listen, config.port)
        self._holder_watch = HolderWatch(self._picture, self._watch, self._asks)
        self._waiting_for = WaitingFor(self._picture, self._asks)
        rule = MaskingRule(self._name, keeps_personal=config.audit_keeps_personal)
        opener = partial(AuditLog, path, node=self._name, rule=rule, keep_days=config.audit_keep_days)
        self._scribe = Scribe(None, opener)
        if self._scribe.open() is None:
            logger.error("%s; every command will be refused", self._scribe.problem)
        audited = AuditedRecords(self._scribe, config.incarnation)
        self._feed.on_audited = audited.take
        commands = self._commands = CommandGate(
            self._scribe, config.incarnation, self._asks.on_behalf, reason_for=config.reason_for, rule=rule
        )
        self._governed = GovernedRecords(self._scribe, config.incarnation)
        self._feed.on_governed = self._on_governed
        self._desk = Desk(
            self._picture,
            self._admission.keys,
            self._streams,
            commands,
            self._asks,
            self._send_client,
            self._coroner.deaths,
        )
        self._greetings = Greetings(self._feed, self._asks, config.fresh_s)
        self._desk.when_fresh = self._greetings.wait
        self._orders = FindingOrders(
            self._desk.standing.condition,
            lambda op, fields, done: self._asks.ask(op, fields, done, time.monotonic()),
        )
        self._metrics = self._make_metrics()
        self._desk.more_statistics = lambda: (
            self._turned_away.statistics()
            | self._outward.statistics()
            | audited.statistics()
            | commands.attaches.statistics()
            | self._outgoing.statistics()
        )
        self._picture.vitals.lost_here = self._lost_here

    # -- opening and closing --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Bind, connect and write the card.

        Raises:
            zmq.ZMQError: the address cannot be bound.
            OSError: the card cannot be written.
        """
        self._read_authorised(time.monotonic())
        router = self._router
        self._admission.open()
        prepare_router(router, self.config)
        self._monitor = self._turned_away.watch(router)
        self._listener.bind()
        self.endpoint = self._listener.endpoint
        connect_feed(self._feed_socket, self.config)
        connect_control(self._control, self.config)
        for socket in (router, self._admission.socket, self._feed_socket, self._control, self._monitor):
            self._poller.register(socket, zmq.POLLIN)
        self._far = FarSocket(self.config.workers)
        if self.config.workers:
            self._poller.register(self._far.fileno(), zmq.POLLIN)
        self._poller.register(self._scribe.fileno(), zmq.POLLIN)
        pidfd = self._watch.fileno()
        if pidfd is not None:
            self._poller.register(pidfd, zmq.POLLIN)
        self._card.write(self.endpoint, self._picture.info(), "up")
        fields = {"endpoint": self.endpoint, "public_key": self.config.server_public}
        self._asks.ask("ready", fields, _ignore, time.monotonic())

    def close(self) -> None:
        """Remove the card, say the last words to clients, let go of the name. Doing so twice has no effect."""
        if self._router.closed:
            return
        self._card.remove()
        self._recordings.close()
        self._orphans.close()
        self._asks.end(Refusal("node_timeout", "the probe ended before the node answered", "attach again"))
        self._commands.attaches.close()
        if not self._scribe.settle(SETTLE_S):
            logger.error("the disk took too long for the last records of the audit log")
        self._outward.close(self._scribe.checkpoint)
        if self._metrics is not None:
            self._metrics.close()
        self._turned_away.close()
        self._far.close()
        self._picture.processes.close()
        self._router.close(linger=FLUSH_MS)
        for socket in (self._admission.socket, self._feed_socket, self._control):
            socket.close(linger=0)
        self._context.term()  # waits for the router's last messages, no longer than its linger
        self._watch.close()
        self._scribe.close()
        self._lock.release()

    def stop(self) -> None:
        """Let `run` return soon. May be called by a signal handler."""
        self._stopping = True

    # -- the loop -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the node has stopped, has been dead for long enough, or `stop` is called."""
        sample_at = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            wait_s = max(
                min(
                    self._streams.next_due() - now,
                    sample_at - now if not self._picture.ended else TURN_S,
                    TURN_S,
                ),
                0.0,
            )
            ready = dict(self._poller.poll(math.ceil(wait_s * 1000)))
            now = time.monotonic()
            if now >= self._admission.look_at:
                self._read_authorised(now)
            self._listener.retry(now)
            if self._admission.socket in ready:
                self._admission.answer(now, CLIENT_SHARE)
            if self._monitor in ready:
                self._turned_away.receive(now, CLIENT_SHARE)
            self._feed.wants_events = self._streams.wants_events
            if self._recordings.copying is not None:
                time.sleep(COPYING_TURN_S)  # the feed may be readable, and is not to be read
            elif self._feed_socket in ready:
                self._take_feed()
            if self._recordings.copying is None and self._far.fileno() in ready:
                self._take_far()
            if self._control in ready:
                self._take_control()
            if self._scribe.fileno() in ready:
                self._scribe.deliver()
            self._commands.attaches.tick(now)
            self._scribe.tick(now)
            self._outward.look(self._scribe.checkpoint, now)
            if self._router in ready:
                self._take_clients(now)
            self._asks.expire(now)
            self._desk.look_after_clients(now)
            self._orphans.look(now)
            self._feed.settle(now)
            self._greetings.look(now)
            self._recordings.flush(now)
            if self._feed.needs_resync(now) and not self._picture.ended:
                self._asks.ask("resync", {}, _ignore, now)
            self._look_after_node(now, ready)
            if now >= sample_at and not self._picture.ended:
                sample_at = max(sample_at + SAMPLE_S, now)
                self._sample()
            for subscription in self._streams.due(now):
                self._desk.push(subscription, now)
            if self._desk.yielded or (self._end_at is not None and now >= self._end_at):
                self._stopping = True

    def _read_authorised(self, now: float) -> None:
        """Who may in no more loses an open session as well."""
        if self._admission.look(now):
            self._desk.end_sessions_of_others()

    def _take_feed(self) -> None:
        if (copying := self._recordings.copying) is not None:
            copying.wait_copied()
        for _ in range(FEED_SHARE):
            try:
                parts = self._feed_socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            frame = parts[0] if len(parts) == 1 else b""
            self._applying = True
            self._feed.receive(frame)
            self._applying = False
            if self._recordings:
                self._recordings.note(FRAME, frame)

    def _take_far(self) -> None:
        for frame in self._far.frames(FEED_SHARE):
            self._applying = True
            self._feed.receive(frame)
            self._applying = False
            if self._recordings:
                self._recordings.note(FRAME, frame)

    def _publish(self, items: list[EventItem], omitted: int) -> None:
        self._streams.publish(items, omitted)
        self._outward.take(items)
        if not self._applying and self._recordings:  # others come out of the recorded frames again
            self._recordings.note(EVENTS, encode({"events": items}))

    def _make_metrics(self) -> MetricsLink | None:
        if self.config.metrics is None:
            return None
        from observe.probe.metrics_out import MetricsLink

        def tell(text: str) -> None:
            self._picture.event("node", time.time(), text)

        return MetricsLink(self.config.metrics, self._picture, self._desk.standing, tell)

    def _lost_here(self) -> dict[str, int]:
        return self._streams.lost() | {"records": self._recordings.lost}

    def _take_control(self) -> None:
        for _ in range(CONTROL_SHARE):
            try:
                parts = self._control.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._asks.receive(decode(parts[-1]))
            except BadFrame as error:
                logger.warning(
                    "the service sent something on the control link that cannot be read: %s", error
                )

    def _take_clients(self, now: float) -> None:
        for _ in range(CLIENT_SHARE):
            try:
                parts = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            client_id = parts[0].bytes
            if len(parts) != 2:
                self._desk.refuse_frames(client_id)
                continue
            user_id = str(parts[1].get("User-Id"))
            self._desk.receive(client_id, user_id, parts[1].bytes, now, _address(parts[1]))
            if time.monotonic() - now > CLIENT_SHARE_S:
                return

    # -- sending --------------------------------------------------------------------------------------------------------

    def _send_client(self, client_id: bytes, message: dict[str, Any]) -> bool:
        try:
            self._outgoing.send(client_id, encode_for_client(message))
        except Full as full:
            if "sub" in message:
                return False
            return self._send_client(client_id, full.instead_of(message))
        except zmq.Again:
            if "sub" in message:
                return False  # its turn comes again
            self._desk.forget(client_id)  # it asks and does not read the answers
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._desk.forget(client_id)
            return False
        return True

    def _send_control(self, message: dict[str, Any]) -> bool:
        try:
            self._control.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    # -- the node -------------------------------------------------------------------------------------------------------

    def _look_after_node(self, now: float, ready: dict[Any, int]) -> None:
        picture = self._picture
        if picture.ended:
            return
        bye = self._feed.bye
        if bye is not None:
            why = f": {bye.reason}" if bye.reason else ""
            # A service that an exception ended says good-bye as well; that is no end on purpose.
            self._end("stopped", f"{self._name} stopped{why}", died=bye.reason.startswith("ended by"))
            self._stopping = True
            for subscription in self._streams:
                if subscription.is_ready(now):
                    self._desk.push(subscription, now)
            return
        if self._watch.fileno() in ready:
            self._watch.ended()
        if self._watch.is_gone():
            self._take_feed()  # what it said last
            if self._feed.bye is None:
                self._end("dead", f"{self._name} died: process {self.config.pid} ", died=True)
                self._end_at = now + self.config.linger_s
                try:
                    self._card.write(self.endpoint, picture.info(), "dead")
                except OSError as error:  # the card of before still finds us
                    logger.error("the card of the dead node cannot be written: %s", error)
            return
        if self._feed.is_greeted:  # until then the service may still be starting
            self._holder_watch.look(now)
            if picture.processes.workers and now >= self._look_at:
                self._look_at = now + LOOK_S
                picture.processes.look(picture)

    def _end(self, state: str, text: str, *, died: bool) -> None:
        pidfd = self._watch.fileno()
        if pidfd is not None:
            self._poller.unregister(pidfd)
        self._sample()  # the last one: from here on everything stands still
        if died:
            death = self._coroner.examine(text=text if state == "stopped" else "")
            if self._recordings:
                self._recordings.note(DEATH, encode(death.to_wire()))
                self._recordings.flush(time.monotonic())
            if state == "dead":  # who says good-bye ends its spans itself
                self._orphans.died(death)
            self._picture.cause = death.cause
            text = text if state == "stopped" else text + death.cause
        self._picture.end(state)
        if self._metrics is not None:
            self._metrics.close()
        self._picture.event("node", time.time(), text)
        self._asks.end(Refusal("node_dead", f"{text}; what you see is its last picture"))
        for subscription in self._streams:
            subscription.due_at = 0.0

    def _sample(self) -> None:
        at = self._sampler.sample()
        self._waiting_for.look(time.monotonic())
        if self._metrics is not None and self._feed.is_greeted:
            self._metrics.look(time.monotonic())
        self._desk.standing.look(self._picture, time.monotonic(), at)
        self._orders.look()

    def _on_governed(self, frame: GovernedFrame) -> None:
        self._governed.take(frame)
        self._orders.take(frame)

    @property
    def _name(self) -> str:
        return f"{self.config.node}@{self.config.host}"


def _address(frame: zmq.Frame) -> str:
    """From where a frame came, as libzmq knows it."""
    try:
        return str(frame.get("Peer-Address"))
    except (zmq.ZMQError, KeyError, ValueError):
        return ""


def _ignore(_answer: Answer) -> None:
    """For questions whose answer changes nothing."""
