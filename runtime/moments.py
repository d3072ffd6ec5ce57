"""Which moments of a running step are fit for freezing it, and which for ending it.

Both happen between two bytecodes of the agent's own code, never wherever the step happens to be: a library that is
left in the middle of changing what it shares with others is broken for all of them. What is not known to be fit is
held unfit.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import dis
import inspect
import sys
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from observe.runtime.agent import Agent
from observe.runtime.thread_waits import frames_of_wait
from observe.runtime.transactions import in_transaction

_HERE: Final = str(Path(__file__).parent)

STEPPING: Final = frozenset(
    {"_run", "step_hosted", "_resume_step", "tend_message", "tap_message", "drive", "step_task"}
)
"""Functions of the runtime that call an agent's `handle`, or go on with it."""

_BOUNDARIES: Final = STEPPING | {"start", "ended", "_close"}
"""Functions of the runtime that call an agent's code. The frames inside the innermost of them are the step's."""

_PLAIN = (
    "__future__ _pydecimal _pydatetime _pylong _strptime abc array ast base64 binascii bisect calendar "
    "cmath collections colorsys copy csv dataclasses datetime decimal difflib enum fractions functools "
    "graphlib hashlib heapq hmac html ipaddress itertools json keyword math numbers operator posixpath "
    "pprint random re reprlib secrets shlex sre_compile sre_parse statistics string struct textwrap "
    "token tokenize types typing unicodedata uuid zlib "
)
PLAIN: Final = frozenset(_PLAIN.split())
"""Modules of the standard library that compute and share nothing: a step may be frozen inside them. Any other module
of the standard library, and any installed package that is not the agent's own, may share state between agents."""

_UNFIT_FUNCTIONS: Final = frozenset(
    {"__enter__", "__exit__", "__aenter__", "__aexit__", "__del__", "__set_name__", "__init_subclass__"}
)
"""A lock written in Python takes and gives in the first four; `__del__` runs wherever an object happens to die."""

_SAFE_WITH: Final[tuple[Any, ...]] = (
    Agent.activity,
    builtins.open,
    contextlib.closing,
    contextlib.nullcontext,
    contextlib.suppress,
    decimal.localcontext,
    memoryview,
)
"""What may be called in a `with` whose body may be frozen: it holds nothing that somebody else waits for."""


_COROUTINE: Final = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_AWAITING: Final = frozenset({dis.opmap["SEND"]})

# -- The frames of a step


def step_frames(frame: FrameType | None) -> list[FrameType] | None:
    """The frames of the step in which `frame` is the innermost, itself first; None when it is in no step."""
    frames: list[FrameType] = []
    while frame is not None:
        code = frame.f_code
        if code.co_name in _BOUNDARIES and code.co_filename.startswith(_HERE):
            return frames
        frames.append(frame)
        frame = frame.f_back
    return None


def shown_frames(frame: FrameType | None) -> list[FrameType]:
    """As `step_frames`, for people: without the runtime's own frames at the inner end, such as those of the signal that
    looks at the step and may just be looking."""
    frames = step_frames(frame) or []
    while frames and is_of_runtime(frames[0]):
        del frames[0]
    return frames


def is_of_runtime(frame: FrameType) -> bool:
    """Whether the frame is of the runtime itself."""
    return str(frame.f_globals.get("__name__", "")).startswith("observe.runtime.")


def home_of(agent: Agent) -> frozenset[str]:
    """The top-level names of the packages in which the agent's class and its bases are defined: its own code."""
    home: frozenset[str] | None = getattr(agent, "_o_home", None)
    if home is not None:
        return home  # a plain task: its coroutine's
    names = (cls.__module__.partition(".")[0] for cls in type(agent).__mro__)
    return frozenset(names) - {"observe", "builtins"}


def is_own(frame: FrameType, home: frozenset[str], plain: frozenset[str] = PLAIN) -> bool:
    """Whether the frame is of the agent's own code or of plain computation."""
    return _is_own(frame.f_code.co_filename, str(frame.f_globals.get("__name__", "")), home, plain)


@lru_cache(maxsize=4096)
def _is_own(file: str, module: str, home: frozenset[str], plain: frozenset[str]) -> bool:
    top = module.partition(".")[0]
    if top == "observe":
        return module.startswith("observe.examples.")
    if file.startswith("<frozen "):
        return False
    if top in plain:
        return True
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    if top in home or module in home:
        return True
    return "site-packages" not in file and "dist-packages" not in file


