"""The worker's side of the wire: each call becomes a piece of work, each of our errors a status.

Knows no backend, sandbox or Git of its own; they come in through the constructor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tandem import channel, clearing, disk, errors, shared, types, wire
from tandem.faults import failpoint
from tandem.identity import NodeId
from tandem.paths import private_dir
from tandem.ports import OnProgress
from tandem.spool import Spool
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceServicer
from tandem.wire.checks import artefact_out, check_in, report_out
from tandem.wire.nodes import node_out
from tandem.wire.questions import chunk_out, complete_in, reply_out
from tandem.wire.upkeep import collect_in, environment_out, freed_out, prepare_in
from worker import callers, freememory, gittunnel
from worker.backends.base import Backends
from worker.fence import Fence
from worker.generations import Generations
from worker.replies import Replies
from worker.scheduler import Scheduler
from worker.upgrading import Upgrading

log = logging.getLogger(__name__)
T = TypeVar("T")
PROGRESS_MAX = 256  # progress lines kept per piece of work
GATHER_S = 0.02  # how long the pieces of a reply are gathered into one message; a person sees no difference
MEASURE_MAX = 16 << 20  # bytes of one measurement: a second over a slow network
_NOTHING = os.urandom(wire.DATA_BYTES)
_SLACK_S = 30.0  # what a check may need beyond its command: the tree, the report


class Checks(Protocol):
    """Runs tests."""

    async def check(
        self, request: types.CheckRequest, on_progress: OnProgress, spool: Spool | None = None
    ) -> types.CheckReport:
        """Return what they showed; what they left of the files that are wanted goes into the `spool`."""
        ...


class Prepares(Protocol):
    """Builds environments."""

    async def prepare(self, request: types.PrepareRequest, on_progress: OnProgress) -> types.Environment:
        """Return the environment."""
        ...


@dataclass(frozen=True, slots=True)
class _Checked:
    """The end of a check: its report, and what it left, which is asked for with the spool's name."""

    report: pb.CheckResponse
    spool: Spool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What this node is made of."""

    node: types.NodeInfo
    state: Path
    home: Path
    backends: Backends
    checks: Checks
    prepares: Prepares
    calls: Scheduler
    check_places: Scheduler
    collects: Callable[[types.Kept], Awaitable[list[types.Freed]]]
    keeps_only: Callable[[Collection[NodeId]], Awaitable[None]]
    replies: Replies
    fence: Fence
    hardware: Callable[[], types.Hardware]
    may_upgrade: bool = False


class Servicer(WorkerServiceServicer):
    """Answers routers."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._replies: Generations[types.Chunk | types.Reply] = Generations()
        self._checks: Generations[pb.CheckResponse | _Checked] = Generations()
        self._prepares: Generations[pb.PrepareResponse] = Generations()
        self._packing: dict[Path, asyncio.Task[bool]] = {}
        self._upgrading = Upgrading(
            offer.home, offer.state / "logs" / "upgrade.log", offer.node.name, allowed=offer.may_upgrade
        )
        self.places: tuple[types.Place, ...] = ()
        """Where this node listens for paired routers now."""

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.DescribeResponse:
        """Exchange versions and say what is on offer."""
        node = self._offer.node
        if request.protocol != wire.PROTOCOL:
            older = "router" if request.protocol < wire.PROTOCOL else f"worker {node.name!r}"
            await channel.abort(
                context,
                errors.VersionSkew(
                    f"the router {request.version} speaks protocol {request.protocol} and the worker {node.name!r} "
                    f"({node.version}) speaks {wire.PROTOCOL}; upgrade the {older}"
                ),
            )
        models, trouble = await self._offer.backends.models()
        return node_out(
            replace(
                node,
                models=tuple(models),
                backend_trouble=trouble,
                calls=self._offer.calls.load(),
                checks=self._offer.check_places.load(),
                free_bytes=await asyncio.to_thread(freememory.free_bytes),
                places=self.places,
                now_s=time.time(),
                hardware=await asyncio.to_thread(self._offer.hardware),
            )
        )

    async def Complete(self, request: pb.CompleteRequest, context: Any) -> AsyncIterator[pb.CompleteResponse]:
        """Ask a model, or join the call that does."""
        async with self._answering(context):
            asked = complete_in(request)
            if request.resume_offset < 0:
                raise errors.BadInput(f"resume_offset is {request.resume_offset}; it counts characters from 0")
            work = self._replies.batches(
                callers.work(asked.request_id),
                asked.attempt,
                asked.deadline_s,
                lambda: self._generate(asked),
                GATHER_S,
            )
            async with aclosing(work):  # else a lost listener would count until the garbage is collected
                async for batch in work:
                    for part in _joined(batch, request.resume_offset):
                        if isinstance(part, types.Chunk):
                            yield chunk_out(part, asked.attempt)
                        else:
                            yield reply_out(part, asked.attempt)

    async def _generate(self, request: types.CompleteRequest) -> AsyncIterator[types.Chunk | types.Reply]:
        kept = self._offer.replies.find(request)
        if kept is not None:
            yield types.Chunk(offset=0, text=kept.text)
            yield kept
            return
        backend, model = self._offer.backends.pick(request.model)
        with disk.watched("no model could be asked", self._offer.state):
            failpoint("worker.call")
        async with self._offer.calls.turn(request.priority), aclosing(backend.complete(request, model)) as stream:
            async for part in stream:
                if isinstance(part, types.Reply):
                    self._offer.fence.check()
                    part = replace(part, node=self._offer.node.name)
                    self._offer.replies.put(request, part)
                    with disk.watched("the reply could not be told", self._offer.state):
                        failpoint("worker.reply")
                yield part

    async def Check(self, request: pb.CheckRequest, context: Any) -> AsyncIterator[pb.CheckResponse]:
        """Run tests, or join the run that does; asked with a spool, send what they left, from where the router has it."""
        async with self._answering(context):
            self._must_run_tests()
            asked = check_in(request)
            callers.must_be_sandboxed(unsandboxed=asked.unsandboxed)
            asked = replace(asked, repo_id=callers.repository(asked.repo_id))
            deadline_s = asked.limits.wall_s + request.header.deadline_s + _SLACK_S

            async def work(tell: OnProgress) -> pb.CheckResponse | _Checked:
                with disk.watched("the tests could not be run", self._offer.state):
                    spool = Spool(private_dir(self._offer.state / "tmp")) if asked.artefacts else None
                    async with self._offer.check_places.turn(asked.priority):
                        report = await self._offer.checks.check(asked, tell, spool)
                    self._offer.fence.check()
                    failpoint("worker.report")
                named = replace(report, node=self._offer.node.name)
                response = pb.CheckResponse(
                    report=report_out(named), attempt=asked.attempt, spool=spool.id if spool else ""
                )
                return _Checked(response, spool)

            def told(stage: str, message: str) -> pb.CheckResponse:
                return pb.CheckResponse(progress=pb.Progress(stage=stage, message=message), attempt=asked.attempt)

            name = callers.work(asked.request_id)
            if request.spool:
                spool = _spool(self._checks.kept(name, asked.attempt), request.spool)
                async for piece in _pieces(spool, request.spool_messages):
                    yield artefact_out(piece, asked.attempt)
                return
            started = self._checks.follow(name, asked.attempt, deadline_s, lambda: _telling(work, told))
            async with aclosing(started):  # else a lost listener would count until the garbage is collected
                async for response in started:
                    yield response.report if isinstance(response, _Checked) else response

    async def Prepare(self, request: pb.PrepareRequest, context: Any) -> AsyncIterator[pb.PrepareResponse]:
        """Build an environment, or join the build."""
        async with self._answering(context):
            self._must_run_tests()
            asked = prepare_in(request)
            asked = replace(asked, repo_id=callers.repository(asked.repo_id))

            async def work(tell: OnProgress) -> pb.PrepareResponse:
                with disk.watched("packages could not be installed", self._offer.state):
                    environment = await self._offer.prepares.prepare(asked, tell)
                    self._offer.fence.check()
                return pb.PrepareResponse(environment=environment_out(environment), attempt=asked.attempt)

            def told(stage: str, message: str) -> pb.PrepareResponse:
                return pb.PrepareResponse(progress=pb.Progress(stage=stage, message=message), attempt=asked.attempt)

            deadline_s = asked.wall_s + _SLACK_S
            # whether the network is allowed makes it another piece of work
            name = f"{callers.work(asked.request_id)}/{asked.allow_network}"
            started = self._prepares.follow(name, asked.attempt, deadline_s, lambda: _telling(work, told))
            async for response in started:
                yield response

    def _must_run_tests(self) -> None:
        """Refuse where nothing of a task's is run.

        Raises:
            Unavailable: So it is here; a router that has read this node's load asks another one.
        """
        if not self._offer.check_places.load().places:
            raise errors.Unavailable(f"the worker {self._offer.node.name!r} runs no tests (worker.checks = 0)")

    async def Git(self, request_iterator: AsyncIterator[pb.GitRequest], context: Any) -> AsyncIterator[pb.GitResponse]:
        """Carry Git's pack protocol."""
        async with self._answering(context):
            first = await anext(request_iterator, None)
            if first is None or not first.HasField("open"):
                raise errors.BadInput("a Git stream begins with its repository and service")
            folder, rules = await self._repository(first.open)
            failpoint("worker.git")
            received = (message.data async for message in request_iterator)
            async for piece in gittunnel.serve(folder, first.open.service, received, rules):
                yield pb.GitResponse(data=piece)
            failpoint("worker.received")
            self._pack(folder)

    async def _repository(self, opened: pb.GitOpen) -> tuple[Path, Sequence[str]]:
        """Return which repository a Git stream is about, and what may be done to its references."""
        if opened.shared:
            folder = shared.there(self._offer.home, opened.shared)
            gittunnel.examine(folder, shared.remedy(folder))
            return folder, shared.rules()
        return await gittunnel.make(self._offer.state, callers.repository(opened.repo_id)), gittunnel.OURS

    def _pack(self, folder: Path) -> None:
        """Have a repository's references and objects gathered, if need be; whoever pushed does not wait for that."""
        if folder not in self._packing:
            task = self._packing[folder] = asyncio.create_task(clearing.gather(folder))
            task.add_done_callback(lambda task: self._packing.pop(folder))

    async def Cancel(self, request: pb.CancelRequest, context: Any) -> pb.CancelResponse:
        """Stop the work behind a request."""
        del context
        name = callers.work(request.request_id)
        found = [
            self._replies.cancel(name),
            self._checks.cancel(name),
            self._prepares.cancel(f"{name}/True"),
            self._prepares.cancel(f"{name}/False"),
        ]
        return pb.CancelResponse(found=any(found))

    @asynccontextmanager
    async def _answering(self, context: Any) -> AsyncGenerator[None]:
        """Turn errors into statuses; what nobody foresaw is for the log, and the router learns only its kind."""
        try:
            self._offer.fence.check()
            with disk.watched("the worker could not write", self._offer.state):
                yield
        except errors.TandemError as error:
            await channel.abort(context, error)
        except Exception as error:
            log.exception("call failed unforeseen")
            kind = type(error).__name__
            words = f"the worker met an unforeseen fault: {kind}; its log says more"
            await channel.abort(context, errors.TandemError(words))

    async def Collect(self, request: pb.CollectRequest, context: Any) -> pb.CollectResponse:
        """Remove what nobody needs."""
        async with self._answering(context):
            freed = await self._offer.collects(callers.keeps(collect_in(request)))
            failpoint("worker.collected")
            return freed_out(freed)
        raise AssertionError("aborting raises")

    async def Measure(self, request: pb.MeasureRequest, context: Any) -> AsyncIterator[pb.MeasureResponse]:
        """Send bytes that mean nothing and cannot be pressed together."""
        async with self._answering(context):
            if not 0 <= request.bytes <= MEASURE_MAX:
                raise errors.BadInput(f"{request.bytes} bytes were asked for, and 0 to {MEASURE_MAX} are sent")
            left = request.bytes
            while left > 0:
                yield pb.MeasureResponse(data=_NOTHING[:left])
                left -= len(_NOTHING)

    async def Upgrade(self, request: pb.UpgradeRequest, context: Any) -> pb.UpgradeResponse:
        """Begin to upgrade this machine, where its person allows that, or say what becomes of it."""
        async with self._answering(context):
            file = str(self._upgrading.log)
            if request.look:
                now = self._upgrading.look(request.commit)
            else:
                now = self._upgrading.begin(request.commit)
                log.warning("an upgrade was begun for a router", extra={"commit": request.commit, "log": file})
            return pb.UpgradeResponse(log=file, state=now.state, words=now.words, build=self._offer.node.build)
        raise AssertionError("aborting raises")

    def stop_work(self, node: NodeId) -> None:
        """Stop what a paired router began here, whether or not anybody listens."""
        stopped = sum(registry.stop(node) for registry in (self._replies, self._checks, self._prepares))
        log.info("work of a router stopped", extra={"peer": node, "count": stopped})

    async def keep_only(self, routers: Collection[NodeId]) -> None:
        """Remove what other routers than these left here."""
        await self._offer.keeps_only(routers)

    async def close(self) -> None:
        """Stop all work."""
        packing = list(self._packing.values())
        for task in packing:
            task.cancel()
        await asyncio.gather(*packing, return_exceptions=True)
        for registry in (self._replies, self._checks, self._prepares):
            await registry.close()
        await self._offer.backends.close()


