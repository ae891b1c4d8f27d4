import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from grpc import aio

from router.node import Node
from tandem import channel, errors, wire
from tandem.types import Load
from tandem.v1 import worker_pb2 as pb
from tandem.wire.nodes import node_in
from tandem.wire.questions import complete_out
from tests.support.machine import LONG, Machine, question
from worker.servicer import PROGRESS_MAX, _telling

REPLIES = [{"persona": "coder", "text": LONG}, {"persona": "stuck", "fault": "hang"}]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine"), REPLIES) as machine:
        yield machine


def play(machine: Machine, scenario: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        node = Node.at_socket(machine.socket)
        try:
            await scenario(node.stub)
        finally:
            await node.channels.calls.close()

    asyncio.run(run())


async def refusal(call: Any) -> errors.TandemError:
    """Return our error for a call that must fail."""
    with pytest.raises(aio.AioRpcError) as caught:
        await (read(call) if hasattr(call, "__aiter__") else call)
    return channel.error_in(caught.value, "worker")


async def read(call: Any) -> tuple[str, int, pb.Reply]:
    """Return the text of the pieces, where they began, and the reply."""
    text, begin, reply = "", -1, pb.Reply()
    async for response in call:
        if response.HasField("reply"):
            reply = response.reply
        else:
            begin = response.chunk.offset if begin < 0 else begin
            assert response.chunk.offset == begin + len(text)
            text += response.chunk.text
    return text, begin, reply


@pytest.mark.parametrize(("protocol", "who"), [(0, "router"), (wire.PROTOCOL + 1, "worker 'desk'")])
def test_another_protocol_is_refused_and_the_older_side_named(machine: Machine, protocol: int, who: str) -> None:
    async def scenario(stub: Any) -> None:
        error = await refusal(stub.Describe(pb.DescribeRequest(protocol=protocol, version="9.9"), timeout=10))
        assert isinstance(error, errors.VersionSkew)
        assert "router 9.9" in error.message
        assert error.message.endswith(f"upgrade the {who}")

    play(machine, scenario)


def test_it_says_what_it_is(machine: Machine) -> None:
    async def scenario(stub: Any) -> None:
        said = await stub.Describe(pb.DescribeRequest(protocol=wire.PROTOCOL, version="1"), timeout=10)
        info = node_in(said)
        assert (info.name, info.protocol, info.backend_trouble) == ("desk", wire.PROTOCOL, "")
        assert [model.name for model in info.models] == ["rehearsal/play", "rehearsal/random"]
        assert [model.resident for model in info.models] == [True, True]
        assert (info.calls, info.checks) == (Load(places=1), Load(places=2))
        assert info.free_bytes


def test_it_says_what_runs_and_what_waits(machine: Machine) -> None:
    async def scenario(stub: Any) -> None:
        asked = [(f"busy {n}", priority) for n, priority in enumerate((1, 1, 10))]
        loads = [
            Load(places=1, running={1: 1}),
            Load(places=1, running={1: 1}, waiting={1: 1}),
            Load(places=1, running={1: 1}, waiting={1: 1, 10: 1}),
        ]
        calls = list[Any]()
        for (name, priority), load in zip(asked, loads, strict=True):  # one after the other, or another one is first
            calls.append(stub.Complete(complete_out(question(name, "stuck", priority=priority)), timeout=40))
            async with asyncio.timeout(20):
                describe = pb.DescribeRequest(protocol=wire.PROTOCOL)
                while node_in(await stub.Describe(describe)).calls != load:  # noqa: ASYNC110 - a process is asked
                    await asyncio.sleep(0.02)
        for call, (name, _) in zip(calls, asked, strict=True):
            await stub.Cancel(pb.CancelRequest(request_id=name))
            call.cancel()

    play(machine, scenario)


def test_each_message_says_to_which_attempt_it_is_an_answer(machine: Machine) -> None:
    async def scenario(stub: Any) -> None:
        asked = complete_out(question("numbered", attempt=3))
        assert {response.attempt async for response in stub.Complete(asked, timeout=10)} == {3}

    play(machine, scenario)


@pytest.mark.parametrize("offset", [0, 1, 1999, 2000, 2001, len(LONG) - 1, len(LONG), len(LONG) + 5])
def test_a_reply_is_told_from_any_character_on(machine: Machine, offset: int) -> None:
    async def scenario(stub: Any) -> None:
        asked = complete_out(question(f"from {offset}"), resume_offset=offset)
        for _ in range(2):  # the first starts the work, the second reads what was kept
            text, begin, reply = await read(stub.Complete(asked, timeout=10))
            assert text == LONG[offset:]
            assert begin == (offset if text else -1)
            assert reply.text == LONG
            assert reply.node == "desk"

    play(machine, scenario)


def wrong(change: Callable[[pb.CompleteRequest], object]) -> pb.CompleteRequest:
    message = complete_out(question("wrong"))
    change(message)
    return message


WRONG: dict[str, Callable[[pb.CompleteRequest], object]] = {
    "request_id is empty": lambda m: m.header.ClearField("request_id"),
    "deadline_s is 0": lambda m: m.header.ClearField("deadline_s"),
    "deadline_s is -1": lambda m: setattr(m.header, "deadline_s", -1),
    "deadline_s is nan": lambda m: setattr(m.header, "deadline_s", float("nan")),
    "deadline_s is inf": lambda m: setattr(m.header, "deadline_s", float("inf")),
    "a message's role is 'king'": lambda m: setattr(m.messages[0], "role", "king"),
    "schema_json is not JSON": lambda m: setattr(m, "schema_json", "{"),
    "schema_json is not a JSON object": lambda m: setattr(m, "schema_json", "[1]"),
    "parameters of 't' is not JSON": lambda m: m.tools.add(name="t", parameters_json="no"),
    "arguments of 'c' is not JSON": lambda m: m.messages[0].tool_calls.add(name="c", arguments_json=""),
    "resume_offset is -3": lambda m: setattr(m, "resume_offset", -3),
}


@pytest.mark.parametrize("words", list(WRONG))
def test_a_field_that_does_not_fit_is_bad_input(machine: Machine, words: str) -> None:
    async def scenario(stub: Any) -> None:
        error = await refusal(stub.Complete(wrong(WRONG[words]), timeout=10))
        assert type(error) is errors.BadInput
        assert words in error.message

    play(machine, scenario)


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_bytes_that_are_no_message_do_no_harm(machine: Machine, size: int) -> None:
    async def run() -> None:
        async with aio.insecure_channel(f"unix:{machine.socket}") as line:
            for method in ("Complete", "Check", "Prepare"):
                call: Any = line.unary_stream(f"/tandem.v1.WorkerService/{method}")
                assert await refusal(call(b"\xff" * size, timeout=10))

    asyncio.run(run())
    test_it_says_what_it_is(machine)


def test_empty_checks_and_prepares_are_bad_input(machine: Machine) -> None:
    async def scenario(stub: Any) -> None:
        for call in (stub.Check(pb.CheckRequest(), timeout=10), stub.Prepare(pb.PrepareRequest(), timeout=10)):
            assert type(await refusal(call)) is errors.BadInput

    play(machine, scenario)


def test_cancel_stops_the_work_and_says_whether_there_was_any(machine: Machine) -> None:
    async def scenario(stub: Any) -> None:
        call = stub.Complete(complete_out(question("stuck", "stuck")), timeout=10)
        waiting = asyncio.create_task(refusal(call))
        await asyncio.sleep(0.3)
        assert (await stub.Cancel(pb.CancelRequest(request_id="stuck"), timeout=5)).found
        assert isinstance(await waiting, errors.Cancelled)
        for name in ("stuck", "never heard of", ""):
            assert not (await stub.Cancel(pb.CancelRequest(request_id=name), timeout=5)).found

    play(machine, scenario)


def test_work_goes_on_when_its_listener_leaves_and_its_place_with_it(machine: Machine) -> None:
    async def scenario(stub: Any) -> None:
        call = stub.Complete(complete_out(question("left", "stuck")), timeout=10)
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.sleep(0.1)
        joined = asyncio.create_task(refusal(stub.Complete(complete_out(question("left", "stuck")), timeout=10)))
        await asyncio.sleep(0.1)
        assert (await stub.Cancel(pb.CancelRequest(request_id="left"), timeout=5)).found
        assert isinstance(await joined, errors.Cancelled)

    play(machine, scenario)


def test_a_health_probe_is_answered(machine: Machine) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async def run() -> None:
        async with aio.insecure_channel(f"unix:{machine.socket}") as line:
            stub: Any = health_pb2_grpc.HealthStub(line)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    asyncio.run(run())


def test_a_worker_that_runs_no_tests_says_so_instead_of_letting_anybody_wait(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def scenario(stub: Any) -> None:
        described = await stub.Describe(pb.DescribeRequest(protocol=wire.PROTOCOL), timeout=10)
        assert node_in(described).checks == Load(places=0)
        header = pb.CallHeader(request_id="r", run_id="r", attempt=1, deadline_s=10.0)
        for call in (
            stub.Check(pb.CheckRequest(header=header, repo_id="r", commit="ab" * 20), timeout=10),
            stub.Prepare(pb.PrepareRequest(header=header, repo_id="r", commit="ab" * 20), timeout=10),
        ):
            error = await refusal(call)
            assert isinstance(error, errors.Unavailable), error
            assert "runs no tests (worker.checks = 0)" in error.message

    with Machine(tmp_path_factory.mktemp("none"), REPLIES, TANDEM_WORKER_CHECKS="0") as without:
        play(without, scenario)


def test_progress_is_told_as_it_comes_the_result_last_and_nothing_is_left_behind() -> None:
    async def scenario() -> None:
        may_end = asyncio.Event()

        async def work(tell: Callable[[str, str], None]) -> str:
            tell("tests", "begin")
            await may_end.wait()
            for number in range(PROGRESS_MAX + 5):
                tell("tests", str(number))
            return "report"

        telling = _telling(work, lambda stage, message: f"{stage} {message}")
        assert await anext(telling) == "tests begin"
        may_end.set()
        rest = [one async for one in telling]
        assert (rest[0], rest[-1], len(rest)) == ("tests 0", "report", PROGRESS_MAX + 1)

        may_end.clear()
        telling = _telling(work, lambda stage, message: f"{stage} {message}")
        await anext(telling)
        listening = asyncio.ensure_future(anext(telling))
        await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "the work was stopped, and nobody waits for more of it"

    asyncio.run(scenario())
