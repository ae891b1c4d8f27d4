"""The wire between router and worker at fault: lost, cut, doubled, late, too slow, too large, of another version.

Both ends are real: whole stacks with a proxy between their two programs, or the router's dispatcher and a worker process.
The model is a server at the wire that counts what it is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from router.dispatcher import Dispatcher
from tandem import channel, wire
from tandem.errors import DeadlineExceeded, ResourceExhausted, VersionSkew
from tandem.types import Chunk, Reply
from tandem.v1 import worker_pb2 as pb
from tandem.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from tandem.wire.questions import complete_out
from tests.faults import scene
from tests.faults.desk import Desk, asking, come, desk_in, insisting, over
from tests.faults.matrix import Reached
from tests.faults.wires import MODELS, asked_twice, holds, logged, merged, persona_in, proxied, team, until
from tests.support.fake_ollama import FakeOllama, Say
from tests.support.faultproxy import Direction, FaultProxy
from tests.support.machine import dispatcher, whole
from tests.support.stack import TASK, Stack, sample

NOTICED_S = 10.0  # the longest that a connection nobody answers on may be taken for one that works
LOOPBACK = ("127.0.0.1", 0)
SLOTS = 16  # calls at the same time where thousands are made
EACH = 1 if os.environ.get("TANDEM_SOAK") else 3  # of a call's bytes, which are cut after


# --- what the tests stand on ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_in(tmp_path_factory.mktemp("desk")) as made:
        yield made


@pytest.fixture
def wired(desk: Desk, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(listen=tmp_path / "w.sock", target=desk.machine.socket) as proxy:
        yield proxy


@dataclass(frozen=True, slots=True)
class Line:
    """A stack with a proxy between its programs, its model server, and the tree its task leads to."""

    stack: Stack
    proxy: FaultProxy
    fake: FakeOllama
    tree: str


@contextmanager
def line_in(folder: Path, **env: str) -> Generator[Line]:
    with FakeOllama(team) as fake:
        passed = str(folder / "passed.log")
        stack = Stack(folder, {**MODELS, "TANDEM_OLLAMA_URL": fake.url, "TANDEM_FAULT_LOG": passed, **env})
        with proxied(stack) as proxy:
            repo = sample(folder / "undisturbed")
            yield Line(stack, proxy, fake, merged(stack, repo, stack.submit(repo, TASK)))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with line_in(tmp_path_factory.mktemp("line"), TANDEM_WORKER_CALLS="2") as made:
        yield made


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Of a router that waits three seconds for a model, and no longer."""
    with line_in(tmp_path_factory.mktemp("hurried"), TANDEM_ROUTER_CALL_S="3") as made:
        yield made


# --- 8 --------------------------------------------------------------------------------------------------------


@pytest.mark.row(8)
def test_two_runs_in_a_black_hole_wait_and_go_on_with_what_went_on_meanwhile(
    line: Line, tmp_path: Path, reached: Reached
) -> None:
    stack, slowly = line.stack, f"{TASK}\n\nThere is no hurry."
    line.fake.behaviour = lambda body: slow(body) if "no hurry" in json.dumps(body) else team(body)
    line.fake.asked.clear()
    talking, testing = sample(tmp_path / "talking"), scene.ground(tmp_path / "testing", holds=True)
    tree = scene.wanted(tmp_path, testing)
    tested = scene.passed(stack, "worker.checked")
    runs = [stack.submit(talking, slowly), stack.submit(testing, TASK)]
    scene.held(stack, "tests")
    until(lambda: any(persona_in(body) == "planner" and "no hurry" in json.dumps(body) for body in line.fake.asked))
    began_s = time.time()
    line.proxy.black_hole()
    until(lambda: [held["kind"] for held in holds(stack)] == ["waiting-for-worker"] * 2, why=stack.log)
    assert {held["run"] for held in holds(stack)} == set(runs)
    assert all("tandem doctor" in held["text"] for held in holds(stack))
    assert all(run in stack.cli("status").stdout for run in runs)
    noticed = [entry for entry in logged(stack, "router") if entry["event"] == "call is tried again"][-2:]
    assert max(datetime.fromisoformat(entry["at"]).timestamp() for entry in noticed) - began_s < NOTICED_S
    assert all("ping timeout" in entry["why"] for entry in noticed)
    reached.add("black hole", line.proxy.counts["black_holed"])
    line.proxy.heal()
    for run, repo, wanted in zip(runs, (talking, testing), (line.tree, tree), strict=True):
        assert scene.came_to(stack, run, "waiting")["question"]["kind"] == "approve"
        stack.answer(run, "approve")
        scene.came_to(stack, run, "merged")
        scene.merged_once(stack, run, repo, wanted)
    assert holds(stack) == []
    assert asked_twice(line.fake) == []
    told = sum(len(stack.call("GET", f"/v1/runs/{run}")[1]["checks"]) for run in runs)
    assert scene.passed(stack, "worker.checked") - tested == told + 2 * len(runs), "no test ran twice but sealed"


