"""`observe replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from observe.console.options import json_option
from observe.console.screens import FIRST_SCREEN, SCREENS, PageName

MOST_CRASHES = 100


@click.command("replay")
@click.argument("file", type=click.Path(exists=True, path_type=Path), metavar="FILE")
@click.option(
    "--at",
    default="",
    metavar="TIME",
    help="Where to begin: 14:03:07, '2026-11-25 14:03:07', -90s (from the end), +5m, crash (the last), end.",
)
@click.option(
    "--speed", type=click.FloatRange(0.1, 100.0), default=1.0, show_default=True, metavar="N",
    help="Seconds of the recording in a second.",
)  # fmt: skip
@click.option("--paused", is_flag=True, help="Stand still at first.")
@click.option(
    "--screen", type=click.Choice(SCREENS), default=FIRST_SCREEN, show_default=True, help="The screen to begin with."
)  # fmt: skip
@json_option
def command(file: Path, at: str, speed: float, paused: bool, screen: PageName, as_json: bool) -> None:
    """Open the console on a recording: a file, or a directory of the flight recorder.

    | plays and pauses, ( and ) go ten seconds back and on, { and } a minute, ; and , to the next crash and the one before, @ to a
    time, _ and ^ slower and faster. What is damaged is played up to the damage, and where that is is said.

    --json tells what is in it, and plays nothing. Every verb that reads takes a recording in the place of a node, at its end or at a time.

    \b
    observe replay ./recordings/ --at crash
    observe replay shop.obsrec --json | jq '.crashes[0]'
    observe ps ./shop.obsrec@14:03:07 --sort mailbox
    observe vitals ./recordings/@-90s --json
    """
    if as_json:
        from observe.console.output import print_json

        print_json(_contents(file, at))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            f"The console needs a terminal. For scripts there are `observe replay {file} --json` and `observe ps {file}`.",
            click.get_current_context(),
        )
    from observe.console.replay_app import run_replay

    raise click.exceptions.Exit(run_replay(file, at=at, speed=speed, paused=paused, screen=screen))


def _contents(file: Path, at: str) -> dict[str, Any]:
    from observe.probe.past import Past
    from observe.probe.replay import moment

    past = Past(file)
    where = moment(past, at or "end")
    past.seek(where)
    info = past.picture.info()
    return {
        "node": info.name,
        "incarnation": info.incarnation,
        "from": past.start_us / 1e6,
        "to": past.end_us / 1e6,
        "at": past.at_us / 1e6,
        "state": info.state,
        "agents": info.agents,
        "crashes_total": len(past.crashes),
        "crashes": [{"at": mark.wall_us / 1e6, "text": mark.text} for mark in past.crashes[-MOST_CRASHES:]],
        "damage": [
            {"file": one.path.name, "offset": one.offset, "after": one.after_us / 1e6 or None, "why": one.why}
            for one in past.damage
        ],
    }
