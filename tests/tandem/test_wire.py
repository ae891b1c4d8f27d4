import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar, get_args

import grpc
import pytest
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from tandem import channel, errors, types
from tandem.v1 import worker_pb2 as pb
from tandem.wire.checks import artefact_in, artefact_out, check_in, check_out, report_in, report_out
from tandem.wire.nodes import node_in, node_out
from tandem.wire.questions import chunk_out, complete_in, complete_out, reply_in, reply_out
from tandem.wire.upkeep import environment_in, environment_out, prepare_in, prepare_out

M = TypeVar("M")
TEXT = st.text(max_size=20).filter(lambda text: all(not "\ud800" <= c <= "\udfff" for c in text))
NAME = TEXT.filter(bool)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SECONDS = st.floats(min_value=1e-3, max_value=1e6)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)


def some(kind: Any) -> Any:
    return st.sampled_from(get_args(kind))


def many(of: Any) -> Any:
    return st.lists(of, max_size=3).map(tuple)


CALL = st.builds(types.ToolCall, id=TEXT, name=TEXT, arguments=OBJECT)
MESSAGE = st.builds(
    types.Message,
    role=some(types.Role),
    content=TEXT,
    images=many(st.binary(max_size=8)),
    tool_calls=many(CALL),
    tool_call_id=TEXT,
)
COMPLETE = st.builds(
    types.CompleteRequest,
    request_id=NAME,
    attempt=INT32,
    run_id=TEXT,
    persona=TEXT,
    turn=INT32,
    model=TEXT,
    messages=many(MESSAGE),
    tools=many(st.builds(types.Tool, name=TEXT, description=TEXT, parameters=OBJECT)),
    schema=st.none() | OBJECT,
    sampling=st.builds(types.Sampling, temperature=FINITE, top_p=FINITE, max_tokens=INT32, seed=st.none() | INT64),
    context_tokens=INT32,
    priority=INT32,
    deadline_s=SECONDS,
)
REPLY = st.builds(
    types.Reply,
    text=TEXT,
    tool_calls=many(CALL),
    finish=st.sampled_from(("stop", "length", "tool_calls")),
    model=TEXT,
    node=TEXT,
    backend=TEXT,
    rehearsed=st.booleans(),
    prompt_tokens=INT32,
    completion_tokens=INT32,
    first_token_ms=FINITE,
    total_ms=FINITE,
)
PREPARE = st.builds(
    types.PrepareRequest,
    request_id=NAME,
    attempt=INT32,
    run_id=TEXT,
    repo_id=TEXT,
    commit=TEXT,
    adapter=some(types.Adapter),
    folder=TEXT,
    allow_network=st.booleans(),
    wall_s=SECONDS,
)
ENVIRONMENT = st.builds(
    types.Environment,
    key=TEXT,
    kind=st.sampled_from(("none", "python", "node")),
    ready=st.booleans(),
    files=many(TEXT),
    built_s=FINITE,
)
CHECK = st.builds(
    types.CheckRequest,
    request_id=NAME,
    attempt=INT32,
    run_id=TEXT,
    repo_id=TEXT,
    commit=TEXT,
    command=many(TEXT),
    adapter=some(types.Adapter),
    environment=TEXT,
    folder=TEXT,
    limits=st.builds(types.Limits, wall_s=SECONDS, memory_bytes=INT64, processes=INT32, output_bytes=INT64),
    priority=INT32,
    unsandboxed=st.booleans(),
    artefacts=many(st.sampled_from(("coverage.xml", "*.log", "htmlcov/**"))),
)
PIECE = st.builds(
    types.ArtefactPiece,
    spool=TEXT,
    name=TEXT,
    size_bytes=INT64,
    data=st.binary(max_size=9),
    last=st.booleans(),
    left_out=TEXT,
)
REPORT = st.builds(
    types.CheckReport,
    verdict=some(types.CheckVerdict),
    reason=TEXT,
    exit_code=st.none() | INT32,
    tests=many(st.builds(types.TestResult, id=TEXT, outcome=some(types.Outcome), file=TEXT, message=TEXT)),
    output=TEXT,
    duration_s=FINITE,
    adapter=some(types.Adapter),
    sandbox=TEXT,
    node=TEXT,
)
COUNTS = st.dictionaries(st.integers(1, 10), st.integers(1, 100), max_size=4)
LOAD = st.builds(types.Load, places=st.integers(1, 64), running=COUNTS, waiting=COUNTS)
SIZE = st.integers(0, 2**63 - 1)
MODEL = st.builds(
    types.ModelInfo,
    name=TEXT,
    backend=TEXT,
    rehearsal=st.booleans(),
    resident=st.none() | st.booleans(),
    size_bytes=SIZE,
)
HARDWARE = st.builds(
    types.Hardware,
    system=TEXT,
    chip=st.none() | TEXT.filter(bool),
    memory_bytes=st.none() | SIZE,
    model_bytes=st.none() | SIZE,
    limit=TEXT,
    room_bytes=st.none() | SIZE,
)
NODE = st.builds(
    types.NodeInfo,
    name=TEXT,
    boot_id=TEXT,
    version=TEXT,
    protocol=INT32,
    platform=TEXT,
    models=many(MODEL),
    sandbox=TEXT,
    sandbox_remedy=TEXT,
    backend_trouble=TEXT,
    calls=st.none() | LOAD,
    checks=st.none() | LOAD,
    free_bytes=st.none() | SIZE,
    hardware=st.none() | HARDWARE,
)


def sent(message: Any) -> Any:
    """Return a message as the other side reads it."""
    return type(message).FromString(message.SerializeToString())