def slow(body: Mapping[str, Any]) -> Say:
    """Answer the planner's question over some seconds."""
    return Say(team(body).text, pause_s=0.03 if persona_in(body) == "planner" else 0.0)


@pytest.mark.row(8)
def test_a_hole_in_one_direction_is_noticed_as_well(desk: Desk, tmp_path: Path, reached: Reached) -> None:
    async def scenario(way: Direction | None) -> None:
        words, chunks = f"hole {way}", list[Chunk]()
        with FaultProxy(listen=tmp_path / f"{way}.sock", target=desk.machine.socket) as proxy:
            async with over(proxy) as made:
                call = asyncio.create_task(insisting(made, asking(words, deadline_s=60.0), chunks))
                await come(lambda: chunks)
                began = time.monotonic()
                proxy.black_hole(direction=way)
                await come(lambda: proxy.counts["connections"] > 1)
                assert time.monotonic() - began < NOTICED_S
                proxy.heal()
                assert whole(chunks) in (reply := await call).text
                assert reply.text.startswith(f"{words} answered 1")
                reached.add(f"black hole {way or 'both'}", proxy.counts["black_holed"])

    async def all_ways() -> None:
        await asyncio.gather(scenario(None), scenario("down"), scenario("up"))

    desk.pause_s = 0.05  # longer than it takes to notice
    try:
        asyncio.run(all_ways())
    finally:
        desk.pause_s = 0.0


# --- 11 -------------------------------------------------------------------------------------------------------


@pytest.mark.row(11)
@pytest.mark.parametrize("way", ["down", "up"])
def test_cut_at_every_byte_the_reply_is_exact_and_the_model_was_asked_once(
    desk: Desk, way: Direction, reached: Reached
) -> None:
    async def cut(place: int, *, reset: bool) -> int:
        """Ask over a connection of its own that is cut there, and return whether it was."""
        words, chunks = f"{way}{place:04}{'r' * reset}", list[Chunk]()
        with FaultProxy(listen=LOOPBACK, target=desk.machine.socket) as proxy:
            proxy.cut_at(place, way, times=1, reset=reset)
            async with over(proxy) as made:
                reply = await insisting(made, asking(words), chunks)
            assert reply.text == f"{words} answered 1 and so on end"
            assert whole(chunks) == reply.text
            assert desk.asked(words) == 1
            return proxy.counts["cut"] + proxy.counts["reset"]

    async def every_place() -> tuple[int, int]:
        length = await undisturbed(desk, way)
        # a close lets everything before it through, so that half a message is read; a reset takes that away again
        planned = [*((n, False) for n in range(0, length, EACH)), *((n, True) for n in range(0, length, 7 * EACH))]
        places = iter(planned)
        struck = 0

        async def slot() -> None:
            nonlocal struck
            for place, reset in places:
                hit = await cut(place, reset=reset)
                struck += hit

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SLOTS):
                tasks.create_task(slot())
        return struck, len(planned)

    struck, planned = asyncio.run(every_place())
    assert struck > planned * 0.95, "streams differ in length by a few bytes"
    reached.add(f"cut {way}", struck)


async def undisturbed(desk: Desk, way: Direction) -> int:
    """Return how many bytes a call takes in one direction, from the connection's first to its last."""
    with FaultProxy(listen=LOOPBACK, target=desk.machine.socket) as proxy:
        async with over(proxy) as made:
            await made.complete(asking(f"whole {way}"), lambda chunk: None)
        await come(lambda: proxy.live() == 0)
        return proxy.counts[f"bytes_{way}"]


