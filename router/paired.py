"""Paired workers as the router sees them: one node each, over mutual TLS, at whichever of its addresses answers.

The certificate says who a node is; an address is only where to look for it. A node is looked at every few seconds, and
calls take what the last look saw: nobody waits for a machine that is away. All its addresses are measured now and then, and
the best is used (`router.routes`). `Links` follows who is paired.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from router import measuring, routes
from router.node import Channels, Node
from router.routes import Route
from router.seeking import Seeker
from tandem import channel, endpoints, identity, media, probe
from tandem.config import LinkConfig
from tandem.errors import NotPaired, TandemError, Unreachable
from tandem.identity import TLS_NAME, Identity, NodeId
from tandem.peers import Book, Peer, Peers
from tandem.types import Json, Medium, NodeInfo
from tandem.v1.worker_pb2_grpc import WorkerServiceStub

log = logging.getLogger(__name__)
LOOK_S = 2.0  # between two looks, and for one address to answer
SURVEY_S = 30.0  # between two looks at all addresses
CARRY_S = 600.0  # after so long it is measured again what an address carries
CARRY_WAIT_S = 6.0
FOLLOW_S = 0.5  # between two looks at who is paired
WHY_MAX = 4  # addresses that are looked at more closely for the reason why none answers
_DRAIN_S = 3600.0  # for calls on a connection that was left for another; a dead one ends by its own pings
_LEFT_MAX = 4  # such connections; a call on an older one is picked up elsewhere
_ASKING = ThreadPoolExecutor(8, "link")  # waits for silent addresses, and must keep nobody else waiting


class PairedNode(Node):
    """A paired worker. `trouble` says why it cannot be used, "" while it can."""

    here = False

    def __init__(self, peer: Peer, me: Identity, link: LinkConfig | None = None) -> None:
        self.peer = peer
        self.hints: tuple[str, ...] = ()  # addresses it was announced at; whether it is there, its certificate says
        self.routes: dict[str, Route] = {}
        self.why = ""  # the address in use is
        self._link = link or LinkConfig()
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
        self._left = list[Channels]()  # connections that were moved away from, the oldest first
        self._leaving = set[asyncio.Task[None]]()

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
    def addresses(self) -> tuple[str, ...]:
        """Return every address to try, the one in use first."""
        return tuple(dict.fromkeys(filter(None, (self.address, *self.peer.addresses, *self.hints))))

    async def _first_answer(self) -> NodeInfo:
        """Return what the node says at the address in use or, where that is of no use, at the best of the others."""
        if self.address and await self._is_allowed(self.address):
            with contextlib.suppress(Unreachable):
                return await self._ask(LOOK_S, patient=False)
        elif self.address:
            await self._close_connections()
        others = [address for address in self.addresses if address != self.address]
        looks = await asyncio.gather(*(self._looked(address) for address in others))
        self.routes = {route.address: route for route in looks}
        choice = routes.choose(looks, "", wifi=self._link.wifi)
        if choice.address:
            self.why = choice.why
            self._move(choice.address)
            with contextlib.suppress(Unreachable):
                return await self._ask(LOOK_S, patient=False)
        raise await self._why()

    async def survey(self) -> None:
        """Measure every address once it is time to, and use the best from there on; call it while the node answers."""
        now_s = time.monotonic()
        if now_s - self._surveyed_s < SURVEY_S and set(self.addresses) <= set(self._surveyed):
            return
        self._surveyed, self._surveyed_s = self.addresses, now_s
        looks = await asyncio.gather(*(self._looked(address, carry=True) for address in self._surveyed))
        async with self._looking:
            self.routes = {route.address: route for route in looks}
            if any(route.trouble for route in looks if route.address == self.address):
                return  # one that missed a measurement may only be busy; whether it is lost, the next look finds out
            choice = routes.choose(looks, self.address, wifi=self._link.wifi)
            self.why = choice.why
            if choice.address and choice.address != self.address:
                log.info(
                    "paired worker moved to", extra={"node": self.name, "address": choice.address, "why": choice.why}
                )
                self._move(choice.address)
                self.doubt()

    async def _looked(self, address: str, *, carry: bool = False) -> Route:
        """Return what one address shows now, and what it carries where that is wanted and not known."""
        medium = await self._medium(address)
        now_s = time.monotonic()
        known = self.routes.get(address)
        route = Route(address=address, medium=medium or "unknown", seen_s=now_s)
        if medium is None and not self._link.wifi:
            return replace(route, trouble="over what network it is reached cannot be found out")
        if not routes.is_allowed(route.medium, wifi=self._link.wifi):
            return route  # nothing at all is sent over it
        is_used = address == self.address  # now; it may be moved away from meanwhile
        over = self.channel if is_used else self._connect(address)
        stub: Any = WorkerServiceStub(over)
        try:
            route = replace(route, rtt_s=await measuring.round_trip_s(stub, self.name, LOOK_S))
            if known and known.bytes_s and known.medium == medium and now_s - known.carried_s < CARRY_S:
                return replace(route, bytes_s=known.bytes_s, carried_s=known.carried_s)
            if carry:
                with contextlib.suppress(Unreachable):  # too slow to be measured: it answers all the same
                    carried = await measuring.bytes_a_second(stub, self.name, CARRY_WAIT_S)
                    return replace(route, bytes_s=carried, carried_s=now_s)
            return route
        except TandemError as error:
            return replace(route, trouble=error.message)
        finally:
            if not is_used:
                await over.close()

    async def _medium(self, address: str) -> Medium | None:
        """Return over what an address is reached; what it was where that cannot be found out, and None at first."""
        at = endpoints.parse(address, endpoints.WORKER_PORT)
        near: Medium | None = None
        with contextlib.suppress(TimeoutError):  # of a resolver, or of a system that is busy
            async with asyncio.timeout(LOOK_S):
                loop = asyncio.get_running_loop()
                near = await loop.run_in_executor(_ASKING, media.towards, at.host, self._link.media)
        if near is None:
            known = self.routes.get(address)
            return known.medium if known else None
        ends: dict[str, Medium] = {place.address: place.medium for place in self._info.places} if self._info else {}
        return routes.combined(near, ends.get(str(at)))

    async def _is_allowed(self, address: str) -> bool:
        if self._link.wifi:
            return True
        medium = await self._medium(address)
        return medium is not None and routes.is_allowed(medium, wifi=False)

    async def _close_connections(self) -> None:
        """Send nothing more where the address in use leads now, not even the end of what is under way."""
        left = Channels(self.channel, self.git_channel)
        self.use(self.address, self._channels(self.address))  # which connect when a call is made
        await _close(left)

    def _called(self, info: NodeInfo) -> NodeInfo:
        return replace(info, name=self.peer.name)

    def _move(self, address: str) -> None:
        """Make later calls at another address; those on the old connection end with it, and are picked up."""
        left = Channels(self.channel, self.git_channel)
        self.use(address, self._channels(address))
        self._left.append(left)
        task = asyncio.create_task(self._leave(left))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, old: Channels) -> None:
        """Close a connection later, or the oldest one now where there are too many.

        gRPC's own grace will not do: it takes no call that was about to begin there, and cannot be cut short.
        """
        if len(self._left) > _LEFT_MAX:
            await _close(self._left.pop(0))
        await asyncio.sleep(_DRAIN_S)
        if old in self._left:
            self._left.remove(old)
            await _close(old)

    async def _why(self) -> TandemError:
        """Return why no address answers, as a plain look at each of them tells."""
        addresses = self.peer.addresses[
            :WHY_MAX
        ]  # what answers at a hint may be anybody's, and says nothing of this one
        if not addresses:
            return Unreachable(f"no address of {self.peer.name} is known; pair them anew")
        barred = [address for address in addresses if not await self._is_allowed(address)]
        places = [endpoints.parse(address, endpoints.WORKER_PORT) for address in addresses if address not in barred]
        loop = asyncio.get_running_loop()
        looks = (loop.run_in_executor(_ASKING, probe.look, self._me, self.peer.id, at) for at in places)
        found = await asyncio.gather(*looks)
        for at, one in zip(places, found, strict=True):  # in better words than gRPC's
            seen = self.routes.get(str(at)) or Route(address=str(at), medium="unknown")
            self.routes[str(at)] = replace(seen, trouble=one.words, seen_s=time.monotonic())
        words = "; ".join((*(one.words for one in found), *map(_barred, barred)))
        kinds = {one.kind for one in found}
        if kinds & {"not paired", "other machine"} and not kinds & {"open"}:
            return NotPaired(f"{self.peer.name}: {words}")
        return Unreachable(f"{self.peer.name}: {words}")

    async def close(self) -> None:
        """Close every connection to it."""
        await super().close()
        leaving = tuple(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        while self._left:
            await _close(self._left.pop())


async def _close(channels: Channels) -> None:
    for one in channels:
        await one.close()


def _barred(address: str) -> str:
    return f"{address} is reached over Wi-Fi, which is not allowed; put the cable in, or set link.wifi = true"


class Links:
    """The nodes of all paired workers. `run` until cancelled; `tell` is told the nodes each time they change."""

    def __init__(
        self, state: Path, tell: Callable[[Sequence[PairedNode]], None], link: LinkConfig | None = None
    ) -> None:
        self._state = state
        self._link = link or LinkConfig()
        self._peers = Peers(state)
        self._tell = tell
        self.on_return: Callable[[], None] = lambda: None  # called each time that a worker that was away answers again
        self._me: Identity | None = None
        self._nodes: dict[NodeId, PairedNode] = {}
        self._looks: dict[NodeId, asyncio.Task[None]] = {}
        self._trouble = ""
        self._failed = ""
        self._unstored = ""
        self._book = Book()

    async def run(self) -> None:
        """Follow who is paired; closes all connections when cancelled."""
        seeking = asyncio.create_task(Seeker(self._away, self._hinted).run())
        try:
            while True:
                await self.follow()
                await asyncio.sleep(FOLLOW_S)
        finally:
            seeking.cancel()
            await asyncio.gather(seeking, return_exceptions=True)
            self._tell([])  # before they are closed
            for node in tuple(self._nodes):
                await self._drop(node)

    async def follow(self) -> None:
        """Have a node for each paired worker of this moment, and none for anybody else.

        Where that cannot be found out, all stays as it is, and `troubles` says why.
        """
        try:
            await self._follow()
        except (TandemError, OSError) as error:
            if str(error) != self._failed:
                log.error("paired workers could not be followed", extra={"why": str(error)})
            self._failed = str(error)
        else:
            self._failed = ""

    async def _follow(self) -> None:
        self._book = self._peers.read()
        wanted = {peer.id: peer for peer in self._book.of("worker")}
        gone = [node for node in self._nodes if node not in wanted]
        new = [peer for node, peer in wanted.items() if node not in self._nodes]
        for node, peer in wanted.items():
            if node in self._nodes:
                self._nodes[node].peer = peer  # another name, another address
        me = self._identity() if new else None
        for peer in new if me else ():
            assert me is not None
            self._nodes[peer.id] = PairedNode(peer, me, self._link)
            self._looks[peer.id] = asyncio.create_task(self._keep_looking(self._nodes[peer.id]))
        if gone or new:  # before the connections are closed, so that nothing new begins on them
            self._tell([node for key, node in self._nodes.items() if key in wanted])
        for node in gone:
            await self._drop(node)

    def told(self) -> list[Json]:
        """Return the paired machines as `status` shows them, with what is wrong with each."""
        return [self._told(peer) for peer in self._book.peers]

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong with the folder of paired machines or with this machine's identity."""
        return [*self._book.damaged, *(words for words in (self._trouble, self._failed) if words)]

    def _told(self, peer: Peer) -> Json:
        node = self._nodes.get(peer.id)
        info = node.known() if node and not node.trouble else None
        return {
            "id": peer.id,
            "name": peer.name,
            "role": peer.role,
            "paired_s": peer.paired_s,
            "addresses": list(peer.addresses),
            "address": node.address if node and not node.trouble else None,
            "trouble": (node.trouble if node else self._trouble) or None,
            "away_since_s": node.away_since_s if node else None,
            "version": info.version if info else None,
            "models": [model.name for model in info.models] if info else [],
            "why": node.why if node and not node.trouble else "",
            "clock_apart_s": node.clock_apart_s if node and not node.trouble else None,
            "routes": self._routes(node) if node else [],
        }

    def _routes(self, node: PairedNode) -> list[Json]:
        now_s = time.monotonic()
        return [
            routes.told(route, used=not node.trouble and address == node.address, wifi=self._link.wifi, now_s=now_s)
            for address, route in node.routes.items()
        ]

    def _away(self) -> list[NodeId]:
        return [key for key, node in self._nodes.items() if node.trouble]

    def _hinted(self, key: NodeId, addresses: tuple[str, ...]) -> None:
        if key in self._nodes:
            self._nodes[key].hints = addresses

    def _identity(self) -> Identity | None:
        try:
            self._me = self._me or identity.load(self._state)
        except TandemError as error:
            self._trouble = error.message
            return None
        self._trouble = ""
        return self._me

    async def _keep_looking(self, node: PairedNode) -> None:
        said = ""
        while True:
            try:
                await self._look(node)
            except TandemError:
                pass  # it says so itself
            except Exception as error:  # of this look; the next one may fare better, and nobody else looks
                if str(error) != said:
                    log.exception("paired worker could not be looked at", extra={"node": node.name})
                said = str(error)
            await asyncio.sleep(LOOK_S)

    async def _look(self, node: PairedNode) -> None:
        was_away = bool(node.trouble)
        info = await node.look()
        if was_away:
            self.on_return()
        try:
            await self._remember(node, info)
        except (TandemError, OSError) as error:  # a hint that is not stored; the work goes on without
            if str(error) != self._unstored:
                log.warning("address was not stored", extra={"node": node.name, "why": str(error)})
            self._unstored = str(error)
        await node.survey()

    async def _remember(self, node: PairedNode, info: NodeInfo) -> None:
        """Store the address that works, and where the worker says it can be reached otherwise."""
        inside = endpoints.is_loopback(endpoints.parse(node.address, endpoints.WORKER_PORT).host)
        said = [place.address for place in info.places]
        others = tuple(at for at in said if inside or not endpoints.is_loopback(endpoints.parse(at, 0).host))
        if node.peer.addresses[:1] != (node.address,) or not set(others) <= set(node.peer.addresses):
            await asyncio.to_thread(self._peers.reached, node.peer.id, node.address, others)

    async def _drop(self, node: NodeId) -> None:
        task = self._looks.pop(node)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._nodes.pop(node).close()
