"""Which nodes of a fleet a person means: named one by one, in a file, or by a DNS name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from observe.probe.roster import Sought

Function = TypeVar("Function", bound=Callable[..., Any])


def fleet_options(function: Function) -> Function:
    """`--file` and `--dns`; the function gets them as `file` and `names`."""
    by_name = click.option(
        "--dns", "names", multiple=True, metavar="NODE@NAME",
        help="The node at each address of a DNS name, such as shop@shop.default.svc; may stand several times.",
    )  # fmt: skip
    by_file = click.option(
        "--file", "--fleet", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
        help="The nodes of a file, one a line.",
    )  # fmt: skip
    return by_file(by_name(function))


@dataclass(frozen=True, slots=True)
class Nodes:
    """What a person said. The default file is taken only by those who ask for it."""

    file: Path | None
    names: Sequence[str]
    said: Sequence[str] = ()
    """Nodes named one by one."""
    use_default: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether no node was named in any way. Loads no more than it must."""
        return not (self.said or self.names or self._file() is not None)

    @property
    def are_several(self) -> bool:
        """Whether more than one was meant, however many it turns out to be."""
        return len(set(self.said)) > 1 or self.file is not None or bool(self.names)

    def _file(self) -> Path | None:
        if self.file is not None or not self.use_default:
            return self.file
        from observe.probe.roster import default_nodes_file

        path = default_nodes_file()
        return path if path.is_file() else None

    async def find(self, timeout_s: float) -> list[str | Sought]:
        """All nodes, each once.

        Raises:
            AttachError: a DNS name has no address.
            click.UsageError: the file or a name is not written as it should be.
        """
        from observe.probe.roster import nodes_of_name, read_nodes_file

        found: dict[str, str | Sought] = {node: node for node in self.said}
        path = self._file()
        try:
            if path is not None:
                found |= {node: node for node in read_nodes_file(path)}
            for told in await asyncio.gather(*(nodes_of_name(name, timeout_s) for name in self.names)):
                found |= {str(node): node for node in told}
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from None
        return list(found.values())
