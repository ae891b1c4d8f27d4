"""What the dispatcher does where a worker breaks off: a real gRPC server that answers each call as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from router import dispatcher as module
from router.dispatcher import RETRIES, Dispatcher
from router.node import Node
from tandem import channel, wire
from tandem.errors import (
    BadReply,
    Conflict,
    DeadlineExceeded,
    DiskFull,
    NotFound,
    ResourceExhausted,
    TandemError,
    Unavailable,
    Unreachable,
    VersionSkew,
)
from tandem.types import CheckRequest, Chunk, CommitId, Kept, Limits, ModelInfo, NodeInfo, Reply, RequestId, RunId
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from tandem.wire.nodes import node_out
from tandem.wire.questions import chunk_out, reply_out
from tests.support.machine import question, whole

WORDS = "one two three four five six"
GONE = grpc.StatusCode.UNAVAILABLE


class Teller(WorkerServiceServicer):
    """Answers the nth call by the nth of `plan`, and by the last ever after; keeps what it was asked."""

    def __init__(self, *plan: Any) -> None:
        self.plan = list(plan)
        self.asked: list[Any] = []
        self.boots = ["b1"]
        self.described = 0

    def _next(self, request: Any) -> Any:
        self.asked.append(request)
        return self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        self.described += 1
        boot = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
        return node_out(NodeInfo(
            name="desk", boot_id=boot, version="1", protocol=wire.PROTOCOL, platform="Linux", sandbox="bubblewrap",
            models=(ModelInfo(name="rehearsal/play", backend="rehearsal"),),
        ))  # fmt: skip

    async def Complete(self, request: Any, context: Any) -> AsyncIterator[pb.CompleteResponse]:
        step = self._next(request)
        until = step if isinstance(step, int) else len(WORDS)
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "as told")
        if isinstance(step, TandemError):
            await channel.abort(context, step)
        begin = request.resume_offset
        yield chunk_out(Chunk(offset=begin, text=WORDS[begin:until]))
        if until < len(WORDS):
            await context.abort(GONE, "broke off")
        if step != "no end":
            yield reply_out(Reply(
                text=WORDS, finish="stop", model="play", node="desk", backend="rehearsal", rehearsed=True,
                prompt_tokens=1, completion_tokens=6, first_token_ms=1, total_ms=2,
            ))  # fmt: skip

    async def Check(self, request: Any, context: Any) -> AsyncIterator[pb.CheckResponse]:
        await context.abort(self._next(request), "as told")
        yield pb.CheckResponse()

    async def Collect(self, request: Any, context: Any) -> pb.CollectResponse:
        await context.abort(self._next(request), "as told")
        return pb.CollectResponse()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.02))


def with_teller(folder: Path, teller: Teller, scenario: Callable[[Dispatcher, Node], Awaitable[None]]) -> None:
    async def main() -> None:
        server = aio.server(options=channel.SERVER_OPTIONS)
        add_WorkerServiceServicer_to_server(teller, server)
        server.add_insecure_port(f"unix:{folder}/w.sock")
        await server.start()
        node = Node.at_socket(folder / "w.sock")
        made = Dispatcher([node], lambda repo_id: folder)
        try:
            await scenario(made, node)
        finally:
            await made.close()
            await server.stop(None)

    asyncio.run(main())


def answered(folder: Path, teller: Teller, **more: Any) -> list[Chunk]:
    """Ask, and return the pieces of the reply."""
    chunks: list[Chunk] = []

    async def scenario(made: Dispatcher, node: Node) -> None:
        reply = await made.complete(question("q", **more), chunks.append)
        assert reply.text == WORDS

    with_teller(folder, teller, scenario)
    return chunks


def fails(folder: Path, teller: Teller, error: type[TandemError], words: str = ".", **more: Any) -> TandemError:
    """Ask, and return the error that comes."""
    came: list[TandemError] = []

    async def scenario(made: Dispatcher, node: Node) -> None:
        with pytest.raises(error, match=words) as raised:
            await made.complete(question("q", **more), lambda chunk: None)
        came.append(raised.value)

    with_teller(folder, teller, scenario)
    assert type(came[0]) is error
    return came[0]


@pytest.mark.parametrize("status", [GONE, grpc.StatusCode.CANCELLED])
def test_a_worker_that_is_away_is_asked_again_the_same_thing(tmp_path: Path, status: grpc.StatusCode) -> None:
    teller = Teller(*[status] * RETRIES, "whole")
    assert whole(answered(tmp_path, teller)) == WORDS
    assert len(teller.asked) == RETRIES + 1
    assert {(one.header.request_id, one.header.attempt) for one in teller.asked} == {("q", 1)}
    assert teller.described == RETRIES + 1, "another worker may be there by now"


def test_one_that_stays_away_is_given_up_after_the_last_try(tmp_path: Path) -> None:
    teller = Teller(GONE)
    fails(tmp_path, teller, Unreachable, "worker desk does not answer: as told")
    assert len(teller.asked) == RETRIES + 1


@pytest.mark.parametrize(("step", "error"), [
    *((error("said"), error) for error in (BadReply, Conflict, DiskFull, NotFound, ResourceExhausted, VersionSkew)),
    (Unavailable("its model server is down"), Unavailable), (DeadlineExceeded("said"), DeadlineExceeded),
    (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded), (grpc.StatusCode.INTERNAL, TandemError),
    (grpc.StatusCode.UNIMPLEMENTED, VersionSkew), ("no end", Unavailable),
])  # fmt: skip
def test_what_a_worker_says_is_not_asked_again(tmp_path: Path, step: Any, error: type[TandemError]) -> None:
    teller = Teller(step)
    fails(tmp_path, teller, error)
    assert len(teller.asked) == 1


def test_a_worker_that_was_replaced_is_one_that_is_away(tmp_path: Path) -> None:
    teller = Teller(Unreachable("this worker (number 1) was replaced"), "whole")
    answered(tmp_path, teller)
    assert len(teller.asked) == 2


def test_a_stream_that_broke_goes_on_at_the_character_that_is_held(tmp_path: Path) -> None:
    teller = Teller(7, 13, GONE, "whole")
    assert whole(answered(tmp_path, teller)) == WORDS
    assert [one.resume_offset for one in teller.asked] == [0, 7, 13, 13]


def test_another_process_begins_anew(tmp_path: Path) -> None:
    teller = Teller(7, "whole")
    teller.boots = ["b1", "b2"]
    chunks = answered(tmp_path, teller)
    assert [one.resume_offset for one in teller.asked] == [0, 0]
    assert [chunk.offset for chunk in chunks] == [0, 0]


def test_the_pauses_grow_and_end_before_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.1, 0.2, 60.0))
    teller, began_s = Teller(GONE), time.monotonic()
    fails(tmp_path, teller, Unreachable, deadline_s=20.0)
    assert 0.2 < time.monotonic() - began_s < 5
    assert len(teller.asked) == 3


def test_cancelled_in_a_pause_it_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (10.0,))
    teller = Teller(GONE)

    async def scenario(made: Dispatcher, node: Node) -> None:
        call = asyncio.create_task(made.complete(question("q"), lambda chunk: None))
        async with asyncio.timeout(10):
            while not teller.asked:  # noqa: ASYNC110 - the server is looked at
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        call.cancel()
        began_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.monotonic() - began_s < 2
        assert len(teller.asked) == 1

    with_teller(tmp_path, teller, scenario)


def test_a_check_is_asked_again_too_and_pushed_once(tmp_path: Path) -> None:
    teller = Teller(GONE)
    request = CheckRequest(
        request_id=RequestId("c"), run_id=RunId("r"), repo_id="words-1", commit=CommitId("ab" * 20), command=("pytest",),
        adapter="pytest", limits=Limits(wall_s=5),
    )  # fmt: skip

    async def scenario(made: Dispatcher, node: Node) -> None:
        node.pushed("words-1", "ab" * 20)
        with pytest.raises(Unreachable):
            await made.check(request, lambda stage, message: None)
        assert node.has("words-1", "ab" * 20)

    with_teller(tmp_path, teller, scenario)
    assert len(teller.asked) == RETRIES + 1


def test_clearing_up_is_asked_for_once_and_what_was_pushed_is_pushed_again(tmp_path: Path) -> None:
    teller = Teller(GONE)

    async def scenario(made: Dispatcher, node: Node) -> None:
        node.pushed("words-1", "ab" * 20)
        with pytest.raises(Unreachable, match="worker local does not answer"):
            await made.collect(Kept(repositories={}, environments_s=0))
        assert not node.has("words-1", "ab" * 20)

    with_teller(tmp_path, teller, scenario)
    assert len(teller.asked) == 1


def test_nobody_there_at_all_is_not_insisted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.node.DESCRIBE_S", 0.2)
    monkeypatch.setattr(module, "BACKOFF_S", (10.0,))

    async def main() -> None:
        made = Dispatcher([Node.at_socket(tmp_path / "nobody")], lambda repo_id: tmp_path)
        began_s = time.monotonic()
        try:
            with pytest.raises(Unreachable, match="tandem doctor"):
                await made.complete(question("q", deadline_s=30.0), lambda chunk: None)
        finally:
            await made.close()
        assert time.monotonic() - began_s < 6, "the run waits, and says so, instead"

    asyncio.run(main())
