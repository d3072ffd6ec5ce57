"""The policies of a node: what was declared, which of it holds, and what became of a file that was changed.

    Node(policies=[Rule(...), ...])    declared in Python
    Node(policies="shop.yaml")         a file, looked at twice a second; docs/policies.md has its form

A file is read by `observe.probe.policy_files`, since YAML and pydantic are not for the runtime. A node does not start with a file
that is wrong. One that runs keeps the policies that it has until there is a file that is right: what is wrong never means that
everything is allowed.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from observe.runtime.caps import Cap
from observe.runtime.clock import wall_s
from observe.runtime.conformance import Machine
from observe.runtime.errors import PoliciesRefused, PolicyFault
from observe.runtime.policies import OnFinding, Policies, Rule
from observe.runtime.policies_far import FarPolicies

if TYPE_CHECKING:
    from observe.runtime.node import Node

logger = logging.getLogger("observe.runtime")

LOOK_S: Final = 0.5
"""How often the file is looked at, in a thread: one `stat`. A change holds when two looks have seen the same, so a file that an
editor is still writing is left alone."""

Policy: TypeAlias = Rule | Machine | Cap | OnFinding

READER: Final = "observe.probe.policy_files"
"""Has `read(path) -> PolicySet`. Named here and not imported, as a plug-in is: the runtime runs without it, and without what it needs."""

VERSION_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies that were declared together."""

    rules: tuple[Rule, ...] = ()
    machines: tuple[Machine, ...] = ()
    """What agents should do, in which order."""
    findings: tuple[OnFinding, ...] = ()
    """Who is contained when the node finds something wrong with them."""
    caps: tuple[Cap, ...] = ()
    """What may be spent."""
    source: str = "the service"
    """The file they come from."""
    version: str = ""
    """The beginning of the SHA-256 of the file, or of what was declared."""

    @property
    def size(self) -> str:
        """For people: `3 rules, 1 machine`."""
        parts = [
            (len(self.rules), "rule"),
            (len(self.machines), "machine"),
            (len(self.caps), "cap"),
            (len(self.findings), "finding"),
        ]
        return ", ".join(f"{n} {word}" + ("" if n == 1 else "s") for n, word in parts if n) or "nothing"


def declared(policies: Sequence[Policy]) -> PolicySet:
    """A set of what was declared in Python."""
    wrong = [one for one in policies if not isinstance(one, Rule | Machine | Cap | OnFinding)]
    if wrong:
        raise TypeError(f"policies are rules, machines and caps, or the path of a file; not {wrong[0]!r}")
    rules = tuple(one for one in policies if isinstance(one, Rule))
    machines = tuple(one for one in policies if isinstance(one, Machine))
    findings = tuple(one for one in policies if isinstance(one, OnFinding))
    caps = tuple(one for one in policies if isinstance(one, Cap))
    _check_names(caps)
    version = version_of(repr((rules, machines, findings, caps)).encode())
    return PolicySet(rules, machines, findings, caps, version=version)


def _check_names(caps: Sequence[Cap]) -> None:
    """What was spent is known by the name of its cap, so that another one of the name cannot be counted."""
    twice = [name for name, count in Counter(one.policy for one in caps).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]}: two caps have this name")


def version_of(text: bytes) -> str:
    """What tells one text from another."""
    return hashlib.sha256(text).hexdigest()[:VERSION_LENGTH]