async def _telling(work: Callable[[OnProgress], Awaitable[T]], told: Callable[[str, str], T]) -> AsyncIterator[T]:
    """Yield the progress of `work` as it comes, and its result last."""
    lines, news = deque[T](), asyncio.Event()

    def tell(stage: str, message: str) -> None:
        if len(lines) < PROGRESS_MAX:  # progress may be dropped, the result may not
            lines.append(told(stage, message))
            news.set()

    task = asyncio.ensure_future(work(tell))
    task.add_done_callback(lambda task: news.set())
    try:
        while lines or not task.done():
            await news.wait()
            news.clear()
            while lines:
                yield lines.popleft()
        yield task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _spool(items: Sequence[pb.CheckResponse | _Checked], name: str) -> Spool:
    """Return the spool of that name, where a check that is kept has it. No tests are run anew for what they leave.

    Raises:
        NotFound: None has it any more.
    """
    for item in items:
        if isinstance(item, _Checked) and item.spool is not None and item.spool.id == name:
            return item.spool
    raise errors.NotFound("what the tests left is not kept on this worker any more; its check can be run again")


async def _pieces(spool: Spool, held: int) -> AsyncIterator[types.ArtefactPiece]:
    """Yield what a check left, without the first `held` pieces; read from the disk as it goes."""
    pieces = spool.pieces(max(held, 0))
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _joined(batch: Sequence[types.Chunk | types.Reply], offset: int) -> Iterator[types.Chunk | types.Reply]:
    """Yield a batch's text from character `offset` on as one piece, then the reply if it is there."""
    pieces = [part for part in batch if isinstance(part, types.Chunk)]
    if pieces:
        begin = pieces[0].offset
        text = "".join(piece.text for piece in pieces)[max(offset - begin, 0) :]
        if text:
            yield types.Chunk(offset=max(offset, begin), text=text)
    yield from (part for part in batch if isinstance(part, types.Reply))