@pytest.mark.row(11)
def test_a_run_whose_connections_are_all_cut_ends_as_if_none_had_been(
    line: Line, tmp_path: Path, reached: Reached
) -> None:
    line.fake.behaviour = team
    line.fake.asked.clear()
    before = line.proxy.counts["cut"]
    line.proxy.cut_at(900, "down", times=8)
    line.proxy.cut_at(5000, "up", times=8)
    line.proxy.cut_now()
    repo = sample(tmp_path / "repo")
    run = line.stack.submit(repo, TASK)
    merged(line.stack, repo, run)
    scene.merged_once(line.stack, run, repo, line.tree)
    assert asked_twice(line.fake) == []
    struck = line.proxy.counts["cut"] - before
    assert struck > 8
    reached.add("cut in a run", struck)
    line.proxy.heal()


# --- 12 -------------------------------------------------------------------------------------------------------


@pytest.mark.row(12)
def test_a_call_that_arrives_twice_is_one_whether_it_works_has_ended_or_the_worker_was_killed(
    tmp_path: Path, reached: Reached
) -> None:
    with (
        desk_in(tmp_path) as desk,
        FaultProxy(listen=tmp_path / "p.sock", target=desk.machine.socket) as proxy,
    ):

        async def doubled(words: str) -> tuple[Reply, bytes]:
            """Ask, and let the same bytes come once more while the work is under way."""
            async with over(proxy) as made:
                chunks: list[Chunk] = []
                call = asyncio.create_task(made.complete(asking(words), chunks.append))
                await come(lambda: chunks)
                again = await asyncio.to_thread(proxy.replay, quiet_s=2.0)
                return await call, again

        desk.pause_s = 0.01
        reply, again = asyncio.run(doubled("doubled"))
        assert reply.text.startswith("doubled answered 1 and so on")
        assert b"answered 1" in again
        assert b"answered 2" not in again
        until(lambda: reply.text.encode() in proxy.replay())
        desk.machine.stop(signal.SIGKILL)
        desk.machine.start()
        until(lambda: reply.text.encode() in proxy.replay())
        assert desk.asked("doubled") == 1, "not even for a worker that was started anew"
        reached.add("arrived again", proxy.counts["duplicated"])


@pytest.mark.row(12)
def test_everything_a_router_ever_sent_may_arrive_again(tmp_path: Path, reached: Reached) -> None:
    with line_in(tmp_path) as line:
        stack, proxy = line.stack, line.proxy
        asked, tested = len(line.fake.asked), scene.passed(stack, "worker.checked")
        told = stack.call("GET", "/v1/runs")
        (run,) = (one["run"] for one in told[1]["runs"])
        for connection in range(proxy.counts["connections"]):
            assert proxy.replay(connection, quiet_s=1.0)
        assert (len(line.fake.asked), scene.passed(stack, "worker.checked")) == (asked, tested), "nothing is done again"
        assert stack.call("GET", "/v1/runs") == told
        scene.merged_once(stack, run, tmp_path / "undisturbed", line.tree)
        again = sample(tmp_path / "again")
        assert merged(stack, again, stack.submit(again, TASK)) == line.tree, "and the worker serves on"
        reached.add("arrived again", proxy.counts["duplicated"])


# --- 13 -------------------------------------------------------------------------------------------------------


@pytest.mark.row(13)
def test_an_answer_that_comes_after_the_next_attempt_won_changes_nothing(
    desk: Desk, wired: FaultProxy, reached: Reached
) -> None:
    async def scenario() -> None:
        chunks: list[Chunk] = []
        async with over(wired) as late, dispatcher(desk.machine.socket) as there:
            await late.describe()
            wired.hold("down")
            with pytest.raises(DeadlineExceeded, match=r"router\.call_s"):
                await late.complete(asking("late", deadline_s=0.5), chunks.append)
            second = await there.complete(asking("late", attempt=2), lambda chunk: None)
            reached.add("held", wired.counts["held"])
            wired.release("down")
            assert (await late.complete(asking("then"), lambda chunk: None)).text.startswith("then answered 1")
            assert second.text.startswith("late answered 2")
            assert chunks == [], "nobody is told what came too late"
            assert await there.complete(asking("late", attempt=2), lambda chunk: None) == second

    asyncio.run(scenario())


