"""Exit statuses of the command line, and the one place where an error becomes words on stderr.

0    done
1    the node or the agent said no, or could not be reached, or is dead
2    usage: an unknown node, column or command, a bad argument
130  interrupted with Ctrl-C (128 + SIGINT, as shells report it)
141  whoever read our output has closed the pipe (128 + SIGPIPE), as in `observe ps shop | head -1`
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

import click

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141

GONE: Final = "observe.gone"
"""Key of click's context under which name and state are kept of a node that was found dead or stopped."""

ARGUMENTS: Final = frozenset(
    {
        "Query",
        "VitalsArgs",
        "InspectArgs",
        "StackArgs",
        "TreeArgs",
        "CrashesArgs",
        "WatchArgs",
        "KillArgs",
        "AgentCommand",
        "ReloadArgs",
        "RestartArgs",
        "SendArgs",
        "EditArgs",
        "MailboxArgs",
        "CancelActivityArgs",
        "DecideArgs",
        "LogLevelArgs",
        "CollectGarbageArgs",
    }
)
"""The requests whose fields a person fills in: what is wrong in them was typed."""


def complain(message: str, hint: str = "") -> None:
    """Write one line about what went wrong to stderr, and below it what to do, when that is known."""
    from observe.console.format import one_line  # names and reasons come from strangers

    click.echo(f"Error: {one_line(message)}", err=True)
    if hint:
        click.echo(f"Hint: {one_line(hint)}", err=True)


def exit_status(error: BaseException) -> int:
    """Tell a person about `error` and return the exit status that goes with it."""
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError, click.Abort)):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return CLOSED_PIPE
    # Imported here: `observe --help` has no use for the probe's libraries.
    from observe.probe.errors import AttachError, ProbeError

    if isinstance(error, AttachError):
        complain(str(error), error.hint)
        return error.exit_code
    if isinstance(error, ProbeError):
        complain(str(error))
        return REFUSED
    if isinstance(error, ImportError):
        complain(f"a part of observe cannot be loaded: {error}", "reinstall it: pip install observe-agents")
        return REFUSED
    if "pydantic" in sys.modules:  # before a request leaves, the wire's types have looked at it
        from pydantic import ValidationError

        if isinstance(error, ValidationError) and error.title in ARGUMENTS:
            first = error.errors(include_url=False)[0]
            complain(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
            return USAGE
    if os.environ.get("OBSERVE_DEBUG"):
        raise error
    complain(
        f"a fault of observe itself: {type(error).__name__}: {error}",
        "please report it, with the traceback that the environment variable OBSERVE_DEBUG=1 makes visible",
    )
    return REFUSED


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush has nowhere to fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # stdout is no file: there is nothing to silence
