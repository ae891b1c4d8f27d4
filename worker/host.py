"""The worker behind its port for paired routers: what answers there, where it is told, and whose leavings go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from grpc import aio

from tandem.config import Config
from tandem.endpoints import Endpoint
from tandem.errors import TandemError
from tandem.identity import NodeId
from tandem.v1.worker_pb2_grpc import add_WorkerServiceServicer_to_server
from worker.announcing import Announcer, places_of
from worker.servicer import Servicer

log = logging.getLogger(__name__)
LEAVINGS_S = 5.0  # after an unpairing: what ran for that router is stopped by then


class Host:
    """Puts a servicer on the port and tells the network of it; see `worker.paired.Host`."""

    def __init__(self, config: Config, servicer: Servicer, node: Callable[[], NodeId], name: str) -> None:
        self._config = config
        self._servicer = servicer
        self._announcer = Announcer(node, name, wanted=config.worker.announce)
        self._clearing: asyncio.Task[None] | None = None

    def add_services(self, server: aio.Server) -> None:
        """Answer on a server."""
        add_WorkerServiceServicer_to_server(self._servicer, server)

    def stop_work(self, node: NodeId) -> None:
        """Stop what a router began that is not paired any more."""
        self._servicer.stop_work(node)

    async def moved(self, listening: Sequence[Endpoint]) -> None:
        """Tell routers and the network where the port is."""
        self._servicer.places = await asyncio.to_thread(places_of, listening, self._config.link.media)
        self._announcer.at(listening)

    def works_for(self, routers: Collection[NodeId]) -> None:
        """Remove, a little later, what routers left here that are not paired any more."""
        if self._clearing is not None:
            self._clearing.cancel()
        self._clearing = asyncio.create_task(self._clear(frozenset(routers)))

    async def _clear(self, routers: frozenset[NodeId]) -> None:
        await asyncio.sleep(LEAVINGS_S)
        try:
            await self._servicer.keep_only(routers)
        except (TandemError, OSError) as error:
            log.warning("what an unpaired router left was not removed", extra={"why": str(error)})

    async def close(self) -> None:
        """Tell nobody of this worker any more."""
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.gather(self._clearing, return_exceptions=True)
        await self._announcer.close()
