"""The probe's process: `python -m observe.probe.process`, started by a service, which writes one line of JSON to it.

It ends when its node does. Exit status: 0 the node ended or the probe was told to, 2 the configuration cannot be read,
3 the node cannot be served here (its name is taken, its directory is not safe, its address cannot be bound); the service
is told why over the control link.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import zmq
from pydantic import ValidationError

from observe.probe.cards import check_node_name, private_directory
from observe.probe.codec import encode
from observe.probe.config import Config
from observe.probe.errors import NameTaken, UnsafeDirectory
from observe.probe.place import claim
from observe.probe.server import Server

CONFIG_LIMIT_BYTES: Final = 1 << 20

logger = logging.getLogger("observe.probe")


def main() -> int:
    """Serve one node until it ends. Returns the exit status."""
    logging.basicConfig(format="observe probe: %(message)s", level=logging.WARNING)
    line = sys.stdin.buffer.readline(CONFIG_LIMIT_BYTES)
    try:
        config = Config.model_validate_json(line)
        check_node_name(config.node)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, fault["loc"])) or "the line" for fault in error.errors())
        logger.error("the configuration on standard input cannot be read: %s", places)
        return 2
    except ValueError as error:
        logger.error("%s", error)
        return 2
    try:
        directory = private_directory(Path(config.directory))
        lock = claim(config.node, directory)
    except NameTaken as error:
        return _decline(config, "name_taken", str(error))
    except (UnsafeDirectory, OSError) as error:
        return _decline(config, "unsafe_directory", str(error))
    server = Server(config, lock)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        try:
            server.open()
        except (zmq.ZMQError, OSError) as error:
            return _decline(config, "cannot_serve", f"cannot listen on {config.listen}: {error}")
        server.run()
    finally:
        server.close()
    return 0


def _decline(config: Config, code: str, message: str) -> int:
    """Tell the service why there will be no probe."""
    logger.error("%s", message)
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 1000
        socket.connect(config.control)
        socket.send(encode({"id": 1, "op": "ready", "error": {"code": code, "message": message}}))
    return 3


if __name__ == "__main__":
    sys.exit(main())
