"""One worker as the router sees it: a connection, what the worker said of itself, and what was pushed to it.

Decides only when to ask again; which node takes a call is `placement`'s business, and how it is made `dispatcher`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from grpc import aio

from tandem import __version__, channel, wire
from tandem.errors import DeadlineExceeded, TandemError, Unreachable, VersionSkew
from tandem.types import Medium, NodeInfo
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceStub
from tandem.wire.nodes import node_in

DESCRIBE_S = 6.0
PUSHED_MAX = 512  # commits that are remembered as pushed; a run has some ten
FRESH_S = 5.0  # how long a node's description is good


class Channels(NamedTuple):
    """The connections to a node. Git's packs have one of their own where that costs time: behind megabytes that wait in
    a socket for a slow network, no token, no look and no sign of life would get through.
    """

    calls: aio.Channel
    git: aio.Channel

    async def close(self) -> None:
        """Close both; calls that are under way end as if they had broken."""
        await self.calls.close()
        await self.git.close()


class Node:
    """One worker as seen from here. `gone` once its channel was closed: whoever waits for it is told so."""

    here = True  # on the router's own machine

    def __init__(self, address: str, name: str, made: Channels | None = None) -> None:
        self.name = name
        self.gone = False
        if made is None:
            alone = aio.insecure_channel(address, options=channel.CLIENT_OPTIONS)
            made = Channels(alone, alone)
        self.use(address, made)
        self._has: dict[tuple[str, str], None] = {}  # (repository, commit) pushed over this connection, oldest first
        self.pushing = defaultdict[str, asyncio.Lock](asyncio.Lock)  # by repository: one push at a time
        self._info: NodeInfo | None = None
        self.clock_apart_s: float | None = None  # how far its clock is ahead of this one
        self._asked_at = -FRESH_S

    @classmethod
    def at_socket(cls, path: Path) -> Node:
        """Return the worker that listens on an owner-only Unix socket."""
        return cls(f"unix:{path}", "local")

    def use(self, address: str, made: Channels) -> None:
        """Make every later call over `made`."""
        self.address, self.channels = address, made
        self.stub: Any = WorkerServiceStub(made.calls)
        self.git_stub: Any = WorkerServiceStub(made.git)

    def known(self) -> NodeInfo | None:
        """Return what the node said a moment ago, or None where it has to be asked."""
        return self._info if time.monotonic() - self._asked_at < FRESH_S else None

    @property
    def places(self) -> Mapping[str, Medium]:
        """Return where it said it can be reached, and over what; nothing before it said so."""
        return {place.address: place.medium for place in self._info.places} if self._info else {}

    @property
    def asked_s(self) -> float:
        """Return when it was asked last, in seconds of the monotonic clock."""
        return self._asked_at

    def has(self, repo_id: str, commit: str) -> bool:
        """Return whether a commit was pushed there lately; where not, pushing it once more does no harm."""
        return (repo_id, commit) in self._has

    def pushed(self, repo_id: str, commit: str) -> None:
        """Remember that a commit is there."""
        self._has[repo_id, commit] = None
        if len(self._has) > PUSHED_MAX:
            del self._has[next(iter(self._has))]

    @property
    def commits(self) -> Collection[tuple[str, str]]:
        """Return what was pushed there lately, as (repository, commit); it changes as that does."""
        return self._has.keys()

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
        return known or await self._ask(DESCRIBE_S, patient=patient)

    async def _ask(self, wait_s: float, *, patient: bool) -> NodeInfo:
        """Return what the node says now; raises as `describe` does."""
        now = time.monotonic()
        request = pb.DescribeRequest(protocol=wire.PROTOCOL, version=__version__)
        try:
            with channel.translated(f"worker {self.name}"):
                answer = await self.stub.Describe(request, timeout=wait_s, wait_for_ready=patient)
        except DeadlineExceeded as error:
            self.doubt()
            raise Unreachable(f"worker {self.name} did not say what it is within {wait_s:g} s") from error.__cause__
        except TandemError:
            self.doubt()  # what it said before is kept, to see whether it was started anew
            raise
        info = node_in(answer)
        if info.protocol != wire.PROTOCOL:  # one that does not look at ours
            self.doubt()
            raise VersionSkew(
                f"the worker {info.name!r} ({info.version}) speaks protocol {info.protocol} and this router "
                f"({__version__}) speaks {wire.PROTOCOL}; upgrade the "
                f"{'router' if info.protocol > wire.PROTOCOL else f'worker {info.name!r}'}"
            )
        if self._info is not None and self._info.boot_id != info.boot_id:
            self.emptied()  # it was started anew, and may have been emptied meanwhile
        info = self._called(info)
        self.clock_apart_s = None if info.now_s is None else info.now_s - time.time()
        self.name, self._info, self._asked_at = info.name, info, now
        return info

    def _called(self, info: NodeInfo) -> NodeInfo:
        """Return the node's description under the name that it has here."""
        return info

    async def close(self) -> None:
        """Close the connection; calls that are under way end as if it had broken."""
        self.gone = True
        await self.channels.close()
