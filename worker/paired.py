"""The port for paired routers: mutual TLS with pinned certificates, beside the socket that only this user reaches.

It is there while `worker.listen` names addresses or a router is paired, and follows both: who is paired, because whoever
is removed must be gone at once, and this machine's addresses, because a cable or a lease changes them. A server trusts
for all its life whom it was begun with: where that changes, another takes its place. `worker.gate` asks at each call.

gRPC could ask for the certificates at each handshake instead, and must not: it replaces what other handshakes are reading
at that moment. Of connections that said nonsense, 30 at a time, between 390 and 14,490 had the process die (grpcio 1.85.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
from grpc import aio

from tandem import binding, channel, interfaces
from tandem.channel import CONNECTIONS_MAX, HANDSHAKE_S, RPCS_MAX
from tandem.endpoints import Endpoint
from tandem.identity import Identity, NodeId
from tandem.listening import endpoints_of
from tandem.peers import Peers
from worker.gate import Gate

log = logging.getLogger(__name__)
FOLLOW_S = 0.5  # between two looks; a call that is under way is cut that long after its router was removed
AGAIN_S_MAX = 8.0  # between two tries at an address that cannot be listened on
STOP_S = 2.0  # for calls under way when the worker leaves, or when one of those who may call was removed
_MOVE_S = 3600.0  # for calls under way when somebody else may call, too: they end on the server they came to


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _PutOff:
    """When an address is tried again, by the monotonic clock, and after what pause."""

    until_s: float
    pause_s: float


_NOT_PUT_OFF = _PutOff(until_s=0.0, pause_s=FOLLOW_S / 2)


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
        self._trusted: Mapping[NodeId, str] = {}  # the certificates of who may call
        self._servers: dict[Endpoint, aio.Server] = {}
        self._leaving: dict[aio.Server, set[asyncio.Task[None]]] = {}  # and what waits for the end of their calls
        self._put_off: dict[Endpoint, _PutOff] = {}  # what cannot be listened on now
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
            self._close(tuple(self._servers), STOP_S)
            self._hurry()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*(task for tasks in self._leaving.values() for task in tasks))

    async def follow(self) -> None:
        """Listen where one should at this moment, nowhere else, and cut off whoever was removed."""
        book = self._peers.read()
        for line in book.damaged:
            self._tell_once("a paired machine's file cannot be used", line)
        self._gate.cut()
        trusted = {peer.id: peer.certificate for peer in book.of("router")}
        wanted = endpoints_of(self._listen, interfaces.nearby(), paired=bool(trusted))
        before, self._trusted = self._trusted, trusted
        self._close([at for at in self._servers if at not in wanted], STOP_S)
        if trusted != before:
            renewed = tuple(self._servers)
            self._close(renewed, _MOVE_S)
            await _freed(renewed)
        if not before.items() <= trusted.items():
            self._hurry()  # whoever was removed is connected, and what it sends is read, until its server is gone
        for at in wanted:
            if at not in self._servers and self._put_off.get(at, _NOT_PUT_OFF).until_s <= time.monotonic():
                await self._open(at)
        self._put_off = {at: pause for at, pause in self._put_off.items() if at in wanted and at not in self._servers}
        if self.listening != self._last_told:
            self._last_told = self.listening
            await self._host.moved(self.listening)
        known = frozenset(trusted)
        if not book.damaged and known != self._known:  # a file that cannot be read may be a paired router's
            self._known = known
            self._host.works_for(known)

    async def _open(self, at: Endpoint) -> None:
        _, why = binding.obstacle(at)  # gRPC would write lines of its own, each time
        if why:
            self._later(at, why)
            return
        server = aio.server(
            options=channel.network_server_options(HANDSHAKE_S, CONNECTIONS_MAX),
            interceptors=(self._gate,),
            maximum_concurrent_rpcs=RPCS_MAX,
        )
        self._host.add_services(server)
        try:
            server.add_secure_port(at.target, self._credentials())
        except RuntimeError:  # gRPC's own words name neither the address nor the cause
            self._later(at, f"{at} is not this machine's, or is in use")
            return
        await server.start()
        self._servers[at] = server
        self._told = {told for told in self._told if not told.startswith(str(at))}
        log.info("listening for paired routers", extra={"address": str(at)})

    def _later(self, at: Endpoint, why: str) -> None:
        """Try an address again after a while that grows."""
        self._tell_once("cannot listen for paired routers", why)
        pause_s = min(2 * self._put_off.get(at, _NOT_PUT_OFF).pause_s, AGAIN_S_MAX)
        self._put_off[at] = _PutOff(until_s=time.monotonic() + pause_s, pause_s=pause_s)

    def _credentials(self) -> grpc.ServerCredentials:
        me = self._identity()
        # nobody at all would mean anybody: then only ourselves
        pinned = "".join(self._trusted.values()).encode() or me.certificate
        return grpc.ssl_server_credentials([(me.key, me.certificate)], pinned, require_client_auth=True)

    def _close(self, gone: Sequence[Endpoint], grace_s: float) -> None:
        """Take nothing new there from now on; calls under way have `grace_s`, and are picked up elsewhere after it."""
        for at in gone:
            log.info("no longer listening for paired routers", extra={"address": str(at)})
            self._leave(self._servers.pop(at), grace_s)

    def _hurry(self) -> None:
        """Give what is left of calls on servers that were replaced no more time than the end of a worker has."""
        for server in tuple(self._leaving):
            self._leave(server, STOP_S)

    def _leave(self, server: aio.Server, grace_s: float) -> None:
        """Have a server end; of several times that it was given, the shortest counts."""
        task = asyncio.create_task(server.stop(grace_s))
        self._leaving.setdefault(server, set()).add(task)
        task.add_done_callback(lambda _: self._leaving.pop(server, None))

    def _tell_once(self, event: str, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            log.warning(event, extra={"why": words})


async def _freed(places: Sequence[Endpoint]) -> None:
    """Wait, not for long, until addresses that were given up can be listened on again."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FOLLOW_S):
            for at in places:
                while binding.obstacle(at)[0] == "taken":  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