@pytest.mark.row(13)
def test_a_question_that_comes_after_the_next_attempt_won_is_refused_and_logged(
    desk: Desk, wired: FaultProxy, reached: Reached
) -> None:
    log = desk.machine.state / "logs" / "worker.log"

    def refusals() -> list[dict[str, Any]]:
        said = [json.loads(one) for one in log.read_text("utf-8").splitlines()]
        return [one for one in said if one["event"] == "attempt came too late"]

    async def scenario() -> None:
        async with over(wired) as late, dispatcher(desk.machine.socket) as there:
            await late.describe()
            wired.hold("up")
            first = asyncio.create_task(late.complete(asking("too late", deadline_s=0.5), lambda chunk: None))
            await come(lambda: b"too late" in wired.recorded())
            question = len(wired.recorded())  # behind it comes the word that nobody waits any more
            with pytest.raises(DeadlineExceeded):
                await first
            await there.complete(asking("too late", attempt=2), lambda chunk: None)
            reached.add("held", wired.counts["held"])
            await asyncio.to_thread(until, lambda: wired.replay(upto=question) and refusals())

    asyncio.run(scenario())
    assert {(one["request_id"], one["attempt"]) for one in refusals()} == {("too late", 1)}
    assert desk.asked("too late") == 1, "the model works for nobody"


@pytest.mark.row(13)
def test_a_run_takes_the_answer_of_its_last_attempt(hurried: Line, tmp_path: Path, reached: Reached) -> None:
    stack, proxy, fake = hurried.stack, hurried.proxy, hurried.fake
    plans = itertools.count(1)

    def numbered(body: Mapping[str, Any]) -> Say:
        said = team(body)
        if persona_in(body) != "planner":
            return said
        number = next(plans)
        text = json.dumps({**json.loads(said.text), "summary": f"plan {number}"})
        return Say(text, pause_s=0.01 if number == 1 else 0.0)  # time to hold it

    def asked() -> int:
        return sum(persona_in(body) == "planner" for body in fake.asked)

    fake.behaviour = numbered
    fake.asked.clear()
    repo = sample(tmp_path / "repo")
    held = proxy.counts["held"]
    run = stack.submit(repo, TASK)
    until(asked)
    proxy.hold("down")
    body = stack.wait(run)
    assert (body["state"], body["error"]) == ("failed", "DeadlineExceeded"), body["message"]
    stack.call("POST", f"/v1/runs/{run}/resume")
    proxy.release("down")
    merged(stack, repo, run)
    scene.merged_once(stack, run, repo, hurried.tree)
    assert stack.call("GET", f"/v1/runs/{run}")[1]["plan"]["summary"] == "plan 2"
    assert asked() == 2
    reached.add("held", proxy.counts["held"] - held)


# --- 14 -------------------------------------------------------------------------------------------------------


@pytest.mark.row(14)
def test_a_model_that_takes_longer_than_it_may_is_stopped_and_the_setting_is_named(
    hurried: Line, tmp_path: Path, reached: Reached
) -> None:
    stack, fake = hurried.stack, hurried.fake
    fake.behaviour = lambda body: Say(team(body).text, pause_s=0.5) if persona_in(body) == "planner" else team(body)
    fake.stopped.clear()
    fake.asked.clear()
    repo = sample(tmp_path / "repo")
    run = stack.submit(repo, TASK)
    body = stack.wait(run)
    assert (body["state"], body["error"]) == ("failed", "DeadlineExceeded"), body["message"]
    assert "deadline of 3 s (router.call_s" in body["message"]
    assert fake.stopped.wait(10), "the worker let the model go on for nobody"
    assert len(fake.asked) == 2
    reached.add("deadline", len(body["failures"]))
    fake.behaviour = team
    stack.call("POST", f"/v1/runs/{run}/resume")
    assert merged(stack, repo, run) == hurried.tree


# --- 17 -------------------------------------------------------------------------------------------------------

_OTHER = "from tandem import wire; wire.PROTOCOL = {protocol}; from tandem.entry import router; router()"
_UNKNOWN = b"\xca\x3e\x05later"  # field 1001, of a version to come


