"""Connections that were left for better ones: what is under way on them may end there."""

from __future__ import annotations

import asyncio

from router.node import Channels

_DRAIN_S = 3600.0  # for calls on a connection that was left for another; a dead one ends by its own pings
_LEFT_MAX = 4  # such connections; a call on an older one is picked up elsewhere


class Leaving:
    """The connections that one node was reached over before."""

    def __init__(self) -> None:
        self._left = list[Channels]()  # the oldest first
        self._tasks = set[asyncio.Task[None]]()

    def add(self, old: Channels) -> None:
        """Close a connection later, or the oldest one now where there are too many."""
        self._left.append(old)
        task = asyncio.create_task(self._leave(old))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave(self, old: Channels) -> None:
        """Close a connection when its time is over.

        gRPC's own grace will not do: it takes no call that was about to begin there, and cannot be cut short.
        """
        if len(self._left) > _LEFT_MAX:
            await self._left.pop(0).close()
        await asyncio.sleep(_DRAIN_S)
        if old in self._left:
            self._left.remove(old)
            await old.close()

    async def close(self) -> None:
        """Close all of them now."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._left:
            await self._left.pop().close()
