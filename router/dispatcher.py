"""Send calls to workers and bring their answers back; where a call goes, `placement` decides.

A connection that breaks is picked up where it broke: the same request id and attempt, from the character already held.
Only that is tried again here; every other error is the caller's to judge. Cancelled, a call is cancelled at the worker
too, because gRPC alone would let the work go on there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from grpc import aio

from router import gittunnel, placement
from router.node import Node
from tandem import channel, wire
from tandem.errors import DeadlineExceeded, TandemError, Unavailable, Unreachable
from tandem.faults import failpoint
from tandem.ports import OnChunk, OnProgress
from tandem.types import (
    CheckReport,
    CheckRequest,
    Chunk,
    CommitId,
    CompleteRequest,
    Environment,
    Freed,
    Kept,
    NodeInfo,
    PrepareRequest,
    Reply,
)
from tandem.v1 import worker_pb2 as pb

log = logging.getLogger(__name__)
R = TypeVar("R")
RETRIES = 5  # over 4 s; then the run waits, and says so
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
CANCEL_S = 1.0
_COLLECT_S = 300.0
_TOLD_S = 2.0  # beyond a call's deadline, for the worker's own words about it to get here
_SLACK_S = 60.0  # beyond a check's own limits: the tree, the report, the queue


class Dispatcher:
    """Implements `tandem.ports.Models` and `tandem.ports.Checks` over a set of nodes."""

    def __init__(self, nodes: Sequence[Node], git_dir_of: Callable[[str], Path]) -> None:
        self._nodes = list(nodes)
        self._git_dir_of = git_dir_of

    async def describe(self) -> list[NodeInfo]:
        """Return what every node that answers says it is."""
        return [info for info in await self._described(fresh=True) if info is not None]

    async def _described(self, *, fresh: bool = False) -> Sequence[NodeInfo | None]:
        known = [node.known() for node in self._nodes]
        if not fresh and None not in known:  # nearly every call; tasks would cost it more than the wire does
            return known
        patient = not any(known)  # a call that somebody can take waits for nobody
        found = await asyncio.gather(
            *(node.describe(fresh=fresh, patient=patient) for node in self._nodes), return_exceptions=True
        )
        infos = [info if isinstance(info, NodeInfo) else None for info in found]
        for error in found:
            if not isinstance(error, NodeInfo | TandemError):
                raise error
            if isinstance(error, TandemError) and not isinstance(error, Unavailable) and not any(infos):
                raise error  # a node of another version is worth a word only where no other does the work
        return infos

    async def complete(self, request: CompleteRequest, on_chunk: OnChunk) -> Reply:
        """Return the reply; pieces go to `on_chunk`, each character once, whatever happens to the connection.

        Where the worker itself was lost, another begins anew, and so do the offsets.
        """
        held, told_by = 0, ""

        async def once(node: Node, left_s: float) -> Reply | None:
            nonlocal held, told_by
            info = await node.describe()
            if told_by != info.boot_id:  # another process asks its model anew, and no model repeats itself
                held, told_by = 0, info.boot_id
            asked = wire.complete_out(request, resume_offset=held)
            call = node.stub.Complete(asked, timeout=left_s + _TOLD_S)
            reply: Reply | None = None
            async with _call(call, node, request.request_id):
                async for response in call:  # to its end: breaking a stream off costs both sides more than its status
                    if response.HasField("reply"):
                        reply = wire.reply_in(response.reply)
                    else:
                        on_chunk(Chunk(offset=response.chunk.offset, text=response.chunk.text))
                        held = response.chunk.offset + len(response.chunk.text)
            return reply

        async def place() -> Node:
            try:
                return self._nodes[placement.for_model(request.model, await self._described()).index]
            except Unreachable:
                raise  # they were all asked just now, and waited for
            except TandemError:  # a model pulled a moment ago, a worker started a moment ago
                return self._nodes[placement.for_model(request.model, await self._described(fresh=True)).index]

        return await self._insist(place, once, request.deadline_s)

    async def prepare(self, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        """Return the environment for a tree."""

        async def once(node: Node, left_s: float) -> Environment | None:
            await self._push(node, request.repo_id, request.commit, left_s)
            call = node.stub.Prepare(wire.prepare_out(request), timeout=left_s)
            async with _call(call, node, request.request_id):
                async for response in call:
                    if response.HasField("environment"):
                        return wire.environment_in(response.environment)
                    on_progress(response.progress.stage, response.progress.message)
            return None

        return await self._insist(self._place_check, once, request.wall_s + _SLACK_S)

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        """Return what running the command over the tree showed."""

        async def once(node: Node, left_s: float) -> CheckReport | None:
            for commit in dict.fromkeys((request.commit, request.seal.tests if request.seal else request.commit)):
                await self._push(node, request.repo_id, commit, left_s)
            call = node.stub.Check(wire.check_out(request), timeout=left_s)
            async with _call(call, node, request.request_id):
                async for response in call:
                    if response.HasField("report"):
                        return wire.report_in(response.report)
                    on_progress(response.progress.stage, response.progress.message)
            return None

        return await self._insist(self._place_check, once, wire.check_s(request) + request.limits.wall_s + _SLACK_S)

    async def collect(self, kept: Kept) -> list[Freed]:
        """Have every worker clear up, and return what that freed.

        Raises:
            Unreachable: One does not answer.
        """
        freed: list[Freed] = []
        for node in self._nodes:
            node.emptied()  # what was pushed may be gone
            try:
                answer = await node.stub.Collect(wire.collect_out(kept), timeout=_COLLECT_S)
            except aio.AioRpcError as error:
                raise channel.error_in(error, f"worker {node.name}") from error
            finally:
                node.emptied()  # and what was pushed meanwhile, too
            freed += wire.freed_in(answer)
        return freed

    async def _place_check(self) -> Node:
        return self._nodes[placement.for_check(await self._described()).index]

    async def _push(self, node: Node, repo_id: str, commit: CommitId, left_s: float) -> None:
        async with node.pushing[repo_id]:  # of two pushes of one commit at once, Git lets one fail
            if node.has(repo_id, commit):
                return
            await gittunnel.push(
                self._git_dir_of(repo_id), commit, repo_id, node.stub, node=f"worker {node.name}", timeout_s=left_s
            )
            failpoint("push.done")
            node.pushed(repo_id, commit)

    async def _insist(
        self,
        place: Callable[[], Awaitable[Node]],
        once: Callable[[Node, float], Awaitable[R | None]],
        deadline_s: float,
    ) -> R:
        """Do it once, and again after a broken connection, within the deadline.

        Raises:
            Unreachable: The worker stayed away.
            DeadlineExceeded: The time is up.
        """
        end = time.monotonic() + deadline_s
        for retry in range(RETRIES + 1):
            node: Node | None = None
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    node = await place()
                result = await once(node, max(end - time.monotonic(), 0.1))
                if result is not None:
                    return result
                raise Unavailable(f"worker {node.name} ended its answer without a result")
            except TimeoutError as error:
                raise DeadlineExceeded(
                    f"no worker answered within the {deadline_s:g} s of this call; `tandem doctor` finds out why"
                ) from error
            except Unreachable as error:
                pause_s = BACKOFF_S[min(retry, len(BACKOFF_S) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                lost = isinstance(error.__cause__, aio.AioRpcError)  # a connection that broke, not nobody there
                if retry == RETRIES or not lost or time.monotonic() + pause_s > end:
                    raise
                if node is not None:
                    node.doubt()
                log.warning("call is tried again", extra={"node": node.name if node else "", "why": error.message})
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    def doubt(self) -> None:
        """Ask every node anew before its next call."""
        for node in self._nodes:
            node.doubt()

    async def close(self) -> None:
        """Close all connections."""
        for node in self._nodes:
            await node.channel.close()


@asynccontextmanager
async def _call(call: Any, node: Node, request_id: str) -> AsyncGenerator[None]:
    """Translate a call's errors; cancelled, stop the work at the worker as well."""
    try:
        yield
    except aio.AioRpcError as error:
        raise channel.error_in(error, f"worker {node.name}") from error
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # the worker may be gone, which is as good
            async with asyncio.timeout(CANCEL_S):
                await asyncio.shield(node.stub.Cancel(pb.CancelRequest(request_id=request_id), timeout=CANCEL_S))
        raise
    finally:
        call.cancel()  # leaving an `async for` does not
