"""Two machines that are paired, without the code between them: what `tandem pair` leaves on both."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tandem import identity
from tandem.identity import Identity
from tandem.peers import Peer, Peers, Role


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def known_at(home: Path, other: Identity, name: str, role: Role, *addresses: str) -> Peer:
    """Store a machine at `home` as paired."""
    peer = Peer(
        id=other.id,
        name=name,
        role=role,
        certificate=other.certificate.decode(),
        addresses=addresses,
        paired_s=time.time(),
    )
    return Peers(home).add(peer)


def paired(router: Path, worker: Path, *addresses: str) -> Peer:
    """Have two state folders know each other; returns the worker as the router knows it."""
    known_at(worker, identity.load(router), "book", "router")
    return known_at(router, identity.load(worker), "mini", "worker", *addresses)
