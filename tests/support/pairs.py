"""Two machines that are paired, without the code between them: what `tandem pair` leaves on both."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from grpc import aio

from tandem import identity
from tandem.endpoints import Endpoint
from tandem.identity import Identity, NodeId
from tandem.peers import Peer, Peers, Role


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Recorded:
    """A worker behind its port that writes down what it is told; `serve` answers on a server."""

    def __init__(self, serve: Callable[[aio.Server], None] = lambda server: None) -> None:
        self.add_services = serve
        self.stopped: list[NodeId] = []
        self.stop_work = self.stopped.append
        self.told: list[tuple[Endpoint, ...]] = []
        self.routers: list[frozenset[NodeId]] = []

    async def moved(self, listening: Sequence[Endpoint]) -> None:
        self.told.append(tuple(listening))

    def works_for(self, routers: Collection[NodeId]) -> None:
        self.routers.append(frozenset(routers))


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
