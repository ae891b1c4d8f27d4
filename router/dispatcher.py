"""Send calls to workers and bring their answers back; where a call goes, and when, `placing` sees to.

A connection that breaks is picked up where it broke: the same request id and attempt, from the character already held.
Only that is tried again here; every other error is the caller's to judge. Cancelled, a call is cancelled at the worker
too, because gRPC alone would let the work go on there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from grpc import aio

from router import gittunnel, placement
from router.artefacts import Taking
from router.bringing import bring
from router.node import Node
from router.placement import Key, Need
from router.placing import Placer, Record
from router.stopping import Stops
from tandem import channel
from tandem.errors import Conflict, TandemError, Unavailable, Unreachable
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
from tandem.wire.checks import check_out, check_s, report_in
from tandem.wire.questions import complete_out, reply_in
from tandem.wire.upkeep import collect_out, environment_in, freed_in, prepare_out

log = logging.getLogger(__name__)
R = TypeVar("R")
_Request: TypeAlias = CompleteRequest | PrepareRequest | CheckRequest
RETRIES = 5  # over 4 s; then the run waits, and says so
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_COLLECT_S = 300.0
_TOLD_S = 2.0  # beyond a call's deadline, for the worker's own words about it to get here
_SLACK_S = 60.0  # beyond a check's own limits: the tree, the report, the queue
_CHARS_PER_TOKEN = 4  # a guess, good enough to weigh one node against another
_BUILT_MAX = 512  # environments whose nodes are remembered


class Dispatcher:
    """Implements `tandem.ports.Models` and `tandem.ports.Checks` over a set of nodes."""

    def __init__(
        self,
        nodes: Sequence[Node],
        git_dir_of: Callable[[str], Path],
        record: Record = lambda run, row: None,
        artefacts: Callable[[CheckRequest], Taking] | None = None,
    ) -> None:
        self._placer = Placer(nodes, record)
        self._git_dir_of = git_dir_of
        self._artefacts = artefacts  # where what checks leave is taken; nothing is asked for where it is not
        self._stops = Stops()
        self._built: OrderedDict[str, frozenset[Key]] = OrderedDict()  # nodes that have an environment, as far as known

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that calls may go to."""
        return self._placer.nodes

    def use(self, nodes: Sequence[Node]) -> None:
        """Send calls to these nodes from now on; those under way stay where they are."""
        self._placer.use(nodes)

    async def describe(self) -> list[NodeInfo]:
        """Return what every node that answers says it is."""
        return await self._placer.describe(fresh=True)

    async def complete(self, request: CompleteRequest, on_chunk: OnChunk) -> Reply:
        """Return the reply; pieces go to `on_chunk`, each character once, whatever happens to the connection.

        Where the worker itself was lost, another begins anew, and so do the offsets.
        """
        held, told_by = 0, ("", 0)

        async def once(node: Node, left_s: float, attempt: int) -> Reply | None:
            nonlocal held, told_by
            info = await node.describe()
            if told_by != (info.boot_id, attempt):  # another process asks its model anew, and no model repeats itself
                held, told_by = 0, (info.boot_id, attempt)
            asked = replace(request, attempt=attempt, deadline_s=math.ceil(left_s * 10) / 10)
            sent = complete_out(asked, resume_offset=held)
            reply: Reply | None = None
            async with self._call(node, request, lambda: node.stub.Complete(sent, timeout=left_s + _TOLD_S)) as call:
                async for response in call:  # to its end: breaking a stream off costs both sides more than its status
                    if _late(response.attempt, attempt, node):
                        continue
                    if response.HasField("reply"):
                        reply = replace(reply_in(response.reply), node=node.name)
                    else:
                        on_chunk(Chunk(offset=response.chunk.offset, text=response.chunk.text))
                        held = response.chunk.offset + len(response.chunk.text)
            if reply is not None:
                self._placer.served(node, need, reply)
            return reply

        need = Need(
            kind="call",
            run=request.run_id,
            model=request.model,
            persona=request.persona,
            prompt_tokens=sum(len(message.content) for message in request.messages) // _CHARS_PER_TOKEN,
            priority=request.priority,
        )
        return await self._insist(need, request, once, request.deadline_s)

    async def prepare(self, request: PrepareRequest, on_progress: OnProgress) -> Environment:
        """Return the environment for a tree."""

        async def once(node: Node, left_s: float, attempt: int) -> Environment | None:
            await self._push(node, request.repo_id, request.commit, left_s)
            asked = prepare_out(replace(request, attempt=attempt))
            async with self._call(node, request, lambda: node.stub.Prepare(asked, timeout=left_s)) as call:
                async for response in call:
                    if _late(response.attempt, attempt, node):
                        continue
                    if response.HasField("environment"):
                        environment = environment_in(response.environment)
                        self._has_environment(node, environment)
                        return environment
                    on_progress(response.progress.stage, response.progress.message)
            return None

        need = Need(kind="prepare", run=request.run_id, repo_id=request.repo_id, commit=request.commit)
        return await self._insist(need, request, once, request.wall_s + _SLACK_S)

    async def check(self, request: CheckRequest, on_progress: OnProgress) -> CheckReport:
        """Return what running the command over the tree showed; what it left is kept, or it is told why not."""
        taking = self._artefacts(request) if self._artefacts is not None and request.artefacts else None
        request = request if taking else replace(request, artefacts=())
        answered: tuple[Node, CheckRequest] | None = None

        async def once(node: Node, left_s: float, attempt: int) -> CheckReport | None:
            for commit in dict.fromkeys((request.commit, request.seal.tests if request.seal else request.commit)):
                await self._push(node, request.repo_id, commit, left_s)
            nonlocal answered
            asked = replace(request, attempt=attempt)
            sent = check_out(asked)
            async with self._call(node, request, lambda: node.stub.Check(sent, timeout=left_s)) as call:
                async for response in call:
                    if _late(response.attempt, attempt, node):
                        continue
                    if response.HasField("report"):
                        if taking is not None and response.spool:
                            taking.begin(response.spool)
                            answered = node, asked
                        return replace(report_in(response.report), node=node.name)
                    on_progress(response.progress.stage, response.progress.message)
            return None

        need = Need(
            kind="check",
            run=request.run_id,
            priority=request.priority,
            repo_id=request.repo_id,
            commit=request.commit,
            only=self._built.get(request.environment),
            bare=request.unsandboxed,
        )
        deadline_s = check_s(request) + request.limits.wall_s + _SLACK_S
        report = await self._insist(need, request, once, deadline_s)
        if taking is not None:
            if answered is not None:
                await bring(*answered, taking)
            await asyncio.to_thread(taking.keep, report.node)
            if told := taking.trouble or taking.missed:
                on_progress("artefacts", told)
        return report

    async def collect(self, kept: Kept) -> list[Freed]:
        """Have every worker clear up, and return what that freed.

        Raises:
            Unreachable: One does not answer; the others have cleared up.
        """
        freed: list[Freed] = []
        troubles: list[TandemError] = []
        for node in self.nodes:
            node.emptied()  # what was pushed may be gone
            try:
                with channel.translated(f"worker {node.name}"):
                    answer = await node.stub.Collect(collect_out(kept), timeout=_COLLECT_S)
            except TandemError as error:
                troubles.append(error)
            else:
                freed += freed_in(answer)
            finally:
                node.emptied()  # and what was pushed meanwhile, too
        if troubles:
            raise troubles[0]
        return freed

    def _has_environment(self, node: Node, environment: Environment) -> None:
        """Remember where an environment is: a check that needs it can run nowhere else."""
        if environment.ready and environment.key:
            self._built[environment.key] = self._built.pop(environment.key, frozenset()) | {self._placer.key(node)}
            if len(self._built) > _BUILT_MAX:
                self._built.popitem(last=False)

    async def _push(self, node: Node, repo_id: str, commit: CommitId, left_s: float) -> None:
        async with node.pushing[repo_id]:  # of two pushes of one commit at once, Git lets one fail
            if node.has(repo_id, commit):
                return
            try:
                await gittunnel.push(
                    self._git_dir_of(repo_id),
                    commit,
                    repo_id,
                    node.git_stub,
                    node=f"worker {node.name}",
                    timeout_s=left_s,
                )
            except TandemError as error:
                if node.gone:
                    raise _unpaired(node) from error
                raise
            failpoint("push.done")
            node.pushed(repo_id, commit)

    async def _insist(
        self,
        need: Need,
        request: _Request,
        once: Callable[[Node, float, int], Awaitable[R | None]],
        deadline_s: float,
    ) -> R:
        """Do it once, and again after a broken connection, within the deadline.

        The node that has the work keeps it as long as it answers. Where it does not, it has lost it: another node takes
        the work over under a later attempt number, by which everybody can tell a late answer from the one that counts.

        Raises:
            Unreachable: The worker stayed away.
            DeadlineExceeded: The time is up.
        """
        end = time.monotonic() + deadline_s
        lease: Node | None = None
        process, moves = "", 0
        for retry in range(RETRIES + 1):
            node: Node | None = None
            try:
                left_s = max(end - time.monotonic(), 0.0)
                async with self._placer.seat(need, request_id=request.request_id, left_s=left_s, lease=lease) as node:
                    now_process = self._placer.process(node)
                    if lease not in (None, node) and now_process != process:  # one may be reached in two ways
                        moves += 1
                    lease, process = node, now_process
                    attempt = placement.attempt_of(request.attempt, moves)
                    result = await once(node, max(end - time.monotonic(), 0.1), attempt)
                if result is not None:
                    return result
                raise Unavailable(f"worker {node.name} ended its answer without a result")
            except Conflict as error:  # it was here before, as a later attempt, when this router counted anew
                if retry == RETRIES or len(self.nodes) < 2:
                    raise
                moves += 1
                log.warning("call goes on under a later number", extra={"why": error.message})
            except Unreachable as error:
                pause_s = BACKOFF_S[min(retry, len(BACKOFF_S) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                # a connection that broke, or a worker that was unpaired in the middle; not nobody there
                lost = channel.is_lost(error) or (node is not None and node.gone)
                if retry == RETRIES or not lost or time.monotonic() + pause_s > end:
                    raise
                if node is not None:
                    node.doubt()
                log.warning("call is tried again", extra={"node": node.name if node else "", "why": error.message})
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _call(self, node: Node, request: _Request, begin: Callable[[], Any]) -> AsyncGenerator[Any]:
        """Begin a call and yield it, its errors translated; cancelled, stop the work at the worker as well."""
        self._stops.begin(request.request_id)
        call: Any = None
        try:
            with channel.translated(f"worker {node.name}"):
                call = begin()
                yield call
        except Unreachable as error:
            self._stops.lost(request.run_id, node, request.request_id)
            if node.gone and not isinstance(error.__cause__, aio.AioRpcError):  # closed here, because it was unpaired
                raise _unpaired(node) from error.__cause__
            raise
        except asyncio.CancelledError:
            await self._stops.stop(node, request.request_id)
            raise
        finally:
            if call is not None:
                call.cancel()  # leaving an `async for` does not

    def abandon(self, run: str) -> None:
        """Stop what a run that was cancelled has left at workers that were away; those are told once they answer."""
        self._stops.abandon(run)

    def doubt(self) -> None:
        """Ask every node anew before its next call."""
        for node in self.nodes:
            node.doubt()

    async def close(self) -> None:
        """Close all connections."""
        await self._stops.close()
        await self._placer.close()


def _late(answers: int, attempt: int, node: Node) -> bool:
    """Return whether a message answers another attempt than the one that is asked for; such a one is refused."""
    if answers in (0, attempt):  # 0: a worker that does not say
        return False
    log.warning("late answer refused", extra={"node": node.name, "answers": answers, "asked": attempt})
    return True


def _unpaired(node: Node) -> Unreachable:
    return Unreachable(f"worker {node.name} is not paired with this machine any more")