@given(COMPLETE, st.integers(0, 2**63 - 1))
def test_a_question_arrives_as_it_left(request: types.CompleteRequest, offset: int) -> None:
    message = sent(complete_out(request, resume_offset=offset))
    assert complete_in(message) == request
    assert message.resume_offset == offset


@given(REPLY)
def test_a_reply_arrives_as_it_left(reply: types.Reply) -> None:
    assert reply_in(sent(reply_out(reply)).reply) == reply


@given(st.builds(types.Chunk, offset=st.integers(0, 2**63 - 1), text=TEXT))
def test_a_piece_arrives_as_it_left(chunk: types.Chunk) -> None:
    message = sent(chunk_out(chunk))
    assert message.HasField("chunk")
    assert types.Chunk(offset=message.chunk.offset, text=message.chunk.text) == chunk


@given(PREPARE)
def test_a_wish_for_an_environment_arrives_as_it_left(request: types.PrepareRequest) -> None:
    assert prepare_in(sent(prepare_out(request))) == request


@given(ENVIRONMENT)
def test_an_environment_arrives_as_it_left(environment: types.Environment) -> None:
    assert environment_in(sent(environment_out(environment))) == environment


@given(CHECK, TEXT, st.integers(0, 2**31 - 1))
def test_a_check_arrives_as_it_left(request: types.CheckRequest, spool: str, messages: int) -> None:
    message = sent(check_out(request, spool=spool, spool_messages=messages))
    assert check_in(message) == request
    assert (message.spool, message.spool_messages) == (spool, messages)


@given(PIECE, st.integers(0, 2**31 - 1))
def test_a_piece_of_a_file_arrives_as_it_left(piece: types.ArtefactPiece, attempt: int) -> None:
    message = sent(artefact_out(piece, attempt))
    assert message.HasField("artefact")
    assert (artefact_in(message.artefact), message.attempt) == (piece, attempt)


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "a//b", "", "x/", "a\nb", "n" * 300])
def test_a_pattern_that_leads_out_of_the_folder_is_bad_input(pattern: str) -> None:
    message = pb.CheckRequest(header=pb.CallHeader(request_id="c", deadline_s=1), adapter="plain", artefacts=[pattern])
    with pytest.raises(errors.BadInput, match="is no pattern of artefacts"):
        check_in(message)


@given(REPORT)
def test_a_report_arrives_as_it_left(report: types.CheckReport) -> None:
    assert report_in(sent(report_out(report))) == report


@given(NODE)
def test_a_nodes_description_arrives_as_it_left(node: types.NodeInfo) -> None:
    assert node_in(sent(node_out(node))) == node


def test_a_load_that_makes_no_sense_is_made_sensible() -> None:
    message = pb.DescribeResponse(calls=pb.Load(places=-3, running=[pb.ClassCount(priority=1, count=-2)]))
    assert node_in(sent(message)).calls == types.Load(places=1)


def test_a_worker_of_before_says_nothing_of_its_load() -> None:
    node = node_in(pb.DescribeResponse(name="old", models=[pb.ModelInfo(name="m")]))
    assert (node.calls, node.checks, node.free_bytes, node.models[0].resident) == (None, None, None, None)


@given(REPLY, st.integers(0, 2**31 - 1))
def test_an_answer_says_to_which_attempt_it_is_one(reply: types.Reply, attempt: int) -> None:
    assert sent(reply_out(reply, attempt)).attempt == attempt
    assert sent(chunk_out(types.Chunk(offset=0, text="a"), attempt)).attempt == attempt


@given(st.binary(max_size=200))
def test_a_message_of_any_bytes_is_read_or_is_bad_input(data: bytes) -> None:
    from google.protobuf.message import DecodeError

    for message, read in ((pb.CompleteRequest, complete_in), (pb.CheckRequest, check_in)):
        with contextlib.suppress(DecodeError, errors.BadInput):
            read(message.FromString(data))  # type: ignore[operator] - pairs of one type each


async def drained(call: Any) -> None:
    async for _ in call:
        pass


def raised_over_the_wire(error: errors.TandemError | None) -> errors.TandemError:
    """Return what a client makes of an error that a server raised."""

    async def run() -> errors.TandemError:
        async def fail(request: bytes, context: Any) -> AsyncIterator[bytes]:
            if error is None:
                raise ZeroDivisionError
            await channel.abort(context, error)
            yield b""

        handler: Any = grpc.unary_stream_rpc_method_handler(fail)  # type: ignore[arg-type] - its types know no async
        server = aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}") as line:
                call: Any = line.unary_stream("/s/m")(b"", timeout=10)
                with pytest.raises(aio.AioRpcError) as caught:
                    await drained(call)
                return channel.error_in(caught.value, "worker desk")
        finally:
            await server.stop(None)

    return asyncio.run(run())


@pytest.mark.parametrize("name", sorted(errors.BY_NAME))
def test_every_error_arrives_with_its_class_and_words(name: str) -> None:
    words = "'größe' 中文 100% \n second line"
    error = raised_over_the_wire(errors.BY_NAME[name](words))
    assert (type(error).__name__, error.message) == (name, words)


def test_an_error_of_a_newer_version_is_a_plain_one() -> None:
    newer = type("FromTomorrow", (errors.TandemError,), {})("words")
    error = raised_over_the_wire(newer)
    assert (type(error), error.message) == (errors.TandemError, "words")


def test_a_fault_nobody_foresaw_names_the_node(caplog: pytest.LogCaptureFixture) -> None:
    error = raised_over_the_wire(None)
    assert type(error) is errors.TandemError
    assert error.message.startswith("worker desk failed: ")
    assert caplog.records
