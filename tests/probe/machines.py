"""Machines of a test's own, on a network that can be made slow, lossy or cut: network namespaces, and this process between them.

Run by `apart.Apart` in namespaces of its own (user, network, mount). Each machine is a child in a network namespace with one
interface (TUN), whose packets come here and go on to the machine that they are for, as the conditions let them. What is
read on stdin, a line of JSON, changes the conditions. One machine can have a name server, which every program there asks.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PR_SET_PDEATHSIG = 1


def main(addresses: list[str], names: dict[str, list[str]], directory: str) -> None:
    """Make the machines, say which processes hold them, and pass packets on until stdin ends."""
    if names:
        put(directory, "/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n")
        put(directory, "/etc/nsswitch.conf", "hosts: files dns\n")
        put(directory, "/etc/hosts", "127.0.0.1 localhost\n")
    machines = {address: machine(address, names) for address in addresses}
    say({address: pid for address, (pid, _) in machines.items()})
    asyncio.run(pass_on({address: tun for address, (_, tun) in machines.items()}))


def say(facts: dict[str, int]) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def put(directory: str, path: str, text: str) -> None:
    """Let a file read so, for the processes in here alone."""
    instead = f"{directory}/{os.path.basename(path)}"
    with open(instead, "w") as file:
        file.write(text)
    subprocess.run(["mount", "--bind", instead, path], check=True)


def machine(address: str, names: dict[str, list[str]]) -> tuple[int, int]:
    """A process in a network of its own with this address, and the other end of its interface."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if libc.unshare(CLONE_NEWNET):
            os._exit(1)
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
        for command in ("link set lo up", f"addr add {address}/24 dev wire", "link set wire up"):
            subprocess.run(["ip", *command.split()], check=True)
        if names:
            serve_names(names)
        socket.send_fds(theirs, [b"x"], [tun])
        while True:
            signal.pause()
    theirs.close()
    _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    return pid, descriptors[0]


# -- the network --------------------------------------------------------------------------------------------------------


async def pass_on(machines: dict[str, int]) -> None:
    """Packets, under the conditions that stdin tells: `delay_s`, `loss` (a share), `cut` (addresses)."""
    loop = asyncio.get_running_loop()
    conditions: dict[str, Any] = {"delay_s": 0.0, "loss": 0.0, "cut": []}
    dice = random.Random(1)
    to = {socket.inet_aton(address): (address, tun) for address, tun in machines.items()}

    def write(tun: int, packet: bytes) -> None:
        try:
            os.write(tun, packet)
        except OSError:
            pass  # as a full queue on the way

    def read(address: str, tun: int) -> None:
        packet = os.read(tun, 1 << 16)
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return  # IPv6 looks for its neighbours
        other, out = to.get(packet[16:20], ("", -1))
        if not other or {address, other} & set(conditions["cut"]) or dice.random() < conditions["loss"]:
            return
        if conditions["delay_s"]:
            loop.call_later(conditions["delay_s"], write, out, packet)
        else:
            write(out, packet)

    for address, tun in machines.items():
        loop.add_reader(tun, read, address, tun)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        conditions |= json.loads(line)
        say({})


# -- names ----------------------------------------------------------------------------------------------------------------


def serve_names(names: dict[str, list[str]]) -> None:
    """A name server (RFC 1035) on this machine's loopback: addresses (A) of these names, and no other name exists."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def run() -> None:
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(answer(query, names), client)

    threading.Thread(target=run, daemon=True).start()


def answer(query: bytes, names: dict[str, list[str]]) -> bytes:
    """The answer to one question."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    question, kind = query[12 : at + 5], int.from_bytes(query[at + 1 : at + 3], "big")
    found = names.get(".".join(labels).lower())
    addresses = found if found and kind == 1 else []
    flags = 0x8580 | (0 if found else 3)  # an authoritative answer; 3: there is no such name
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4)
    return head + question + b"".join(record + socket.inet_aton(one) for one in addresses)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3])
