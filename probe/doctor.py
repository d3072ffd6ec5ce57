"""Why an attach does not work: each step of it by itself, in the order in which they are taken.

```
name --> address --> port --> handshake --> version --> clock, role --> vitals --> scheduler --> canary, in four steps
```

The node is attached to as any client does it, and its typed errors say which step failed. Only when nobody answered is
the port tried by itself: a bare connection that says nothing is told by a healthy node as somebody turned away.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from observe.probe import wire, wire_base, wire_table
from observe.probe.addresses import default_port
from observe.probe.cards import NODE_NAME, Card
from observe.probe.client import NodeClient
from observe.probe.doctor_canary import CanaryStep, omit, try_canary
from observe.probe.errors import (
    AttachError,
    NoCommonVersion,
    NodeUnreachable,
    NotAuthorised,
    ProtocolError,
    RemoteError,
    UnsafeDirectory,
)
from observe.probe.held_where import LET_RUN, SYSTEM
from observe.probe.remote import RemoteNode, parse_remote
from observe.probe.resolving import parse_elsewhere, resolve

Step = Literal[
    "name", "address", "port", "handshake", "version", "clock", "role", "vitals", "scheduler",
    "spawned", "messaged", "traced", "killed",
]  # fmt: skip
"""The last four are of the canary."""
STEPS: Final[tuple[Step, ...]] = get_args(Step)

CLOCK_SKEW_S: Final = 10.0
"""Clocks further apart are a fault. It is the life that our client gives a command; the horizon of the protocol is 30 s."""

OLD_TELEMETRY_S: Final = 30.0
"""Telemetry comes each 10 s at the latest, however dear it is; when the newest is older, none comes."""

_MAY: Final = {"viewer": "may look", "operator": "may look and end agents", "admin": "may do everything"}


@dataclass(frozen=True, slots=True)
class Check:
    """One step of an attach, and how it went."""

    step: Step
    status: Literal["ok", "failed", "skipped", "omitted"]
    """`skipped`: a step before it failed, so there was nothing to check. `omitted`: not wanted, or not for this key."""
    text: str
    """What was found, in one line; of a failed check the cause."""
    advice: str = ""
    """What to do about a failed check."""


@dataclass(slots=True)
class Diagnosis:
    """What was found about one node."""

    node: str
    """As it was asked for."""
    checks: list[Check] = field(default_factory=list)
    """One for each of `STEPS`, in that order."""

    @property
    def is_well(self) -> bool:
        """Whether nothing failed, and so nothing was skipped."""
        return all(check.status in ("ok", "omitted") for check in self.checks)

    def to_map(self) -> dict[str, Any]:
        """As `observe doctor --json` prints it."""
        return {"node": self.node, "well": self.is_well, "checks": [asdict(check) for check in self.checks]}


def is_name(text: str) -> bool:
    """Whether a node can be named so at all: `shop`, `shop@host`, `shop@host:port`."""
    return NODE_NAME.fullmatch(text) is not None or parse_remote(text) is not None


async def diagnose(node: str, timeout_s: float = 3.0, *, canary: bool = True) -> Diagnosis:
    """Find out whether the node can be attached to, and if not, why. What is wrong is told and never raised.

    Args:
        node: as for `observe.probe.connect`.
        timeout_s: how long each step that waits for somebody may take.
        canary: end with the canary, when all else is well and our role allows it. It leaves four records in the node's
            audit log.
    """
    examination = _Examination(node, timeout_s, canary)
    await examination.run()
    return Diagnosis(node, examination.checks())


class _Examination:
    """Fills in one check after another; what is not reached is skipped."""

    def __init__(self, node: str, timeout_s: float, canary: bool) -> None:
        self._node = node
        self._canary = canary
        self._timeout_s = timeout_s
        self._found: dict[Step, Check] = {}

    def checks(self) -> list[Check]:
        """All of them, in order."""
        checks, cause = [], "name"
        for step in STEPS:
            check = self._found.get(step) or Check(step, "skipped", f"not reached: see {cause}")
            cause = step if check.status == "failed" else cause
            checks.append(check)
        return checks

    async def run(self) -> None:
        known = self._name()
        address = self._address(known)
        if address is None or not await self._resolves(*address):
            return
        if known is None:  # there is nothing to show to the node or to know it by, but the port can be tried
            await self._port(*address)
            return
        # The card as it is, and a node elsewhere by its name: whoever has the default port may have to be asked first.
        client = NodeClient(known if isinstance(known, Card) else self._node, timeout_s=self._timeout_s)
        began = time.time()
        try:
            await client.open()
        except AttachError as error:
            await self._why_not(error, known, address)
            return
        try:
            self._attached(client, known, began, time.time(), address)
            await self._look(client)
            if self._is_fine("vitals") and self._is_fine("scheduler"):
                await self._try_canary(client)
        finally:
            await client.close()

    # -- before anything is sent ------------------------------------------------------------------------------------

    def _name(self) -> Card | RemoteNode | None:
        try:
            known = resolve(self._node)
        except AttachError as error:
            if isinstance(error, NodeUnreachable) and self._elsewhere():
                self._ok(
                    "name", "a node elsewhere, whose key is known here"
                )  # its host is the matter: see address
            else:
                self._failed("name", str(error), error.hint)
            return None
        if isinstance(known, RemoteNode):
            self._ok("name", "a node elsewhere, whose key is known here")
        elif known.state == "dead":
            self._failed(
                "name",
                f"{known.full_name} has died; its probe (process {known.probe_pid}) still shows the last picture",
                f"`observe autopsy {known.name}` tells what is known of its end; start it again",
            )
        else:
            self._ok("name", f"{known.full_name}, process {known.pid}, probe {known.probe_pid}")
        return known

    def _elsewhere(self) -> tuple[str, int] | None:
        """Host and port of a node elsewhere; None for one here."""
        try:
            parts = parse_elsewhere(self._node)
            return None if parts is None else (parts[1], parts[2] or default_port())
        except (UnsafeDirectory, ValueError):  # told by the check of the name
            return None

    def _address(self, known: Card | RemoteNode | None) -> tuple[str, int] | None:
        if known is None:
            return self._elsewhere()
        host, _, port = known.endpoint.removeprefix("tcp://").rpartition(":")
        if not host or not port.isdigit():
            self._failed(
                "address", f"{known.endpoint!r} is no address that can be connected to", "restart the node"
            )
            return None
        return host, int(port)

    async def _resolves(self, host: str, port: int) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except TimeoutError:
            self._failed(
                "address", f"looking up {host} took longer than {self._timeout_s:g} s", "use its address"
            )
            return False
        except (OSError, UnicodeError) as error:
            self._failed(
                "address",
                f"there is no machine of the name {host} ({error})",
                "check the spelling, or use its address",
            )
            return False
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        self._ok(
            "address", host if addresses == [host.strip("[]")] else f"{host} is {', '.join(addresses[:4])}"
        )
        return True

    async def _port(self, host: str, port: int) -> bool:
        """Try it with a bare connection."""
        try:
            async with asyncio.timeout(self._timeout_s):
                _, writer = await asyncio.open_connection(host.strip("[]"), port)
        except TimeoutError:
            self._failed(
                "port",
                f"port {port} of {host} did not answer within {self._timeout_s:g} s",
                "a firewall drops it, or the machine is down or overloaded",
            )
        except ConnectionRefusedError:
            self._failed(
                "port",
                f"nobody listens on port {port} of {host}",
                "the node or its probe has ended, or listens elsewhere: on its machine, `observe nodes --json` tells "
                "its endpoint; a node that other machines reach has Probe(listen=...)",
            )
        except OSError as error:
            self._failed(
                "port", f"port {port} of {host} cannot be reached: {error}", "check the network between"
            )
        else:
            writer.close()
            self._ok("port", f"somebody listens on port {port}")
            return True
        return False

    # -- attaching ----------------------------------------------------------------------------------------------------

    async def _why_not(self, error: AttachError, known: Card | RemoteNode, address: tuple[str, int]) -> None:
        if isinstance(error, (NodeUnreachable, ProtocolError)) and not isinstance(error, NoCommonVersion):
            if await self._port(*address):
                self._failed("handshake", str(error), error.hint)
            return
        self._ok("port", f"somebody listens on port {address[1]}")
        if isinstance(error, NoCommonVersion):
            self._ok("handshake", "each side has the key that the other knows")
            self._failed("version", str(error), error.hint)
        elif isinstance(error, RemoteError) and error.code == "no_such_node":
            self._failed("name", str(error), error.hint)
            self._ok("handshake", "with whoever has that port there")
        elif isinstance(error, NotAuthorised) and isinstance(known, Card):
            self._failed(
                "handshake", str(error), "the card is not of this probe: remove it and restart the node"
            )
        else:
            self._failed("handshake", str(error), error.hint)

    def _attached(
        self,
        client: NodeClient,
        known: Card | RemoteNode,
        began: float,
        ended: float,
        address: tuple[str, int],
    ) -> None:
        info = client.info
        self._ok("port", f"somebody listens on port {address[1]}" + (f"; {client.way}" if client.way else ""))
        self._ok("handshake", f"{info.name} has the key by which we know it, and accepts ours")
        ours = ", ".join(map(str, wire.PROTOCOL_VERSIONS))
        self._ok("version", f"both speak protocol {ours}; the node has observe {info.version}")
        # The node read its clock between the two readings of ours: what lies outside of them is skew for certain.
        skew_s = max(info.now - ended, 0.0) + min(info.now - began, 0.0)
        if abs(skew_s) > CLOCK_SKEW_S:
            self._failed(
                "clock",
                f"the node's clock is {abs(skew_s):,.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours",
                "set both by NTP. The node takes commands by its own clock and for "
                f"{wire_base.COMMAND_HORIZON_S:g} s at most; times that are shown are wrong by as much",
            )
        else:
            self._ok("clock", f"within {max(abs(skew_s), 1.0):.0f} s of ours")
        self._ok("role", f"{client.role}: {_MAY.get(client.role, 'a role of another version')}")

    async def _look(self, client: NodeClient) -> None:
        read_at, clock = time.monotonic(), client.info.now
        try:
            vitals = await client.vitals()
            page = await client.agents(wire_table.Query(limit=0))
        except AttachError as error:
            self._failed("vitals", str(error), error.hint)
            return
        age_s = max(clock + time.monotonic() - read_at - page.at, 0.0)  # by the node's clock
        if vitals.state in ("dead", "stopped"):
            self._failed(
                "vitals",
                f"the node is {vitals.state}" + (f": {vitals.cause}" if vitals.cause else ""),
                f"`observe autopsy {self._node}` tells what is known of its end; start it again",
            )
            return
        if vitals.held is None and age_s > OLD_TELEMETRY_S:
            self._failed(
                "vitals",
                f"the probe answers, but the newest telemetry of the node is {age_s:,.0f} s old",
                "the service is stopped or starved, or its clock was set; look at its process and its log",
            )
        else:
            self._ok(
                "vitals", f"answered, {vitals.agents:,} agents; the newest telemetry is {age_s:.1f} s old"
            )
        self._scheduler(vitals.held)

    def _is_fine(self, step: Step) -> bool:
        check = self._found.get(step)
        return check is not None and check.status == "ok"

    async def _try_canary(self, client: NodeClient) -> None:
        def tell(
            step: CanaryStep, status: Literal["ok", "failed", "omitted"], text: str, advice: str
        ) -> None:
            self._found[step] = Check(step, status, text, advice)

        if self._canary:
            await try_canary(client, self._timeout_s, tell)
        else:
            omit(tell, "no canary was wanted")

    def _scheduler(self, held: wire.Held | None) -> None:
        if held is None:
            self._ok("scheduler", "free")
            return
        if held.where in SYSTEM:
            self._failed(
                "scheduler", f"held for {held.since_s:.1f} s by {SYSTEM[held.where]}", LET_RUN[held.where]
            )
            return
        who = (
            f"{held.name or held.class_name or 'agent'} (pid {held.pid})"
            if held.pid
            else "code outside of agents"
        )
        at = f", in {held.stack[-1].function}" if held.stack else ""
        where = "Python" if held.where == "python" else "C code"
        advice = f"`observe vitals {self._node}` shows its stack"
        if held.pid:
            advice += f"; `observe kill {self._node} {held.pid}` ends it" if held.where == "python" else ""
        self._failed("scheduler", f"held by {who} for {held.since_s:.1f} s, in {where}{at}", advice)

    def _ok(self, step: Step, text: str) -> None:
        self._found[step] = Check(step, "ok", text)

    def _failed(self, step: Step, text: str, advice: str) -> None:
        self._found[step] = Check(step, "failed", text, advice)