class NodePolicies:
    """What holds on one node. Belongs to the scheduler's thread."""

    def __init__(self, node: Node, given: str | os.PathLike[str] | Sequence[Policy]) -> None:
        self._node = node
        self.path = Path(os.path.abspath(given)) if isinstance(given, str | os.PathLike) else None
        self._declared = None if isinstance(given, str | os.PathLike) else declared(given)
        self.now = PolicySet()
        """What holds."""
        self.since = 0.0
        """Unix time from which on it holds."""
        self.loads = 0
        """How often policies were taken, the first ones included."""
        self.refused: PoliciesRefused | None = None
        """Why the file as it stands is not what holds; None when it is."""
        self.contained: Counter[str] = Counter()
        """By policy: how many agents were contained because of a finding."""
        self._far = FarPolicies(node)
        self._told = ""
        self._stamp: tuple[int, ...] = ()
        self._seen: tuple[int, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()

    # -- Start and stop

    async def start(self) -> None:
        """Have the policies hold before the first agent runs.

        Raises:
            PoliciesRefused: the file cannot be read or makes no sense.
        """
        if self.path is None:
            assert self._declared is not None
            self._take(self._declared)
            return
        self._stamp = await asyncio.to_thread(self._look)
        self._take(await self._read())
        self._task = self._node.loop.create_task(self._watch(), name="observe:policies")

    async def stop(self) -> None:
        """Look at the file no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    # -- Others

    def replace(self, policies: Sequence[Policy]) -> None:
        """Have others hold at once; what they deny is cancelled where it waits. A file is left alone until it changes."""
        self._take(declared(policies))

    async def reload(self) -> bool:
        """Read the file now. Tells whether other policies hold than before.

        Raises:
            PoliciesRefused: there is no file, or something is wrong with it; the policies of before hold.
        """
        if self.path is None:
            raise PoliciesRefused(
                "the service", [PolicyFault("the policies were declared in the service, which has no file")]
            )
        async with self._busy:
            stamp = await asyncio.to_thread(self._look)
            try:
                read = await self._read()
            except PoliciesRefused as refused:
                self._stamp = self._seen = stamp
                self._refuse(refused)
                raise
            self._stamp = self._seen = stamp
            self._told, self.refused = "", None
            if read.version == self.now.version and read.source == self.now.source:
                return False
            self._take(read)
            return True

    def found(self, check: str, pids: Sequence[int], text: str) -> int:
        """The node has found something wrong with these agents: contain those that a policy names. Tells how many it were."""
        from observe.runtime.containment import contain_at_least

        count = 0
        for pid in pids:
            agent = self._node.agents.get(pid)
            if agent is None or agent._o_system:
                continue
            whose = (type(agent).__name__, agent._o_child.name or "")
            one = next((one for one in self.now.findings if one.check == check and one.is_about(whose)), None)
            if one is None:
                continue
            change = contain_at_least(
                agent,
                one.level,
                one.reason or text,
                f"finding {check} by policy {one.policy}",
                tools=None if one.tools is None else tuple(one.tools),
                recipients=None if one.recipients is None else tuple(one.recipients),
            )
            if change is not None:
                count += 1
                self.contained[one.policy] += 1
        return count

    def tell(self) -> None:
        """Tell instruments what holds: they may have come later than it."""
        self._report(f"{self.now.size}, version {self.now.version}, hold")
        if self.refused is not None:
            self._report_refused(self.refused)

    # -- Inside

    def _take(self, policies: PolicySet) -> None:
        before = self.now.version
        self.now = policies
        self.since = wall_s()
        self.loads += 1
        self.refused, self._told = None, ""
        governing = self._node.govern()
        old = governing.policies
        judge = Policies(policies.rules)
        if old is not None:  # whoever counts goes on counting
            judge.hits.update({name: count for name, count in old.hits.items() if name in judge.names})
            judge.denied.update({name: count for name, count in old.denied.items() if name in judge.names})
        governing.set_policies(judge, policies.machines, policies.caps)
        self._far.take(policies.rules, policies.machines, policies.caps)
        why = f"{policies.size}, version {policies.version}" + (
            f" in the place of {before}" if before else ""
        )
        logger.info("policies of %s: %s", policies.source, why)
        self._report(why)

    def _report(self, why: str) -> None:
        facts = {"findings": " ".join(sorted({one.check for one in self.now.findings}))}
        self._node.govern().report(None, "policies", self.now.source, "", why, self.now.version, facts)

    def _refuse(self, refused: PoliciesRefused) -> None:
        self.refused = refused
        if str(refused) == self._told:
            return
        self._told = str(refused)
        logger.error("the policies of before, version %s, hold: %s", self.now.version, refused)
        self._report_refused(refused)

    def _report_refused(self, refused: PoliciesRefused) -> None:
        why = f"refused, version {self.now.version} holds: {refused}"
        self._node.govern().report(None, "policies", refused.source, "failed", why, self.now.version)

    async def _read(self) -> PolicySet:
        assert self.path is not None
        return await asyncio.to_thread(reader(), self.path)

    def _look(self) -> tuple[int, ...]:
        assert self.path is not None
        try:
            facts = self.path.stat()
        except OSError as error:
            return (error.errno or 1,)
        return facts.st_mtime_ns, facts.st_size, facts.st_ino

    async def _watch(self) -> None:
        self._seen = self._stamp
        while True:
            await asyncio.sleep(LOOK_S)
            stamp = await asyncio.to_thread(self._look)
            is_still, self._seen = stamp == self._seen, stamp
            if stamp == self._stamp or not is_still:
                continue
            try:
                await self.reload()
            except PoliciesRefused:
                pass  # it was told
            except Exception:
                logger.exception("the policies of before hold: %s could not be read", self.path)
                self._stamp = stamp


def reader() -> Callable[[Path], PolicySet]:
    """Reads files of policies.

    Raises:
        PoliciesRefused: what it needs is not installed.
    """
    try:
        read = importlib.import_module(READER).read
    except ImportError as error:
        raise PoliciesRefused(
            "a file of policies", [PolicyFault(f"it takes the package {error.name!r} to read it")]
        ) from error
    assert callable(read)
    return read  # type: ignore[no-any-return]  # named, not imported: nobody can tell its type
