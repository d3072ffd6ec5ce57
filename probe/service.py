"""What a service with a probe holds: two sockets, a page of words, the emitter, the control thread. And how it lets go.

Service.start   binds, writes down the words, starts the control thread, which starts the probe; waits for `ready`
Service.stop    `bye`, then the thread ends with its probe, then everything is closed and removed
at exit         the same without a loop, for services that end without stopping
after a fork    the child forgets all of it: sockets, thread and probe are the parent's
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import faulthandler
import importlib.metadata
import logging
import os
import secrets
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any, Final

import zmq

from observe.probe import askers
from observe.probe.addresses import is_private
from observe.probe.answers import Answers
from observe.probe.cards import node_directory
from observe.probe.config import Config, check_commands
from observe.probe.dump_signal import StackDump
from observe.probe.embed import NodeNameTaken, ProbeNotStarted, Settings
from observe.probe.emit import Emitter
from observe.probe.errors import UnsafeDirectory
from observe.probe.far_begin import FarFeeds
from observe.probe.keyfiles import NODE_KEY, BadKeyFile, config_directory, make_key_pair, read_authorised
from observe.probe.keys import new_key_pair
from observe.probe.launch import Launcher, Launches
from observe.probe.link import ControlLink
from observe.probe.open_book import ends_path
from observe.probe.outlet import Outlet
from observe.probe.states import usable_audit_directory
from observe.probe.words import Words
from observe.runtime.logring import LogRing
from observe.runtime.node import Node

logger = logging.getLogger("observe.probe")

IPC_PATH_BYTES: Final = 100
"""Longest path of a Unix socket that we use; Linux allows 107 bytes, macOS 103."""

JOIN_S: Final = 6.0
"""How long the control thread may take to end: it gives its probe three seconds."""

_LIVE: Final[weakref.WeakSet[Service]] = weakref.WeakSet()
_INHERITED: Final[list[object]] = []
"""In a forked child: what belongs to the parent. Kept, because collecting a socket would close it."""


class Service:
    """One probe's other half. Belongs to the thread of the node's loop."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._settings = settings
        self._owner = os.getpid()
        self._open: contextlib.ExitStack = contextlib.ExitStack()
        self._emitter: Emitter | None = None
        self._answers: Answers | None = None
        self._far: FarFeeds | None = None
        self._link: ControlLink | None = None
        self._launcher: Launches | None = None
        self._ready: asyncio.Future[None] | None = None
        self._is_stopping = False
        self._dumps_fatal = False
        """Whether fatal signals write into our file of stacks."""
        self.endpoint = ""
        """Where consoles connect; empty while no probe is ready."""

    # -- starting ---------------------------------------------------------------------------------------------------

    async def start(self, timeout_s: float) -> None:
        """Start everything and wait until the probe is ready.

        Raises:
            NodeNameTaken, ProbeNotStarted: as `Probe.start`.
        """
        self._loop = asyncio.get_running_loop()
        if not self._node.is_running or self._node.loop is not self._loop:
            raise ProbeNotStarted(
                "the node is not running on this event loop\n"
                "  wrong: Probe(Node('shop'))\n"
                "  right: async with Node('shop') as node, Probe(node): ..."
            )
        self._ready = self._loop.create_future()
        try:
            self._set_up()
        except (UnsafeDirectory, BadKeyFile, OSError, ValueError, zmq.ZMQError) as error:
            raise ProbeNotStarted(f"the probe of {self._node.name} could not be started: {error}") from error
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready
        except TimeoutError:
            why = f"it was not ready within {timeout_s:g} s"
            raise ProbeNotStarted(
                self._with_log(f"the probe of {self._node.name} could not be started: {why}")
            ) from None

    def _set_up(self) -> None:
        node, settings = self._node, self._settings
        check_commands(settings.reason_for)
        directory = node_directory(node.short_name)
        _remove_leftovers(directory)
        mark = f"{os.getpid()}-{secrets.token_hex(4)}"
        words_path, stacks_path = directory / f"words-{mark}", directory / f"stacks-{mark}.txt"
        words = Words.create(words_path)
        self._open.callback(words.close)
        self._open.callback(words_path.unlink, missing_ok=True)
        dump_signal = self._register_dump(stacks_path)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._open.callback(context.destroy, linger=0)
        feed, control, workers = self._addresses(directory, mark)
        outlet = Outlet(context, feed)
        self._open.callback(outlet.close)
        ends = ends_path(directory, node.incarnation)
        self._open.callback(ends.unlink, missing_ok=True)
        self._emitter = emitter = Emitter(
            node, outlet, words, tick_s=settings.tick_s, budget=settings.budget, version=_version(), ends=ends
        )
        keys, server_keys = _server_keys(settings)
        client_keys = new_key_pair()

        def config(port: int | None) -> str:
            made = Config(
                node=node.short_name,
                host=node.host,
                incarnation=node.incarnation,
                pid=os.getpid(),
                feed=feed,
                control=control,
                workers=workers,
                directory=str(directory),
                listen=settings.listen,
                keys=keys,
                port=port,
                server_public=server_keys[0],
                server_secret=server_keys[1],
                client_public=client_keys[0],
                client_secret=client_keys[1],
                dump_signal=dump_signal,
                scheduler_thread=node.scheduler.thread_id,
                budget=settings.budget,
                metrics=settings.metrics,
                escalations=list(settings.escalations),
                audit_keeps_personal=settings.audit_keeps_personal,
                audit_keep_days=settings.audit_keep_days,
                reason_for=list(settings.reason_for),
                anchor=settings.anchor,
                fresh_s=askers.FRESH_S,
                linger_s=settings.linger_s,
                findings_allow=list(settings.findings_allow),
                record=os.path.abspath(settings.record) if settings.record else "",
                keep_bytes=settings.keep_bytes,
                audit=os.path.abspath(settings.audit or usable_audit_directory(node.short_name)),
                words=str(words_path),
                stacks=str(stacks_path),
                started_at=node.started_at,
            )
            return made.model_dump_json()

        level = logging.getLevelNamesMapping()[settings.log_level.upper()]
        ring = LogRing(node, settings.log_keep, level)
        if settings.log_keep:
            ring.open()
            self._open.callback(ring.close)
        self._answers = answers = Answers(node, words, emitter, ring)
        self._launcher = self._new_launcher(directory)
        self._link = ControlLink(context, control, words, answers, self._launcher, config, self._on_ready)
        emitter.start()
        self._far = FarFeeds(
            node,
            workers,
            str(words_path),
            tick_s=settings.tick_s,
            budget=settings.budget,
            log=(settings.log_keep, level),
        )
        self._far.start()
        _LIVE.add(self)
        # A reload can tell what was changed when it knows the texts as they are now, before anybody edits them.
        threading.Thread(target=self._remember, name="observe:sources", daemon=True).start()
        _install()
        self._link.start()

    def _new_launcher(self, directory: Path) -> Launches:
        if self._settings.placement == "process":
            return Launcher(directory)
        from observe.probe.inside import ThreadLauncher  # the whole probe, numpy included

        return ThreadLauncher()

    def _addresses(self, directory: Path, mark: str) -> tuple[str, str, str]:
        """Where to bind feed, control link and the workers' socket: in the node's directory, or a temporary one if its path
        is too long."""
        if len(os.fsencode(directory / f"control-{mark}")) > IPC_PATH_BYTES:
            directory = Path(tempfile.mkdtemp(prefix="observe-"))  # 0700, by mkdtemp
            self._open.callback(shutil.rmtree, directory, ignore_errors=True)
        paths = directory / f"feed-{mark}", directory / f"control-{mark}", directory / f"far-{mark}"
        for path in paths:
            self._open.callback(path.unlink, missing_ok=True)
        return f"ipc://{paths[0]}", f"ipc://{paths[1]}", str(paths[2])

    def _remember(self) -> None:
        with contextlib.suppress(Exception):  # without it a reload tells less
            self._node.reloader.remember()

    def _register_dump(self, path: Path) -> int | None:
        """Have `faulthandler` write all stacks to a file on a signal, and when the process is about to die."""
        dump = StackDump(path)
        if dump.file is None:
            return None
        self._open.callback(dump.close)
        if not faulthandler.is_enabled():  # else the service has its own file for that
            faulthandler.enable(
                file=dump.file, all_threads=True
            )  # a fatal signal leaves the last stacks there
            self._open.callback(faulthandler.disable)
            self._dumps_fatal = True
        return dump.number

    def _on_ready(self, endpoint: str, code: str, message: str) -> None:
        """The control thread has news of the probe."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, endpoint, code, message)

    def _settle(self, endpoint: str, code: str, message: str) -> None:
        self.endpoint = endpoint
        if self._is_stopping or self._ready is None or self._emitter is None:
            return
        if endpoint:
            self._emitter.resync()
            if self._node.policies is not None:
                self._node.policies.tell()  # for the record of this probe, which has not heard of them
            if not self._ready.done():
                self._ready.set_result(None)
        elif not self._ready.done():
            if code == "name_taken":
                self._ready.set_exception(NodeNameTaken(message))
            else:
                text = f"the probe of {self._node.name} could not be started: {message}"
                self._ready.set_exception(ProbeNotStarted(self._with_log(text) if code == "ended" else text))
            self._ready.exception()  # whoever waited may have given up
        elif code != "ended":
            logger.warning("the probe of %s could not be started again: %s", self._node.name, message)

    def _with_log(self, text: str) -> str:
        tail = self._launcher.tail() if self._launcher is not None else ""
        return f"{text}; its log ends with:\n{tail}" if tail else text

    # -- ending -----------------------------------------------------------------------------------------------------

    async def stop(self, reason: str) -> None:
        """Say good-bye, end the probe, close and remove everything. Returns within `JOIN_S`."""
        if os.getpid() != self._owner:
            return  # a forked child unwinds its parent's stack: all of this is the parent's
        link = self._begin_to_stop(reason)
        if link is not None:
            await asyncio.to_thread(link.join, JOIN_S)
        self._tear_down()

    def stop_at_exit(self) -> None:
        """As `stop`, when there is no loop any more."""
        if os.getpid() != self._owner:
            return
        link = self._begin_to_stop("the service has ended")
        if link is not None:
            link.join(JOIN_S)
        self._tear_down()

    def _begin_to_stop(self, reason: str) -> ControlLink | None:
        self._is_stopping = True
        if self._answers is not None:
            self._answers.end_traces()
        if self._far is not None:
            self._far.stop()
            self._far = None
        if self._emitter is not None:
            self._emitter.stop(reason)
        if self._link is not None:
            self._link.finish()
        return self._link

    def _tear_down(self) -> None:
        _LIVE.discard(self)
        if self._link is not None and self._link.is_alive():
            logger.error("the control thread did not end; its sockets are left to the operating system")
            _INHERITED.append(self._open.pop_all())
            return
        self._link = None
        self._open.close()

    def forget(self) -> None:
        """In a forked child: nothing of this is ours."""
        if self._dumps_fatal:
            faulthandler.disable()  # the child's end is not the node's
        self._is_stopping = True
        if self._emitter is not None:
            self._emitter.unplug()
        if self._launcher is not None:
            self._launcher.disown()
        _INHERITED.append((self, self._open.pop_all()))

    def statistics(self) -> dict[str, Any]:
        """What was sent, dropped and spent."""
        facts: dict[str, Any] = {"endpoint": self.endpoint}
        if self._emitter is not None:
            facts |= self._emitter.statistics()
        if self._link is not None:
            facts["probe_restarts"] = self._link.restarts
        if self._launcher is not None:
            facts["probe_pid"] = self._launcher.pid
        return facts


def _server_keys(settings: Settings) -> tuple[str, tuple[str, str]]:
    """The directory of key files (empty: none are used) and the key pair of the node.

    A node that only this machine can reach has keys of its own at each start, and its card says them. One that others
    reach keeps its key, by which they know it again.
    """
    if is_private(settings.listen) and not settings.keys:
        return "", new_key_pair()
    directory = Path(settings.keys).expanduser() if settings.keys else config_directory()
    pair = make_key_pair(directory / NODE_KEY)
    read_authorised(directory)  # a file that cannot be read is told now, not when somebody is locked out
    return str(directory), (pair.public, pair.secret)


_installed: list[int] = []


def _install() -> None:
    """Once a process: be told of forks and of the interpreter's end."""
    if not _installed:
        _installed.append(os.getpid())
        os.register_at_fork(after_in_child=_after_fork)
        atexit.register(_at_exit)


def _after_fork() -> None:
    for service in list(_LIVE):
        service.forget()
    _LIVE.clear()


def _at_exit() -> None:
    for service in list(_LIVE):
        try:
            service.stop_at_exit()
        except Exception:
            logger.exception("a probe could not be ended in order")


def _remove_leftovers(directory: Path) -> None:
    """Remove what services of this name left that were killed."""
    for kind in ("words", "stacks", "feed", "control", "far"):
        for path in directory.glob(f"{kind}-*-*"):
            owner = path.name.split("-")[1]
            if owner.isdigit() and not _is_alive(int(owner)):
                path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _version() -> str:
    try:
        return importlib.metadata.version("observe-agents")
    except importlib.metadata.PackageNotFoundError:
        return "0"
