"""Each room loads only what it may: the observed process stays light, the console stays behind the client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def loaded_by(statement: str) -> set[str]:
    """Top-level names (and rooms of ours) in `sys.modules` after `statement`, in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    return {name.partition(".")[0] for name in names} | {
        ".".join(name.split(".")[:2]) for name in names if name.startswith("observe.")
    }


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        (
            "import observe.runtime",
            {"textual", "rich", "opentelemetry", "pydantic", "zmq", "msgpack", "numpy", "psutil"},
        ),
        (
            "import observe.probe.client",
            {"textual", "rich", "opentelemetry", "numpy", "observe.runtime", "observe.audit"},
        ),
        ("from observe.probe import Probe", {"textual", "rich", "opentelemetry", "numpy"}),
        ("import observe.audit.log", {"textual", "rich", "opentelemetry", "zmq", "numpy", "observe.runtime"}),
        (
            "import observe.console.cli",
            {"textual", "opentelemetry", "numpy", "observe.runtime", "observe.tracing"},
        ),
    ],
)
def test_a_room_loads_no_more_than_it_may(statement: str, never: set[str]) -> None:
    """Import contracts read the code; this looks at what is really there afterwards."""
    assert not loaded_by(statement) & never


def test_the_import_contracts_hold() -> None:
    """Imports point down: console, probe, tracing and audit, runtime."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
