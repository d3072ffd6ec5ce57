"""`python -m tests.fuzz [--frames N] [--seed N] [--atheris]`: hostile frames for a desk, and what came of them.

Without `--atheris` the mutations are our own and seeded. With it atheris (to be installed by hand) chooses them by the
coverage of the code that they reach. Ends with 1 when a frame did harm, which is then printed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from tests.fuzz.harness import KEYS, Harness, corpus, resident_bytes
from tests.fuzz.mutate import mutated

WARM: float = 0.2
"""Share of the run after which memory is looked at for the first time: tables and pools have their size by then."""

GROWTH_BYTES = 16 << 20
"""More than this after the warm-up is growth."""

REST_EACH = 500


def run(frames: int, seed: int) -> int:
    """Our own mutations. Returns the exit status."""
    random = Random(seed)
    good = corpus()
    encoded = [msgpack.packb(request) for request in good]
    whose = list(KEYS)
    began, before = time.perf_counter(), 0
    with Harness() as harness:
        for number in range(frames):
            if number % REST_EACH == 0:
                harness.rest()
                for who in whose[:-1]:
                    harness.hello(who)
            if number == int(frames * WARM):
                gc.collect()
                before = resident_bytes()
            harness.send(random.choice(whose), mutated(random, good, encoded))
        gc.collect()
        grown = resident_bytes() - before
        statistics = harness.desk.statistics() | harness.streams.statistics() | harness.asks.statistics()
    took_s = time.perf_counter() - began
    lines = (
        f"{frames:,} frames in {took_s:,.0f} s ({frames / took_s:,.0f} a second), {harness.answers:,} answers",
        f"slowest {harness.slowest_s * 1000:.1f} ms; memory grew by {grown / 1e6:.1f} MB after the warm-up",
        str(statistics),
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if grown > GROWTH_BYTES else 0


def run_atheris(frames: int) -> None:
    """Mutations by atheris. Does not return."""
    atheris: Any = importlib.import_module("atheris")  # not a dependency

    atheris.instrument_all()
    harness = Harness()
    whose = list(KEYS)

    def one(data: bytes) -> None:
        if data:
            who = whose[data[0] % len(whose)]
            harness.hello("admin")
            harness.send(who, data[1:])

    with tempfile.TemporaryDirectory() as seeds:
        for number, request in enumerate(corpus()):
            (Path(seeds) / str(number)).write_bytes(bytes([number % len(whose)]) + msgpack.packb(request))
        atheris.Setup([sys.argv[0], f"-runs={frames}", "-max_len=4096", seeds], one)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", action="store_true")
    options = parser.parse_args()
    if options.atheris:
        run_atheris(options.frames)
    return run(options.frames, options.seed)


if __name__ == "__main__":
    sys.exit(main())
