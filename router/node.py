"""One worker as the router sees it: a connection, what the worker said of itself, and what was pushed to it.

Decides only when to ask again; which node takes a call is `placement`'s business, and how it is made `dispatcher`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from tandem import __version__, channel, wire
from tandem.errors import Unreachable, VersionSkew
from tandem.types import NodeInfo
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceStub

DESCRIBE_S = 6.0
PUSHED_MAX = 512  # commits that are remembered as pushed; a run has some ten
FRESH_S = 5.0  # how long a node's description is good


class Node:
    """One worker as seen from here."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.channel = aio.insecure_channel(address, options=channel.CLIENT_OPTIONS)
        self.stub: Any = WorkerServiceStub(self.channel)
        self._has: dict[tuple[str, str], None] = {}  # (repository, commit) pushed over this connection, oldest first
        self.pushing = defaultdict[str, asyncio.Lock](asyncio.Lock)  # by repository: one push at a time
        self._info: NodeInfo | None = None
        self._asked_at = -FRESH_S

    @classmethod
    def at_socket(cls, path: Path) -> Node:
        """Return the worker that listens on an owner-only Unix socket."""
        return cls(f"unix:{path}", "local")

    def known(self) -> NodeInfo | None:
        """Return what the node said a moment ago, or None where it has to be asked."""
        return self._info if time.monotonic() - self._asked_at < FRESH_S else None

    def has(self, repo_id: str, commit: str) -> bool:
        """Return whether a commit was pushed there lately; where not, pushing it once more does no harm."""
        return (repo_id, commit) in self._has

    def pushed(self, repo_id: str, commit: str) -> None:
        """Remember that a commit is there."""
        self._has[repo_id, commit] = None
        if len(self._has) > PUSHED_MAX:
            del self._has[next(iter(self._has))]

    def emptied(self) -> None:
        """Take nothing for granted any more of what was pushed there."""
        self._has.clear()

    def doubt(self) -> None:
        """Ask the node anew before the next call: its connection broke, and another process may listen there now."""
        self._asked_at = -FRESH_S

    async def describe(self, *, fresh: bool = False, patient: bool = True) -> NodeInfo:
        """Return what the node says it is, asked at most every few seconds; `patient` waits for one that is starting.

        Raises:
            Unreachable: It does not answer.
            VersionSkew: It speaks another protocol.
        """
        known = None if fresh else self.known()
        if known is not None:
            return known
        now = time.monotonic()
        request = pb.DescribeRequest(protocol=wire.PROTOCOL, version=__version__)
        try:
            answer = await self.stub.Describe(request, timeout=DESCRIBE_S, wait_for_ready=patient)
        except aio.AioRpcError as error:
            self.doubt()  # what it said before is kept, to see whether it was started anew
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Unreachable(f"worker {self.name} did not say what it is within {DESCRIBE_S:g} s") from error
            raise channel.error_in(error, f"worker {self.name}") from error
        info = wire.node_in(answer)
        if info.protocol != wire.PROTOCOL:  # one that does not look at ours
            self.doubt()
            raise VersionSkew(
                f"the worker {info.name!r} ({info.version}) speaks protocol {info.protocol} and this router "
                f"({__version__}) speaks {wire.PROTOCOL}; upgrade the "
                f"{'router' if info.protocol > wire.PROTOCOL else f'worker {info.name!r}'}"
            )
        if self._info is not None and self._info.boot_id != info.boot_id:
            self.emptied()  # it was started anew, and may have been emptied meanwhile
        self.name, self._info, self._asked_at = info.name, info, now
        return info
