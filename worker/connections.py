"""Close single connections of a server: gRPC closes all of them or none, so it is done at this process's own descriptors.

What is not known to be wanted goes: a connection over which nothing was ever asked, or whose handshake is under way, may
be anybody's who was let in a moment ago. Whoever is wanted all the same connects again.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

_DESCRIPTORS = Path("/dev/fd")  # of the process that looks; macOS has it, and Linux


class Peer(NamedTuple):
    """The far end of a connection."""

    host: str
    port: int


def peer_of(text: str) -> Peer:
    """Return the far end as gRPC spells it (`ipv4:192.0.2.1:7`, `ipv6:%5Bfe80::1%25en0%5D:7`)."""
    host, _, port = unquote(text).partition(":")[2].rpartition(":")
    return Peer(_plain(host.strip("[]")), int(port)) if port.isdecimal() else Peer(text, 0)


def drop(ports: Collection[int], keep: Collection[Peer]) -> int:
    """Close the connections that came in at these ports, but for those to `keep`; returns how many that were.

    Raises:
        OSError: The system does not list the descriptors; nothing was closed.
    """
    numbers = [int(entry.name) for entry in _DESCRIPTORS.iterdir() if entry.name.isdecimal()]
    return sum(_drop(number, ports, keep) for number in numbers)


def _drop(number: int, ports: Collection[int], keep: Collection[Peer]) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):  # closing a copy of a file's would give up its locks
            return False
        copy = os.dup(number)  # gRPC may close its own meanwhile, and the number be another's
    except OSError:
        return False
    with socket.socket(fileno=copy) as wire:
        if wire.family not in (socket.AF_INET, socket.AF_INET6) or wire.getsockname()[1] not in ports:
            return False
        try:
            host, port, *_ = wire.getpeername()
            if Peer(_plain(host), port) in keep:
                return False
            wire.shutdown(socket.SHUT_RDWR)  # of the connection, whoever else has a descriptor of it
        except OSError:  # nobody is there: it listens, or was closed
            return False
        return True


def _plain(host: str) -> str:
    """Return an address as it is compared: an IPv4 one that came through an IPv6 socket is one, and no link is named."""
    bare = host.partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
