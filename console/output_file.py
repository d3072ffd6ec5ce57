"""Where a command writes: a file that was named, or stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click


@contextlib.contextmanager
def opened(output: Path | None) -> Iterator[IO[str]]:
    """The file `output`, open for writing, or stdout without one.

    Raises:
        click.BadParameter: it cannot be written.
    """
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{output} cannot be written: {error.strerror}", param_hint="-o") from None
    with file:
        yield file
