"""Stop work at a worker: at once where it answers, else as soon as it does.

A worker goes on for a while with work that nobody listens to, because a cable may be put back. What a person has cancelled
meanwhile is not wanted any more, and its place is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import NamedTuple

from grpc import aio

from router.node import Node
from tandem.v1 import worker_pb2 as pb

log = logging.getLogger(__name__)
CANCEL_S = 1.0  # for the worker to answer, and for whoever cancels to wait
KEEP_S = 45.0  # a worker knows within 10 s that nobody listens, and stops by itself 30 s later


class _Lost(NamedTuple):
    run: str
    node: Node
    at_s: float  # by the monotonic clock


class Stops:
    """The work that connections were lost to, and what is to be stopped and was not told so yet."""

    def __init__(self) -> None:
        self._lost: dict[str, _Lost] = {}  # by request
        self._telling: dict[str, asyncio.Task[None]] = {}

    def begin(self, request_id: str) -> None:
        """Take a request for wanted, whatever became of it before."""
        self._lost.pop(request_id, None)
        task = self._telling.pop(request_id, None)
        if task is not None:
            task.cancel()

    def lost(self, run: str, node: Node, request_id: str) -> None:
        """Remember that a node may be at work for a request, though the connection is gone."""
        now_s = time.monotonic()
        self._lost = {name: one for name, one in self._lost.items() if now_s - one.at_s < KEEP_S}
        self._lost[request_id] = _Lost(run, node, now_s)

    def abandon(self, run: str) -> None:
        """Stop everything that was lost of a run."""
        for request_id, one in tuple(self._lost.items()):
            if one.run == run:
                self._tell(one.node, request_id)

    async def stop(self, node: Node, request_id: str) -> None:
        """Stop the work behind a request; returns when the worker was told, or after `CANCEL_S`."""
        await asyncio.wait([self._tell(node, request_id)], timeout=CANCEL_S)

    def _tell(self, node: Node, request_id: str) -> asyncio.Task[None]:
        self.begin(request_id)
        task = self._telling[request_id] = asyncio.create_task(_keep_telling(node, request_id))
        task.add_done_callback(lambda task: self._told(request_id, task))
        return task

    def _told(self, request_id: str, task: asyncio.Task[None]) -> None:
        if self._telling.get(request_id) is task:
            del self._telling[request_id]

    async def close(self) -> None:
        """Leave to itself what was not told."""
        telling = list(self._telling.values())
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)


async def _keep_telling(node: Node, request_id: str) -> None:
    end = time.monotonic() + KEEP_S
    while not node.gone and time.monotonic() < end:
        with contextlib.suppress(aio.AioRpcError, aio.UsageError):  # it does not answer, or was unpaired
            await node.stub.Cancel(pb.CancelRequest(request_id=request_id), timeout=CANCEL_S)
            return
        await asyncio.sleep(CANCEL_S)
    log.warning("worker was not told to stop", extra={"node": node.name, "request": request_id})
