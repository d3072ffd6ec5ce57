"""`python -m benchmarks [NAME ...] [--json]`: run all benchmarks, or those named."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from benchmarks.measure import machine, show

BENCHMARKS = {
    "messages": "messages a second",
    "agents": "spawn rate and memory",
    "telemetry": "what observation costs",
    "table": "the agents table at 1,000,000 agents",
    "soak": "growth over a long run",
    "attach": "from attach to the first painted table",
    "console": "the console on 1,000,000 agents: keys, processor, bytes, memory",
    "kill_to_dead": "from a kill to seeing the agent dead",
    "processes": "messages between two processes",
    "tracing": "what tracing costs messages outside of any trace",
    "drift": "how often drift is found in the demo where nothing has changed, and how soon where something has",
    "conformance": "what an event of an agent costs that machines look at",
    "sessions": "what a live trace session costs, and what it carries",
    "peers": "side by side with Erlang, asyncio and actor libraries",
    "restarts": "from crash to ready, by number of siblings",
    "recovery": "from kill -9 to all agents back",
    "reload": "10,000 agents move to new code while others go on",
    "audit": "records a second, and what a checkpoint, a sync and verifying cost",
    "tasks": "plain asyncio tasks: what being seen and preempted costs, and lateness beside endless loops",
    "fairness": "lateness of 10,000 agents beside endless loops",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    document: dict[str, object] = {"machine": machine()}
    for name in options.names or BENCHMARKS:
        results = importlib.import_module(f"benchmarks.{name}").run()
        document[name] = [result.as_dict() for result in results]
        if not options.json:
            show(BENCHMARKS[name], results)
            print()
    if options.json:
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        print("machine:", ", ".join(f"{key} {value}" for key, value in machine().items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