@pytest.mark.row(17)
def test_a_router_and_a_worker_of_two_versions_say_which_to_upgrade_and_the_run_goes_on_after_it(
    tmp_path: Path, reached: Reached
) -> None:
    run = ""
    with FakeOllama(team) as fake:
        stack = Stack(tmp_path, {**MODELS, "TANDEM_OLLAMA_URL": fake.url})
        repo = sample(tmp_path / "repo")
        for protocol, older in ((wire.PROTOCOL - 1, "router"), (wire.PROTOCOL + 1, "worker")):
            with other_router(stack, protocol):
                if run:
                    stack.call("POST", f"/v1/runs/{run}/resume")
                else:
                    run = stack.submit(repo, TASK)
                body = stack.wait(run)
                assert (body["state"], body["error"]) == ("failed", "VersionSkew"), body["message"]
                assert f"speaks protocol {protocol}" in body["message"]
                assert f"speaks {wire.PROTOCOL}; upgrade the {older}" in body["message"]
                assert body["message"] in stack.call("GET", "/v1/status")[1]["trouble"]
                reached.add(f"{older} older", len(body["failures"]))
        assert fake.asked == []
        stack.start()
        try:
            stack.call("POST", f"/v1/runs/{run}/resume")
            merged(stack, repo, run)
        finally:
            stack.stop()


@contextmanager
def other_router(stack: Stack, protocol: int) -> Generator[None]:
    """Run a router that speaks another protocol; the worker it starts is of this version."""
    argv = [sys.executable, "-c", _OTHER.format(protocol=protocol)]
    before = _workers_ready(stack)
    stack.router = subprocess.Popen(argv, env=stack.env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _workers_ready(stack) > before, why=stack.log)
        until(lambda: stack.call("GET", "/v1/status")[1]["ready"], why=stack.log)
        yield
    finally:
        stack.stop()


def _workers_ready(stack: Stack) -> int:
    return sum(line["event"] == "worker got ready" for line in logged(stack, "router"))


class Stranger(WorkerServiceServicer):
    """A worker of another make, as far as a test needs one."""

    def __init__(self, **described: Any) -> None:
        self.described = pb.DescribeResponse(
            **{"name": "mini", "boot_id": "b", "version": "9.9", "protocol": wire.PROTOCOL, **described}
        )
        self.described.models.add(name="small", backend="ollama")

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.DescribeResponse:
        """Say what it is to whoever asks."""
        return self.described


@asynccontextmanager
async def served(stranger: Stranger, folder: Path) -> AsyncIterator[Dispatcher]:
    server = aio.server()
    add_WorkerServiceServicer_to_server(stranger, server)
    server.add_insecure_port(f"unix:{folder / 's.sock'}")
    await server.start()
    try:
        async with dispatcher(folder / "s.sock") as made:
            yield made
    finally:
        await server.stop(0)


@pytest.mark.row(17)
@pytest.mark.parametrize(("protocol", "older"), [(0, "worker 'mini'"), (wire.PROTOCOL + 6, "router")])
def test_a_worker_that_answers_every_version_is_refused_by_its_own(
    tmp_path: Path, reached: Reached, protocol: int, older: str
) -> None:
    async def scenario() -> None:
        async with served(Stranger(protocol=protocol), tmp_path) as made:
            with pytest.raises(VersionSkew, match=f"'mini' \\(9.9\\) speaks protocol {protocol}.*upgrade the {older}$"):
                await made.complete(asking("anything"), lambda chunk: None)

    asyncio.run(scenario())
    reached.add("other version")


@pytest.mark.row(17)
def test_a_call_that_a_worker_does_not_know_is_a_matter_of_its_version(tmp_path: Path, reached: Reached) -> None:
    async def scenario() -> None:
        async with served(Stranger(), tmp_path) as made:
            with pytest.raises(VersionSkew, match=r"does not know this call.*upgrade Tandem there"):
                await made.complete(asking("anything"), lambda chunk: None)

    asyncio.run(scenario())
    reached.add("unknown call")


