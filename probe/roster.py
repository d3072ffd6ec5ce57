"""Where the nodes of a fleet are told: a file of nodes, or a DNS name with an address for each.

shop@10.0.0.5               a line of a file: as `observe attach` takes it
shop@shop.default.svc       a DNS name: one node at each of its addresses, as a headless service has them
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final

from observe.probe.errors import NodeUnreachable
from observe.probe.keyfiles import config_directory
from observe.probe.remote import parse_remote
from observe.probe.resolving import Sought, beside_the_loop

MAX_NODES: Final = 1000


def default_nodes_file() -> Path:
    """The file of nodes that is used when nobody names another; it need not exist."""
    return config_directory() / "nodes"


def read_nodes_file(path: Path) -> list[str]:
    """The nodes of a file: one a line as `observe attach` takes it; `#` begins a comment. Each counts once.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no text, a line holds more than one node, or there are none or too many.
    """
    nodes: dict[str, None] = {}
    for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1):
        words = text.partition("#")[0].split()
        if len(words) > 1:
            raise ValueError(f"{path}, line {number}: one node a line, such as shop@localhost, not {text!r}")
        nodes.update(dict.fromkeys(words))
    if not 0 < len(nodes) <= MAX_NODES:
        raise ValueError(f"{path} names {len(nodes)} nodes; a fleet has 1 to {MAX_NODES}")
    return list(nodes)


async def nodes_of_name(text: str, timeout_s: float = 3.0) -> list[Sought]:
    """A node at each address (A and AAAA) of `NODE@NAME` or `NODE@NAME:PORT`, in the order of the addresses.

    The key by which a node is known may stand in the known nodes under its address or under the name.

    Raises:
        ValueError: it is not written like that, or there are too many.
        NodeUnreachable: the name has no address, or looking it up took too long.
    """
    found = parse_remote(text)
    if found is None:
        raise ValueError(f"write NODE@NAME or NODE@NAME:PORT, such as shop@shop.default.svc, not {text!r}")
    node, name, port = found
    host = name.strip("[]")
    try:
        async with asyncio.timeout(timeout_s):
            told = await beside_the_loop(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise NodeUnreachable(f"looking up {name} took longer than {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise NodeUnreachable(
            f"there is no address of the name {name} ({error})",
            hint="check the spelling and the search domain",
        ) from None
    addresses = sorted({str(address[0]) for _, _, _, _, address in told})
    if len(addresses) > MAX_NODES:
        raise ValueError(f"{name} has {len(addresses)} addresses; a fleet has 1 to {MAX_NODES} nodes")
    end = "" if port is None else f":{port}"
    return [Sought(f"{node}@{f'[{one}]' if ':' in one else one}{end}", name) for one in addresses]


__all__ = ["MAX_NODES", "Sought", "default_nodes_file", "nodes_of_name", "read_nodes_file"]
