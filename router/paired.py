"""A paired worker as the router sees it: a node over mutual TLS, at whichever of its addresses answers.

The certificate says who a node is; an address is only where to look for it. Calls take what the last look saw: nobody waits
for a machine that is away. All its addresses are measured now and then (`router.ways`), and the best is used
(`router.routes`). Who looks, and when, is `router.links`' business.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace

import grpc
from grpc import aio

from router import silence
from router.leaving import Leaving
from router.node import Channels, Node
from router.ways import LOOK_S, Ways
from tandem import channel, endpoints
from tandem.config import LinkConfig
from tandem.errors import TandemError, Unreachable
from tandem.identity import TLS_NAME, Identity
from tandem.peers import Peer
from tandem.types import NodeInfo

log = logging.getLogger(__name__)
SURVEY_S = 30.0  # between two looks at all addresses


class PairedNode(Node):
    """A paired worker. `trouble` says why it cannot be used, "" while it can."""

    here = False

    def __init__(self, peer: Peer, me: Identity, link: LinkConfig | None = None) -> None:
        self.peer = peer
        self.hints: tuple[str, ...] = ()  # addresses it was announced at; whether it is there, its certificate says
        self.ways = Ways(self, self._connect, link or LinkConfig())
        self.why = ""  # the address in use is
        self._surveyed_s = -math.inf
        self._surveyed: tuple[str, ...] = ()
        self._me = me
        first = peer.addresses[0] if peer.addresses else ""
        super().__init__(first, peer.name, self._channels(first))
        self.trouble = "it was not looked at yet"
        self._away: TandemError | None = None
        self._failed_s: float = -math.inf
        self.away_since_s: float | None = None  # wall time, for eyes
        self._looking = asyncio.Lock()
        self._leaving = Leaving()

    def _channels(self, address: str) -> Channels:
        return Channels(self._connect(address), self._connect(address))

    def _connect(self, address: str) -> aio.Channel:
        """Return a channel to an address, good for the one machine that has the paired certificate's key.

        Each is a connection of its own; gRPC would have those to one address share one.
        """
        pinned = grpc.ssl_channel_credentials(self.peer.certificate.encode(), self._me.key, self._me.certificate)
        target = endpoints.parse(address, endpoints.WORKER_PORT).target if address else "unix:/nowhere"
        alone = ("grpc.use_local_subchannel_pool", 1)
        options = (*channel.CLIENT_OPTIONS, ("grpc.ssl_target_name_override", TLS_NAME), alone)
        return aio.secure_channel(target, pinned, options=options)

    async def describe(self, *, fresh: bool = False, patient: bool = True) -> NodeInfo:
        """Return what the node said when it was looked at last. Only the first look is waited for.

        Raises:
            Unreachable: It does not answer; NotPaired where it does not know this machine or is another one.
            VersionSkew: It speaks another protocol.
        """
        del fresh, patient
        known = self.known()
        if known is not None:
            return known
        if self._away is not None:
            raise self._away
        return await self.look()

    async def look(self) -> NodeInfo:
        """Ask the node what it is, at one address after the other; raises as `describe` does.

        Whoever comes while it is looked at shares what that look comes to.
        """
        came_s = time.monotonic()
        async with self._looking:
            if self._away is not None and self._failed_s >= came_s:
                raise self._away
            known = self.known()
            if known is not None and time.monotonic() - self.asked_s < LOOK_S / 2:
                return known  # somebody else looked meanwhile
            try:
                info = await self._first_answer()
            except TandemError as error:
                if error.message != self.trouble:
                    log.warning("paired worker away", extra={"node": self.name, "why": error.message})
                self.trouble, self._away = error.message, error
                self._failed_s = time.monotonic()
                self.emptied()  # it may forget what was pushed there: whoever is unpaired is forgotten
                self.away_since_s = self.away_since_s or time.time()
                raise
            if self.trouble:
                log.info("paired worker reached", extra={"node": self.name, "address": self.address})
            self.trouble, self._away, self.away_since_s = "", None, None
            self.hints = ()  # the one that was right is in use
            return info

    @property
    def was_looked_at(self) -> bool:
        """Return whether a look came to anything yet."""
        return self._away is not None or not self.trouble

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return every address to try, the one in use first."""
        return tuple(dict.fromkeys(filter(None, (self.address, *self.peer.addresses, *self.hints))))

    async def _first_answer(self) -> NodeInfo:
        """Return what the node says at the address in use or, where that is of no use, at the best of the others."""
        said: Unreachable | None = None
        if self.address and await self.ways.is_allowed(self.address):
            try:
                return await self._ask(LOOK_S, patient=False)
            except Unreachable as error:
                said = error
        elif self.address:
            await self._close_connections()
        others = [address for address in self.addresses if address != self.address]
        lost = [await self.ways.lost(self.address)] if self.address else []
        self.ways.seen([*lost, *await self.ways.look(others)])
        choice = self.ways.best("")
        if choice.address:
            self.why = choice.why
            self._move(choice.address)
            try:
                return await self._ask(LOOK_S, patient=False)
            except Unreachable as error:
                said = error
        raise await silence.why(self.peer, self._me, self.ways, said)

    async def survey(self) -> None:
        """Measure every address once it is time to, and use the best from there on; call it while the node answers."""
        now_s = time.monotonic()
        if now_s - self._surveyed_s < SURVEY_S and set(self.addresses) <= set(self._surveyed):
            return
        self._surveyed, self._surveyed_s = self.addresses, now_s
        looks = await self.ways.look(self._surveyed, carry=True)
        async with self._looking:
            self.ways.seen(looks)
            if any(route.trouble for route in looks if route.address == self.address):
                return  # one that missed a measurement may only be busy; whether it is lost, the next look finds out
            choice = self.ways.best(self.address)
            self.why = choice.why
            if choice.address and choice.address != self.address:
                log.info(
                    "paired worker moved to", extra={"node": self.name, "address": choice.address, "why": choice.why}
                )
                self._move(choice.address)
                self.doubt()

    async def _close_connections(self) -> None:
        """Send nothing more where the address in use leads now, not even the end of what is under way."""
        left = self.channels
        self.use(self.address, self._channels(self.address))  # which connect when a call is made
        await left.close()

    def _move(self, address: str) -> None:
        """Make later calls at another address; those on the old connection end with it, and are picked up."""
        left = self.channels
        self.use(address, self._channels(address))
        self._leaving.add(left)

    def _called(self, info: NodeInfo) -> NodeInfo:
        return replace(info, name=self.peer.name)

    async def close(self) -> None:
        """Close every connection to it."""
        await super().close()
        await self._leaving.close()