@pytest.mark.row(17)
def test_fields_of_a_later_version_are_passed_over_and_kept(desk: Desk, tmp_path: Path, reached: Reached) -> None:
    async def asked() -> bytes:
        async with aio.insecure_channel(f"unix:{desk.machine.socket}") as line:
            call: Any = line.unary_stream("/tandem.v1.WorkerService/Complete")
            sent = complete_out(asking("with more")).SerializeToString() + _UNKNOWN
            return b"".join([response async for response in call(sent, timeout=20)])

    class Later(Stranger):
        async def Complete(self, request: pb.CompleteRequest, context: Any) -> AsyncIterator[pb.CompleteResponse]:
            told = pb.CompleteResponse(reply=pb.Reply(text="whole", model="small")).SerializeToString()
            yield pb.CompleteResponse.FromString(told + _UNKNOWN)

    async def answered() -> Reply:
        stranger = Later()
        stranger.described.MergeFromString(_UNKNOWN)
        async with served(stranger, tmp_path) as made:
            return await made.complete(asking("anything"), lambda chunk: None)

    assert b"with more answered 1" in asyncio.run(asked())
    assert asyncio.run(answered()).text == "whole"
    assert pb.Reply.FromString(_UNKNOWN).SerializeToString() == _UNKNOWN
    reached.add("unknown fields", 2)


# --- 18 -------------------------------------------------------------------------------------------------------

_ZEROS = "\0" * (channel.MESSAGE_BYTES_MAX + 1)


@pytest.mark.row(18)
@pytest.mark.parametrize("how", ["plain", "bomb"])
def test_a_message_over_the_limit_is_refused_by_a_worker_that_lives_on(desk: Desk, reached: Reached, how: str) -> None:
    """The bomb is some tens of kilobytes that would be 64 MiB."""
    assert desk.machine.process is not None
    pid = desk.machine.process.pid
    packed = grpc.Compression.Gzip if how == "bomb" else grpc.Compression.NoCompression

    async def refused(stub_of: Callable[[Any], Any]) -> None:
        unbounded = (("grpc.max_send_message_length", -1),)
        async with aio.insecure_channel(f"unix:{desk.machine.socket}", options=unbounded) as line:
            with pytest.raises(aio.AioRpcError) as caught:
                await stub_of(line)
            error = channel.error_in(caught.value, "worker desk")
            assert type(error) is ResourceExhausted
            assert "larger than max" in error.message
            assert str(channel.MESSAGE_BYTES_MAX) in error.message or how == "bomb"

    async def scenario() -> None:
        large = complete_out(asking("large")).SerializeToString()
        large += pb.CompleteRequest(persona=_ZEROS).SerializeToString()
        method = "/tandem.v1.WorkerService/"
        await refused(lambda to: read(to.unary_stream(f"{method}Complete")(large, compression=packed, timeout=30)))
        await refused(lambda to: to.unary_unary(f"{method}Collect")(large, compression=packed, timeout=30))
        async with dispatcher(desk.machine.socket) as made:
            assert (await made.complete(asking(f"after {how}"), lambda chunk: None)).text.startswith("after")

    asyncio.run(scenario())
    assert desk.asked("large") == 0
    assert desk.machine.process.poll() is None
    assert desk.machine.process.pid == pid
    reached.add(how, 2)


async def read(call: Any) -> list[Any]:
    return [response async for response in call]


@pytest.mark.row(18)
def test_a_question_too_large_to_send_is_refused_before_it_is_sent(desk: Desk, reached: Reached) -> None:
    async def scenario() -> None:
        async with dispatcher(desk.machine.socket) as made:
            with pytest.raises(ResourceExhausted, match="larger than max"):
                await made.complete(asking(_ZEROS), lambda chunk: None)
            assert (await made.complete(asking("after it"), lambda chunk: None)).text.startswith("after it")

    asyncio.run(scenario())
    reached.add("too large to send")


@pytest.mark.row(18)
@pytest.mark.parametrize("how", ["plain", "bomb"])
def test_an_answer_over_the_limit_is_refused_by_a_router_that_lives_on(
    tmp_path: Path, reached: Reached, how: str
) -> None:
    class Loud(Stranger):
        async def Complete(self, request: pb.CompleteRequest, context: Any) -> AsyncIterator[pb.CompleteResponse]:
            if how == "bomb":
                context.set_compression(grpc.Compression.Gzip)
            text = _ZEROS if request.messages[0].content == "large" else "well"
            yield pb.CompleteResponse(reply=pb.Reply(text=text, model="small"))

    async def scenario() -> None:
        async with served(Loud(), tmp_path) as made:
            with pytest.raises(ResourceExhausted, match=r"worker mini: .*larger than max"):
                await made.complete(asking("large"), lambda chunk: None)
            assert (await made.complete(asking("small"), lambda chunk: None)).text == "well"

    asyncio.run(scenario())
    reached.add(how)
