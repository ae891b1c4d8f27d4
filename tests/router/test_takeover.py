"""Who takes a call over from a worker that is lost, under which number, and what becomes of the answer that comes late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from router import dispatcher as module
from router.dispatcher import Dispatcher
from router.holds import kind_of
from router.node import Node
from tandem import channel, wire
from tandem.errors import Conflict, NoSandbox, TandemError, Unreachable
from tandem.types import (
    CheckReport,
    CheckRequest,
    Chunk,
    CommitId,
    Environment,
    Json,
    Limits,
    Load,
    ModelInfo,
    NodeInfo,
    PrepareRequest,
    Reply,
    RequestId,
    RunId,
)
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from tandem.wire.checks import report_out
from tandem.wire.nodes import node_out
from tandem.wire.questions import chunk_out, reply_out
from tandem.wire.upkeep import environment_out
from tests.support.machine import question, whole

WORDS = "one two three four"


class Desk(WorkerServiceServicer):
    """A worker that does the next of `plan` with each call, and answers once there is none left. Keeps the attempts.

    `half` breaks off in the middle, `late` puts messages of an earlier attempt among its own, an error is raised.
    """

    def __init__(self, name: str, *plan: Any) -> None:
        self.name = name
        self.plan = list(plan)
        self.attempts: list[int] = []
        self.offsets: list[int] = []
        self.away = False
        self.boot = name
        self.sandbox = "bubblewrap"

    async def _next(self, request: Any, context: Any) -> Any:
        self.attempts.append(request.header.attempt)
        step = self.plan.pop(0) if self.plan else "whole"
        if isinstance(step, TandemError):
            await channel.abort(context, step)
        if step == "gone":
            self.away = True
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return step

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return node_out(NodeInfo(
            name=self.name, boot_id=self.boot, version="1", protocol=wire.PROTOCOL, platform="Linux", sandbox=self.sandbox,
            models=(ModelInfo(name="rehearsal/play", backend="rehearsal"),), calls=Load(places=4), checks=Load(places=4),
        ))  # fmt: skip

    async def Complete(self, request: Any, context: Any) -> AsyncIterator[pb.CompleteResponse]:
        step, attempt = await self._next(request, context), request.header.attempt
        self.offsets.append(request.resume_offset)
        if step == "late":
            yield chunk_out(Chunk(offset=0, text="of before"), attempt - 1)
            yield reply_out(Reply(text="of before"), attempt - 1)
        if step == "half":
            yield chunk_out(Chunk(offset=0, text=WORDS[:7]), attempt)
            self.away = True
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broke off")
        begin = request.resume_offset
        yield chunk_out(Chunk(offset=begin, text=WORDS[begin:]), attempt)
        yield reply_out(Reply(text=WORDS, node=self.name), 0 if step == "says no number" else attempt)

    async def Check(self, request: Any, context: Any) -> AsyncIterator[pb.CheckResponse]:
        step, attempt = await self._next(request, context), request.header.attempt
        if step == "late":
            yield pb.CheckResponse(report=report_out(CheckReport(verdict="failed")), attempt=attempt - 1)
        yield pb.CheckResponse(report=report_out(CheckReport(verdict="passed", node=self.name)), attempt=attempt)

    async def Prepare(self, request: Any, context: Any) -> AsyncIterator[pb.PrepareResponse]:
        await self._next(request, context)
        yield pb.PrepareResponse(environment=environment_out(Environment(key="env", kind="python")))


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.02))


Rows = list[dict[str, Json]]


def play(folder: Path, desks: Sequence[Desk], scenario: Callable[[Dispatcher, Rows], Awaitable[None]]) -> None:
    """Have the desks be workers of one dispatcher, the first of them the one that is preferred."""

    async def main() -> None:
        servers, nodes, rows = list[aio.Server](), list[Node](), Rows()
        for number, desk in enumerate(desks):
            server = aio.server(options=channel.SERVER_OPTIONS)
            add_WorkerServiceServicer_to_server(desk, server)
            server.add_insecure_port(f"unix:{folder}/{number}")
            await server.start()
            servers.append(server)
            node = Node.at_socket(folder / str(number))
            node.here = number > 0
            node.pushed("repo", "c" * 40)
            nodes.append(node)
        made = Dispatcher(nodes, lambda repo_id: folder, lambda run, row: rows.append({"run": run, **row}))
        try:
            await scenario(made, rows)
        finally:
            await made.close()
            for server in servers:
                await server.stop(None)

    asyncio.run(main())


def check(**more: Any) -> CheckRequest:
    return CheckRequest(
        request_id=RequestId("c"), run_id=RunId("r"), repo_id="repo", commit=CommitId("c" * 40), command=("true",),
        limits=Limits(wall_s=5), **more,
    )  # fmt: skip


async def prepared(made: Dispatcher) -> Environment:
    request = PrepareRequest(
        request_id=RequestId("p"), run_id=RunId("r"), repo_id="repo", commit=CommitId("c" * 40), adapter="pytest"
    )
    return await made.prepare(request, lambda stage, message: None)


def test_another_worker_begins_anew_under_the_next_number(tmp_path: Path) -> None:
    first, second = Desk("first", "half"), Desk("second")

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        chunks: list[Chunk] = []
        reply = await made.complete(question("q"), chunks.append)
        assert (reply.text, reply.node) == (WORDS, "second")
        assert (first.attempts, second.attempts, second.offsets) == ([1], [2], [0])
        assert whole(chunks[:1]) == WORDS[:7]
        assert whole(chunks[1:]) == WORDS
        assert [(row["node"], row["from"], row["run"]) for row in rows] == [
            ("first", "", "run"),
            ("second", "first", "run"),
        ]

    play(tmp_path, (first, second), scenario)


def test_a_worker_that_answers_again_keeps_the_work_and_its_number(tmp_path: Path) -> None:
    first, second = Desk("first", "half"), Desk("second")

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        call = asyncio.create_task(made.complete(question("q"), lambda chunk: None))
        while not first.away:  # noqa: ASYNC110 - the server is looked at
            await asyncio.sleep(0)
        first.away = False  # it was the connection alone
        assert (await call).node == "first"
        assert (first.attempts, first.offsets, second.attempts) == ([1, 1], [0, 7], [])
        assert rows[-1]["why"] == "has the work already, and answers again"

    play(tmp_path, (first, second), scenario)


def test_the_same_process_reached_in_another_way_goes_on_with_its_work(tmp_path: Path) -> None:
    first, second = Desk("first", "half"), Desk("second")
    second.boot = first.boot

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        chunks: list[Chunk] = []
        await made.complete(question("q"), chunks.append)
        assert whole(chunks) == WORDS
        assert (second.attempts, second.offsets) == ([1], [7])

    play(tmp_path, (first, second), scenario)


def test_numbers_of_the_journal_and_of_moves_do_not_meet(tmp_path: Path) -> None:
    first, second = Desk("first", "gone"), Desk("second")

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        await made.complete(question("q", attempt=2), lambda chunk: None)
        assert 2 < first.attempts[0] < second.attempts[0]

    play(tmp_path, (first, second), scenario)


@pytest.mark.parametrize("step", ["late", "says no number"])
def test_an_answer_to_another_attempt_is_refused_and_one_without_a_number_taken(tmp_path: Path, step: str) -> None:
    async def scenario(made: Dispatcher, rows: Rows) -> None:
        chunks: list[Chunk] = []
        reply = await made.complete(question("q", attempt=2), chunks.append)
        assert (reply.text, whole(chunks)) == (WORDS, WORDS)

    play(tmp_path, (Desk("first", step),), scenario)


def test_a_late_report_of_a_check_is_refused(tmp_path: Path) -> None:
    async def scenario(made: Dispatcher, rows: Rows) -> None:
        assert (await made.check(check(attempt=2), lambda stage, message: None)).verdict == "passed"

    play(tmp_path, (Desk("first", "late"),), scenario)


def test_a_router_that_counts_anew_goes_on_after_the_number_a_worker_knows(tmp_path: Path) -> None:
    first, second = Desk("first", Conflict("attempt 1 came after attempt 2")), Desk("second")

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        await made.complete(question("q"), lambda chunk: None)
        assert first.attempts == [1, 2]

    play(tmp_path, (first, second), scenario)


def test_a_check_runs_where_its_environment_was_built(tmp_path: Path) -> None:
    first, second = Desk("first", "gone"), Desk("second")

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        environment = await prepared(made)  # the first is gone by then, so the second builds it
        first.away = False
        for node in made.nodes:
            node.doubt()
        plain = await made.check(check(), lambda stage, message: None)
        held = await made.check(check(environment=environment.key), lambda stage, message: None)
        assert (plain.node, held.node) == ("first", "second")
        second.away = True
        for node in made.nodes:
            node.doubt()
        with pytest.raises(Unreachable, match="it is prepared anew"):
            await made.check(check(environment=environment.key), lambda stage, message: None)
        await prepared(made)
        held = await made.check(check(environment=environment.key), lambda stage, message: None)
        assert held.node == "first"

    play(tmp_path, (first, second), scenario)


def test_a_check_goes_where_its_commit_was_pushed(tmp_path: Path) -> None:
    desks = [Desk(name) for name in ("one", "two", "three", "four")]

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        for node in made.nodes:
            node.here = False
            node.emptied()
        made.nodes[2].pushed("repo", "c" * 40)
        report = await made.check(check(), lambda stage, message: None)
        assert report.node == "three"
        assert "has the commit" in str(rows[-1]["why"])
        assert all("gets the commit first" in str(other) for other in rows[-1]["others"])  # type: ignore[union-attr]

    play(tmp_path, desks, scenario)


@pytest.mark.parametrize("was_heard", [True, False])
def test_a_check_waits_for_the_worker_that_has_a_sandbox_and_fails_where_that_one_has_none_either(
    tmp_path: Path, was_heard: bool
) -> None:
    first, second = Desk("first"), Desk("second", *[NoSandbox("no sandbox works on second")] * 2)
    second.sandbox = ""

    async def scenario(made: Dispatcher, rows: Rows) -> None:
        if was_heard:
            await made.describe()
        first.away = True
        made.doubt()
        with pytest.raises(Unreachable, match=r"nobody here runs tests in a sandbox, and a worker") as waits:
            await made.check(check(), lambda stage, message: None)
        assert kind_of(waits.value) == "waiting-for-worker"
        assert second.attempts == []
        first.away = False
        made.doubt()
        assert (await made.check(check(), lambda stage, message: None)).node == "first"

        first.sandbox = ""
        await made.describe()
        first.away = True
        made.doubt()
        with pytest.raises(NoSandbox, match="no sandbox works on second"):
            await made.check(check(), lambda stage, message: None)

    play(tmp_path, (first, second), scenario)
