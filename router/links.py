"""The nodes of all paired workers: who is paired is followed, and each worker is looked at every few seconds.

Whoever is in the folder has a node, and nobody else. What one look comes to is `PairedNode`'s business; that it is looked,
and what is stored of it, is decided here. A worker that is away is listened for (`router.seeking`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from router import routes
from router.paired import PairedNode
from router.seeking import Seeker
from router.ways import LOOK_S
from tandem import endpoints, identity
from tandem.config import LinkConfig
from tandem.errors import TandemError
from tandem.identity import Identity, NodeId
from tandem.peers import Book, Peer, Peers
from tandem.types import Json, NodeInfo

log = logging.getLogger(__name__)
FOLLOW_S = 0.5  # between two looks at who is paired


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
        trouble = (node.trouble if node.was_looked_at else "") if node else self._trouble
        return {
            "id": peer.id,
            "name": peer.name,
            "role": peer.role,
            "paired_s": peer.paired_s,
            "addresses": list(peer.addresses),
            "address": node.address if node and not node.trouble else None,
            "trouble": trouble or None,
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
            for address, route in node.ways.routes.items()
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
