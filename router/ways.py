"""The ways to one worker: what each of its addresses shows when it is looked at, and what was seen there last.

Looks and remembers; which address is used is `routes`' choice, and moving there `paired`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from grpc import aio

from router import measuring, routes
from router.node import Node
from router.routes import Choice, Route
from tandem import endpoints, media
from tandem.config import LinkConfig
from tandem.errors import TandemError, Unreachable
from tandem.types import Medium
from tandem.v1.worker_pb2_grpc import WorkerServiceStub

LOOK_S = 2.0  # between two looks, and for one address to answer
CARRY_S = 600.0  # after so long it is measured again what an address carries
CARRY_WAIT_S = 6.0
ASKING = ThreadPoolExecutor(8, "link")  # waits for silent addresses, and must keep nobody else waiting


class Ways:
    """The ways to `node`. `connect` makes a connection to an address, for a look alone; `routes` has what was seen."""

    def __init__(self, node: Node, connect: Callable[[str], aio.Channel], link: LinkConfig) -> None:
        self._node = node
        self._connect = connect
        self._link = link
        self.routes: dict[str, Route] = {}

    async def look(self, addresses: Iterable[str], *, carry: bool = False) -> list[Route]:
        """Return what addresses show now, and what they carry where that is wanted and not known."""
        return await asyncio.gather(*(self._looked(address, carry) for address in addresses))

    def seen(self, looks: Iterable[Route]) -> None:
        """Remember what addresses showed, and of others nothing."""
        self.routes = {route.address: self._known_better(route) for route in looks}

    async def lost(self, address: str) -> Route:
        """Return what is to be remembered of an address that did not answer a call just now, or may not be used."""
        medium = await self._medium(address) or "unknown"
        lost = Route(address=address, medium=medium, seen_s=time.monotonic())
        if not routes.is_allowed(medium, wifi=self._link.wifi):
            return lost
        known = self.routes.get(address)
        return replace(lost, trouble=(known.trouble if known else "") or "does not answer")

    def silent(self, address: str, words: str) -> None:
        """Remember why one does not answer."""
        seen = self.routes.get(address) or Route(address=address, medium="unknown")
        self.routes[address] = replace(seen, trouble=words, seen_s=time.monotonic())

    def best(self, used: str) -> Choice:
        """Return which of the addresses seen last to use, where one is in use or, with "", none is of use."""
        return routes.choose(self.routes.values(), used, wifi=self._link.wifi)

    async def is_allowed(self, address: str) -> bool:
        """Return whether anything at all may be sent there."""
        if self._link.wifi:
            return True
        medium = await self._medium(address)
        return medium is not None and routes.is_allowed(medium, wifi=False)

    def _known_better(self, route: Route) -> Route:
        """Return a route with the network it was last seen on, where it is down and no way leads there now."""
        known = self.routes.get(route.address)
        return replace(route, medium=known.medium) if known and route.trouble and route.medium == "unknown" else route

    async def _looked(self, address: str, carry: bool) -> Route:
        medium = await self._medium(address)
        now_s = time.monotonic()
        known = self.routes.get(address)
        route = Route(address=address, medium=medium or "unknown", seen_s=now_s)
        if medium is None and not self._link.wifi:
            return replace(route, trouble="over what network it is reached cannot be found out")
        if not routes.is_allowed(route.medium, wifi=self._link.wifi):
            return route  # nothing at all is sent over it
        is_used = address == self._node.address  # now; it may be moved away from meanwhile
        over = self._node.channels.calls if is_used else self._connect(address)
        stub: Any = WorkerServiceStub(over)
        try:
            route = replace(route, rtt_s=await measuring.round_trip_s(stub, self._node.name, LOOK_S))
            if known and known.bytes_s and known.medium == medium and now_s - known.carried_s < CARRY_S:
                return replace(route, bytes_s=known.bytes_s, carried_s=known.carried_s)
            if carry:
                with contextlib.suppress(Unreachable):  # too slow to be measured: it answers all the same
                    carried = await measuring.bytes_a_second(stub, self._node.name, CARRY_WAIT_S)
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
                near = await loop.run_in_executor(ASKING, media.towards, at.host, self._link.media)
        if near is None:
            known = self.routes.get(address)
            return known.medium if known else None
        return routes.combined(near, self._node.places.get(str(at)))
