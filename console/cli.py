"""The command `observe`: which verbs there are, and how their failures end.

Each verb is a module of `observe.console.commands`, loaded when it is asked for. No module is loaded that is not
needed: Textual only by `attach` and `demo`, the probe's client only by verbs that talk to a node.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib
import sys
from typing import Any, Final

import click

from observe.console.exits import GONE, REFUSED, complain, exit_status
from observe.probe.program import PROGRAM

COMMANDS: Final = (
    "demo",
    "nodes",
    "attach",
    "serve",
    "ps",
    "inspect",
    "stack",
    "tasks",
    "groups",
    "tree",
    "crashes",
    "autopsy",
    "record",
    "replay",
    "findings",
    "workers",
    "consoles",
    "approvals",
    "log",
    "dead-letters",
    "budgets",
    "names",
    "policies",
    "vitals",
    "watch",
    "trace",
    "profile",
    "kill",
    "suspend",
    "resume",
    "stop",
    "restart",
    "next-rung",
    "send",
    "edit",
    "drop",
    "move",
    "cancel",
    "checkpoint",
    "approve",
    "refuse",
    "contain",
    "reset-budget",
    "code",
    "reload",
    "log-level",
    "gc",
    "audit",
    "keys",
    "doctor",
)
"""Every verb, in the order of `observe --help`. `observe.console.commands.<verb>` holds it as `command`, if FAMILIES does
not say otherwise."""

FAMILIES: Final = {
    "suspend": "agent_actions",
    "resume": "agent_actions",
    "stop": "agent_actions",
    "restart": "agent_actions",
    "next-rung": "agent_actions",
    "cancel": "agent_actions",
    "checkpoint": "agent_actions",
    "approve": "agent_actions",
    "refuse": "agent_actions",
    "contain": "agent_actions",
    "reset-budget": "agent_actions",
    "send": "agent_actions",
    "edit": "agent_actions",
    "drop": "agent_actions",
    "move": "agent_actions",
    "kill": "agent_actions",
    "dead-letters": "dead_letters",
    "log-level": "node_actions",
    "gc": "node_actions",
}
"""Verbs that share a module: `observe.console.commands.<module>` holds them in its COMMANDS."""

EPILOG = """\
\b
NODE   shop, shop@localhost; or shop@10.0.0.5, shop@HOST:PORT for one elsewhere;
       to read, also a recording: ./recordings/, ./shop.obsrec@14:03:07
AGENT  a pid (42) or a registered name (session-7)

Exit status: 0 done; 1 the node or the agent said no, or is dead; 2 wrong usage.

\b
Completion of commands, nodes and agents in your shell:
  eval "$(_OBSERVE_COMPLETE=bash_source observe)"        # in ~/.bashrc
  eval "$(_OBSERVE_COMPLETE=zsh_source observe)"         # in ~/.zshrc
  _OBSERVE_COMPLETE=fish_source observe | source         # in config.fish
"""


MANY_OBJECTS: Final = 50_000
"""Objects made between two rounds of the collector of garbage: loading modules makes little garbage and many objects, and to look
through them every 700 costs a tenth of what a verb takes."""


class Verbs(click.Group):
    """A group that loads a verb when it is named and lets no traceback reach a person."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        family = FAMILIES.get(cmd_name)
        module = importlib.import_module(f"observe.console.commands.{family or cmd_name}")
        command = module.COMMANDS[cmd_name] if family else module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            similar = difflib.get_close_matches(name, COMMANDS, n=2)
            meant = f" Did you mean {' or '.join(similar)}?" if similar else ""
            raise click.UsageError(f"There is no command '{name}'.{meant}", ctx)
        PROGRAM.set(f"observe {name}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # A name with letters that the terminal cannot show must not end the command.
            with contextlib.suppress(AttributeError, ValueError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # absent on replaced streams
        rounds = gc.get_threshold()
        gc.set_threshold(MANY_OBJECTS, *rounds[1:])
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            gone = ctx.meta.get(GONE)
            if gone is not None:
                name, state = gone
                complain(
                    f"{name} is {state}: what you see is its last picture",
                    f"`observe autopsy {name}` tells what is known of its end; start it again",
                )
                ctx.exit(REFUSED)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last edge: no traceback reaches a person
            ctx.exit(exit_status(error))
        finally:
            gc.set_threshold(*rounds)
        return result


@click.group(cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="observe-agents", prog_name="observe")
def main() -> None:
    """Look into live Python services: see every agent, open one, act on just that one."""
