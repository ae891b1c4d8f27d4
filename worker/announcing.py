"""Telling where this worker is: to paired routers in its description, to the network by DNS-SD.

The announcement is for a router that has lost it: a hint where to look. It is made while the port for paired routers is
there, and says what that port says to anybody who knocks: that a machine with this id is here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from tandem import endpoints, finding, media
from tandem.endpoints import Endpoint
from tandem.identity import NodeId
from tandem.listening import told
from tandem.types import Medium, Place


def places_of(listening: Sequence[Endpoint], named: Mapping[str, Medium]) -> tuple[Place, ...]:
    """Return what paired routers are told of where this worker listens; blocking, it asks the system."""
    parsed = (endpoints.parse(text, endpoints.WORKER_PORT) for text in told(listening))
    return tuple(Place(address=str(at), medium=media.at(at.host, named) or "unknown") for at in parsed)


class Announcer:
    """Announces this worker in the network while it is `at` places."""

    def __init__(self, node: Callable[[], NodeId], name: str, *, wanted: bool) -> None:
        self._node = node
        self._name = name
        self._wanted = wanted
        self._telling: asyncio.Task[None] | None = None
        self._ending = set[asyncio.Task[None]]()  # they say goodbye, which nobody waits for while there is work

    def at(self, listening: Sequence[Endpoint]) -> None:
        """Announce these places and no earlier ones; nothing where there are none but loopback."""
        if self._telling is not None:
            self._telling.cancel()
            self._ending.add(self._telling)
            self._telling.add_done_callback(self._ending.discard)
            self._telling = None
        outside = [at for at in listening if not endpoints.is_loopback(at.host)]
        if self._wanted and outside:
            self._telling = asyncio.create_task(self._tell(outside))

    async def close(self) -> None:
        """Announce nothing any more."""
        self.at(())
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _tell(self, places: Sequence[Endpoint]) -> None:
        with contextlib.suppress(OSError):  # a network that takes no announcement is no trouble
            async with finding.announced(self._node(), self._name, places, finding.WORKER):
                await asyncio.Event().wait()
