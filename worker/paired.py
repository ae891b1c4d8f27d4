"""The port for paired routers: mutual TLS with pinned certificates, beside the socket that only this user reaches.

It is there while `worker.listen` names addresses or a router is paired, and follows both: who is paired, because whoever
is removed must be gone at once, and this machine's addresses, because a cable or a lease changes them. Each handshake asks
for the certificates that are paired at that moment; `worker.gate` does the same for each call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol

import grpc
from grpc import aio

from tandem import channel, interfaces
from tandem.channel import CONNECTIONS_MAX, HANDSHAKE_S, RPCS_MAX
from tandem.endpoints import Endpoint
from tandem.identity import Identity, NodeId
from tandem.listening import endpoints_of
from tandem.peers import Peers
from worker import connections
from worker.gate import Gate

log = logging.getLogger(__name__)
FOLLOW_S = 0.5  # between two looks; a call that is under way is cut that long after its router was removed
STOP_S = 2.0  # for calls under way when the worker leaves, or its address goes
TOLD_S = 0.2  # for a router that was removed to be told so, before its connections are closed


class Host(Protocol):
    """The worker behind the port."""

    def add_services(self, server: aio.Server) -> None:
        """Answer on a server."""
        ...

    def stop_work(self, node: NodeId) -> None:
        """Stop what a router began that is not paired any more."""
        ...

    async def moved(self, listening: Sequence[Endpoint]) -> None:
        """Know where the port is from now on."""
        ...

    def works_for(self, routers: Collection[NodeId]) -> None:
        """Know who is paired from now on: what others left here is nobody's. Not told while that is in doubt."""
        ...


class PairedPort:
    """Keeps a server on each address that there should be one on. `run` until cancelled."""

    def __init__(self, identity: Callable[[], Identity], peers: Peers, listen: Sequence[str], host: Host) -> None:
        self._identity = identity  # made only where it is needed
        self._peers = peers
        self._listen = tuple(listen)
        self._host = host
        self._gate = Gate(peers, host.stop_work)
        self._last_told: tuple[Endpoint, ...] = ()
        self._known: frozenset[NodeId] | None = None  # whom the host knows to be paired
        self._trusted = frozenset[NodeId]()
        self._stopping = set[asyncio.Task[None]]()
        self._servers: dict[Endpoint, aio.Server] = {}
        self._told: set[str] = set()

    @property
    def listening(self) -> tuple[Endpoint, ...]:
        """Return where it listens now."""
        return tuple(self._servers)

    async def run(self) -> None:
        """Follow the paired machines and the addresses; closes all when cancelled."""
        try:
            while True:
                await self.follow()
                await asyncio.sleep(FOLLOW_S)
        finally:
            self._close(tuple(self._servers))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*self._stopping)

    async def follow(self) -> None:
        """Listen where one should at this moment, nowhere else, and cut off whoever was removed."""
        book = self._peers.read()
        for line in book.damaged:
            self._tell_once("a paired machine's file cannot be used", line)
        self._gate.cut()
        trusted = frozenset(peer.id for peer in book.of("router"))
        wanted = endpoints_of(self._listen, interfaces.nearby(), paired=bool(trusted))
        removed, self._trusted = self._trusted - trusted, trusted
        if removed and self._servers:
            self._later(self._drop())
        self._close([at for at in self._servers if at not in wanted])
        for at in wanted:
            if at not in self._servers:
                await self._open(at)
        if self.listening != self._last_told:
            self._last_told = self.listening
            await self._host.moved(self.listening)
        if not book.damaged and trusted != self._known:  # a file that cannot be read may be a paired router's
            self._known = trusted
            self._host.works_for(trusted)

    async def _open(self, at: Endpoint) -> None:
        server = aio.server(
            options=channel.network_server_options(HANDSHAKE_S, CONNECTIONS_MAX),
            interceptors=(self._gate,),
            maximum_concurrent_rpcs=RPCS_MAX,
        )
        self._host.add_services(server)
        try:
            server.add_secure_port(at.target, self._credentials())
        except RuntimeError:  # gRPC's own words name neither the address nor the cause
            self._tell_once("cannot listen for paired routers", f"{at} is not this machine's, or is in use")
            return
        await server.start()
        self._servers[at] = server
        self._told = {told for told in self._told if not told.startswith(str(at))}
        log.info("listening for paired routers", extra={"address": str(at)})

    def _credentials(self) -> grpc.ServerCredentials:
        me = self._identity()

        def trusted() -> grpc.ServerCertificateConfiguration:
            """Return whom to trust, asked at every handshake. Nobody at all would mean anybody: then only ourselves."""
            pinned = "".join(peer.certificate for peer in self._peers.read().of("router")).encode()
            return grpc.ssl_server_certificate_configuration([(me.key, me.certificate)], pinned or me.certificate)

        return grpc.dynamic_ssl_server_credentials(
            trusted(),
            trusted,  # pyright: ignore[reportArgumentType] - the stub says it takes an argument; gRPC gives it none
            require_client_authentication=True,
        )

    def _close(self, gone: Sequence[Endpoint]) -> None:
        """Take nothing new there from now on; calls under way have a little time, and are picked up elsewhere after it."""
        for at in gone:
            log.info("no longer listening for paired routers", extra={"address": str(at)})
            self._later(self._servers.pop(at).stop(STOP_S))

    async def _drop(self) -> None:
        """Close the connections of whoever was removed: no call is answered there, but what is sent would be read.

        Those of routers that are paired stay, and so do their calls.
        """
        await asyncio.sleep(TOLD_S)
        try:
            count = connections.drop({at.port for at in self._servers}, self._gate.wanted)
        except OSError:  # then all of them
            self._close(tuple(self._servers))
        else:
            log.info("connections closed with a router that was removed", extra={"connections": count})

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    def _tell_once(self, event: str, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            log.warning(event, extra={"why": words})
