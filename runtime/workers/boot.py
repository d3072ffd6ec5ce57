"""What a worker is told before anything else: import path, main module, limits, node."""

from __future__ import annotations

import logging
import os
import pickle
import runpy
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.errors import NodeDown
from observe.runtime.workers.limits import Limits

if TYPE_CHECKING:
    from observe.runtime.node import Node

KEEP_APART: Final = (
    "a node cannot be started in a worker. When this comes from the main module, keep what it does apart:\n"
    '  if __name__ == "__main__":\n'
    "      asyncio.run(main())"
)
"""The main module is run again in a worker that is asked for a class of it."""


def boot_bytes(node: Node, number: int, serial: int, limits: Limits | None) -> bytes:
    """Everything, with its length before it."""
    # What a worker sends back of a class of the main module names the module as it is called there: see `MainFinder`.
    sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
    boot = {
        "limits": limits,
        "sys_path": [os.getcwd() if part == "" else part for part in sys.path],
        "sys_argv": sys.argv,
        "main": _main_module(),
        "log_level": logging.getLogger().getEffectiveLevel(),
        "parent": os.getpid(),
        "number": number,
        "serial": serial,
        "uvloop": type(node.loop).__module__.partition(".")[0] == "uvloop",
        "node": {
            "name": node.name,
            "incarnation": node.incarnation,
            "started_at": node.started_at,
            "watchdog_s": node._options.watchdog_s,
            "preempt": node._options.preemption,
            "has_store": node.store is not None,
        },
    }
    data = pickle.dumps(boot)
    return len(data).to_bytes(4, "little") + data


def _main_module() -> tuple[str, str] | None:
    """How the service's main module is run again: by name (`python -m`) or by path; None when it cannot."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return ("name", spec.name)
    path = getattr(main, "__file__", None)
    if path is None or not os.path.isfile(path):
        return None
    return ("path", os.path.abspath(path))


class MainFinder:
    """Runs the service's main module again when a class of it is asked for, as multiprocessing does: under the name
    `__mp_main__`, so that what stands below `if __name__ == "__main__":` is left out."""

    def __init__(self, main: tuple[str, str] | None) -> None:
        self._main = main
        self.is_running = False

    def __call__(self) -> bool:
        """Run it, unless that has been done. Says whether it was done now."""
        main, self._main = self._main, None
        if main is None:
            return False
        kind, where = main
        module = types.ModuleType("__mp_main__")
        self.is_running = True
        try:
            run: Any = runpy.run_module if kind == "name" else runpy.run_path
            options = {"alter_sys": True} if kind == "name" else {}
            module.__dict__.update(run(where, run_name="__mp_main__", **options))
        except RuntimeError as error:
            if "running event loop" not in str(error):
                raise
            raise NodeDown(KEEP_APART) from error
        finally:
            self.is_running = False
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module
        return True