# -- Freezing


_no_preempt: ContextVar[int] = ContextVar("observe_no_preempt", default=0)


class no_preempt:
    """Let the step in hand not be frozen for as long as a `with` block runs.

    For code that must not be seen half-done by other agents. The watchdog still names it and it can still be killed.
    Works in any version of a node, with preemption or without.
    """

    def __enter__(self) -> None:
        _no_preempt.set(_no_preempt.get() + 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _no_preempt.set(_no_preempt.get() - 1)


def preemption_is_held_off() -> bool:
    """Whether the code that runs is inside a `no_preempt()`."""
    return _no_preempt.get() > 0


def freezing_point(
    frames: list[FrameType], home: frozenset[str], plain: frozenset[str] = PLAIN
) -> FrameType | None:
    """The innermost frame below which, itself included, all of the step is fit to be frozen.

    It is `frames[0]` when the step may be frozen now. None when it cannot be at all.
    """
    waiting = frames_of_wait(frames)
    if waiting:
        inner = frames[waiting:]
        found = freezing_point(inner, home, plain) if inner else None
        return frames[0] if inner and found is inner[0] else found
    point: FrameType | None = None
    for frame in reversed(frames):
        if frame.f_code.co_name in _UNFIT_FUNCTIONS or _inside_guarded_with(frame) or in_transaction(frame):
            break
        if is_own(frame, home, plain):
            point = frame
        elif frame is frames[0] or not is_at_await(frame):
            break
    return point


def is_at_await(frame: FrameType) -> bool:
    """Whether the frame is a coroutine's that awaits what runs inside it. It must expect to stay there for any time, so
    that a library's coroutine (`asyncio.wait_for`, a web framework) is no reason not to freeze what it awaits."""
    code = frame.f_code
    return bool(code.co_flags & _COROUTINE) and code.co_code[frame.f_lasti] in _AWAITING


def _inside_guarded_with(frame: FrameType) -> bool:
    """Whether the frame is inside the body of a `with` that might hold a lock."""
    for item in map_of(frame.f_code).withs_at(frame.f_lasti):
        if item is None:
            return True
        called, names = item
        if not called:
            return True
        function = _resolve(names, frame)
        if not any(function is safe for safe in _SAFE_WITH):
            return True
    return False


def _resolve(names: tuple[str, ...], frame: FrameType) -> Any:
    """What a dotted name means in a frame, without running anybody's code. None when that cannot be told."""
    first = names[0]
    for scope in (frame.f_locals, frame.f_globals, vars(builtins)):
        if first in scope:
            found = scope[first]
            break
    else:
        return None
    for name in names[1:]:
        try:
            found = inspect.getattr_static(found, name)
        except AttributeError:
            return None
    return found


# -- Ending


_NO_PLACE: Final = frozenset(
    {
        "RESUME",
        "NOP",
        "CACHE",
        "EXTENDED_ARG",
        "PUSH_EXC_INFO",
        "CHECK_EXC_MATCH",
        "CHECK_EG_MATCH",
        "POP_EXCEPT",
        "RERAISE",
        "WITH_EXCEPT_START",
        "COPY_FREE_VARS",
        "MAKE_CELL",
        "RETURN_GENERATOR",
        "SEND",
        "YIELD_VALUE",
        "END_SEND",
        "CLEANUP_THROW",
        "END_ASYNC_FOR",
        "ASYNC_GEN_WRAP",
    }
)
"""Instructions at which an exception from outside is lost or lands beside the block it is in: backward jumps (which
are added below) belong to no block (https://github.com/python/cpython/issues/108214), the others are in the middle of
handling an exception or of an await."""


def is_ending_point(frame: FrameType) -> bool:
    """Whether an exception raised at the frame's instruction runs the `finally` and `with` blocks around it, and cuts
    none of them short."""
    code_map = map_of(frame.f_code)
    return frame.f_lasti not in code_map.no_place and frame.f_lasti not in code_map.cleanup


def ending_frame(frames: list[FrameType], home: frozenset[str]) -> FrameType:
    """The innermost frame of the step that is neither inside a foreign library nor cleaning up."""
    chosen = frames[0]
    for frame in frames:
        if frame.f_code.co_name in _UNFIT_FUNCTIONS or not (
            is_own(frame, home) or (frame is not frames[0] and is_at_await(frame))
        ):
            chosen = frame.f_back or chosen
    return chosen if chosen in frames else frames[0]


class CodeMap:
    """What is known of a code object's instructions."""

    __slots__ = ("_entries", "_items", "cleanup", "no_place")

    def __init__(self, code: CodeType) -> None:
        instructions = [i for i in dis.get_instructions(code) if i.opname != "CACHE"]
        at = {instruction.offset: index for index, instruction in enumerate(instructions)}
        self._entries: list[tuple[int, int, int]] = [
            (entry.start, entry.end, entry.target)
            for entry in dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # not in typeshed
        ]
        self.no_place = frozenset(
            i.offset for i in instructions if i.opname in _NO_PLACE or "JUMP" in i.opname
        )
        self._items: dict[int, Any] = {}
        cleanup: set[int] = set()
        finally_lines: set[int] = set()
        for target in {target for _, _, target in self._entries}:
            index = at.get(target)
            if index is None or instructions[index].opname != "PUSH_EXC_INFO":
                continue
            following = instructions[index + 1].opname if index + 1 < len(instructions) else ""
            if following == "WITH_EXCEPT_START":
                self._items[target] = self._item(instructions, target)
                continue
            handler: list[dis.Instruction] = []
            for instruction in instructions[index + 1 :]:
                if instruction.opname in ("RERAISE", "PUSH_EXC_INFO"):
                    break
                handler.append(instruction)
            names = {instruction.opname for instruction in handler}
            if following == "POP_TOP" or names & {"CHECK_EXC_MATCH", "CHECK_EG_MATCH", "CLEANUP_THROW"}:
                continue  # `except`
            cleanup.update(instruction.offset for instruction in handler)
            finally_lines.update(line for line in map(_line, handler) if line is not None)
        # The body of a `finally` is compiled twice, for the ordinary way out too: the same lines.
        cleanup.update(i.offset for i in instructions if _line(i) in finally_lines)
        for index in range(len(instructions)):
            # The ordinary way out of a `with` is a call of __exit__ with three times None.
            tail = instructions[index : index + 5]
            if [i.opname for i in tail[:3]] == ["LOAD_CONST"] * 3 and all(i.argval is None for i in tail[:3]):
                calls = [i for i in tail[3:] if i.opname in ("PRECALL", "CALL")]
                if calls and calls[0].arg == 2:
                    cleanup.update(i.offset for i in (*tail[:3], *calls))
        self.cleanup = frozenset(cleanup)

    def withs_at(self, offset: int) -> list[tuple[bool, tuple[str, ...]] | None]:
        """Of each `with` around an instruction, innermost first: whether its item is a call, and the dotted name of
        what it calls or is; None when that cannot be told. An `async with` is left out: whoever waits for what it
        holds waits in turn."""
        found: list[tuple[bool, tuple[str, ...]] | None] = []
        passed: set[int] = set()
        while True:
            inner = [entry for entry in self._entries if entry[0] <= offset < entry[1]]
            if not inner:
                return found
            offset = inner[0][2]
            if offset in passed:
                return found
            passed.add(offset)
            item = self._items.get(offset, "no with")
            if item not in ("no with", "async"):
                found.append(item)

    def _item(self, instructions: list[dis.Instruction], target: int) -> Any:
        start = min(entry[0] for entry in self._entries if entry[2] == target)
        before = [i for i in instructions if i.offset < start]
        while before and before[-1].opname not in ("BEFORE_WITH", "BEFORE_ASYNC_WITH"):
            before.pop()
        if not before:
            return None
        if before.pop().opname == "BEFORE_ASYNC_WITH":
            return "async"
        last = before[-1]
        place = last.positions
        if place is None or place.lineno is None:
            return None
        names: list[str] = []
        for instruction in before:
            here = instruction.positions
            if here is None or (here.lineno, here.col_offset) != (place.lineno, place.col_offset):
                continue
            if instruction.opname.startswith("LOAD_") and isinstance(instruction.argval, str):
                if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                    names.append(instruction.argval)
                else:
                    names = [instruction.argval]
        if not names:
            return None
        return last.opname.startswith("CALL"), tuple(names)


def _line(instruction: dis.Instruction) -> int | None:
    return instruction.positions.lineno if instruction.positions is not None else None


@lru_cache(maxsize=1024)
def map_of(code: CodeType) -> CodeMap:
    """The map of a code object; made once for each."""
    return CodeMap(code)
