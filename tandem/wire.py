"""Translate between our values and their protobuf messages; the only module that knows both.

Each pair is named `x_out` (ours to the wire) and `x_in` (the wire to ours).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, cast, get_args

from tandem import artefacts, endpoints, errors, types
from tandem.v1 import worker_pb2 as pb

PROTOCOL = 4
PLACES_MAX = 16  # addresses of a node
DATA_BYTES = 256 << 10  # one piece of a Git stream, or of a file; measured best between 256 KiB and 1 MiB


def header_out(
    request: types.CompleteRequest | types.CheckRequest | types.PrepareRequest, deadline_s: float
) -> pb.CallHeader:
    """Return the header every call carries."""
    return pb.CallHeader(
        request_id=request.request_id,
        attempt=request.attempt,
        priority=getattr(request, "priority", 1),
        deadline_s=deadline_s,
        run_id=request.run_id,
    )


_members = cache(get_args)


def _one_of(value: str, allowed: Any, what: str) -> Any:
    if value not in _members(allowed):
        raise errors.BadInput(f"{what} is {value!r}; it must be one of {', '.join(_members(allowed))}")
    return value


def _object(text: str, what: str) -> Mapping[str, types.Json]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise errors.BadInput(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise errors.BadInput(f"{what} is not a JSON object")
    return cast("Mapping[str, types.Json]", value)


def _calls_out(calls: Iterable[types.ToolCall]) -> list[pb.ToolCall]:
    return [pb.ToolCall(id=c.id, name=c.name, arguments_json=json.dumps(dict(c.arguments))) for c in calls]


def _calls_in(calls: Iterable[pb.ToolCall]) -> tuple[types.ToolCall, ...]:
    return tuple(
        types.ToolCall(id=c.id, name=c.name, arguments=_object(c.arguments_json, f"arguments of {c.name!r}"))
        for c in calls
    )


def complete_out(request: types.CompleteRequest, *, resume_offset: int = 0) -> pb.CompleteRequest:
    """Return the wire form of a question to a model."""
    return pb.CompleteRequest(
        header=header_out(request, request.deadline_s),
        persona=request.persona,
        turn=request.turn,
        model=request.model,
        messages=[
            pb.Message(
                role=m.role,
                content=m.content,
                images=m.images,
                tool_calls=_calls_out(m.tool_calls),
                tool_call_id=m.tool_call_id,
            )
            for m in request.messages
        ],
        tools=[
            pb.Tool(name=t.name, description=t.description, parameters_json=json.dumps(dict(t.parameters)))
            for t in request.tools
        ],
        schema_json="" if request.schema is None else json.dumps(dict(request.schema)),
        sampling=pb.Sampling(
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            max_tokens=request.sampling.max_tokens,
            seed=request.sampling.seed,
        ),
        context_tokens=request.context_tokens,
        resume_offset=resume_offset,
    )


def _deadline(header: pb.CallHeader) -> float:
    if not (math.isfinite(header.deadline_s) and header.deadline_s > 0):
        raise errors.BadInput(f"deadline_s is {header.deadline_s}; it must be a positive number of seconds")
    if not header.request_id:
        raise errors.BadInput("request_id is empty; every call needs one")
    return header.deadline_s


def complete_in(message: pb.CompleteRequest) -> types.CompleteRequest:
    """Return the question a router sent.

    Raises:
        BadInput: A field is missing, out of its set, or not JSON.
    """
    sampling = message.sampling
    return types.CompleteRequest(
        request_id=types.RequestId(message.header.request_id),
        attempt=message.header.attempt,
        run_id=types.RunId(message.header.run_id),
        persona=message.persona,
        turn=message.turn,
        model=message.model,
        messages=tuple(
            types.Message(
                role=_one_of(m.role, types.Role, "a message's role"),
                content=m.content,
                images=tuple(m.images),
                tool_calls=_calls_in(m.tool_calls),
                tool_call_id=m.tool_call_id,
            )
            for m in message.messages
        ),
        tools=tuple(
            types.Tool(
                name=t.name,
                description=t.description,
                parameters=_object(t.parameters_json, f"parameters of {t.name!r}"),
            )
            for t in message.tools
        ),
        schema=_object(message.schema_json, "schema_json") if message.schema_json else None,
        sampling=types.Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed if sampling.HasField("seed") else None,
        ),
        context_tokens=message.context_tokens,
        priority=message.header.priority,
        deadline_s=_deadline(message.header),
    )


def chunk_out(chunk: types.Chunk, attempt: int = 0) -> pb.CompleteResponse:
    """Return the wire form of a piece of a reply; `attempt` says to which, 0 leaves it open."""
    return pb.CompleteResponse(chunk=pb.Chunk(offset=chunk.offset, text=chunk.text), attempt=attempt)


def reply_out(reply: types.Reply, attempt: int = 0) -> pb.CompleteResponse:
    """Return the wire form of a whole reply; `attempt` says to which question, 0 leaves it open."""
    return pb.CompleteResponse(
        attempt=attempt,
        reply=pb.Reply(
            text=reply.text,
            tool_calls=_calls_out(reply.tool_calls),
            finish=reply.finish,
            model=reply.model,
            node=reply.node,
            backend=reply.backend,
            rehearsed=reply.rehearsed,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            first_token_ms=reply.first_token_ms,
            total_ms=reply.total_ms,
        ),
    )


def reply_in(message: pb.Reply) -> types.Reply:
    """Return the reply a worker sent."""
    return types.Reply(
        text=message.text,
        tool_calls=_calls_in(message.tool_calls),
        finish=cast("Any", message.finish or "stop"),
        model=message.model,
        node=message.node,
        backend=message.backend,
        rehearsed=message.rehearsed,
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
        first_token_ms=message.first_token_ms,
        total_ms=message.total_ms,
    )


def prepare_out(request: types.PrepareRequest) -> pb.PrepareRequest:
    """Return the wire form of a wish for an environment."""
    return pb.PrepareRequest(
        header=header_out(request, request.wall_s),
        repo_id=request.repo_id,
        commit=request.commit,
        adapter=request.adapter,
        folder=request.folder,
        allow_network=request.allow_network,
        wall_s=request.wall_s,
    )


def prepare_in(message: pb.PrepareRequest) -> types.PrepareRequest:
    """Return the wish for an environment a router sent."""
    _deadline(message.header)
    return types.PrepareRequest(
        request_id=types.RequestId(message.header.request_id),
        attempt=message.header.attempt,
        run_id=types.RunId(message.header.run_id),
        repo_id=message.repo_id,
        commit=types.CommitId(message.commit),
        adapter=_one_of(message.adapter, types.Adapter, "adapter"),
        folder=message.folder,
        allow_network=message.allow_network,
        wall_s=message.wall_s,
    )


def environment_out(environment: types.Environment) -> pb.Environment:
    """Return the wire form of an environment."""
    return pb.Environment(
        key=environment.key,
        toolchain=environment.kind,
        ready=environment.ready,
        files=environment.files,
        built_s=environment.built_s,
    )


def environment_in(message: pb.Environment) -> types.Environment:
    """Return the environment a worker answered with."""
    return types.Environment(
        key=message.key,
        kind=cast("Any", message.toolchain or "none"),
        ready=message.ready,
        files=tuple(message.files),
        built_s=message.built_s,
    )


def collect_out(kept: types.Kept) -> pb.CollectRequest:
    """Return the wire form of what a worker is to keep."""
    repositories = [pb.KeptRepository(repo_id=name, commits=commits) for name, commits in kept.repositories.items()]
    return pb.CollectRequest(repositories=repositories, environments_s=kept.environments_s, dry_run=kept.dry_run)


def collect_in(message: pb.CollectRequest) -> types.Kept:
    """Return what a router wants kept."""
    return types.Kept(
        repositories={one.repo_id: tuple(types.CommitId(c) for c in one.commits) for one in message.repositories},
        environments_s=message.environments_s,
        dry_run=message.dry_run,
    )


def freed_out(freed: Iterable[types.Freed]) -> pb.CollectResponse:
    """Return the wire form of what was freed."""
    return pb.CollectResponse(freed=[pb.Freed(what=one.what, count=one.count, bytes=one.size_bytes) for one in freed])


def freed_in(message: pb.CollectResponse) -> list[types.Freed]:
    """Return what a worker freed."""
    return [types.Freed(what=one.what, count=one.count, size_bytes=one.bytes) for one in message.freed]


def check_s(request: types.CheckRequest) -> float:
    """Return how many seconds the test runs of one check may take in all: with twins there are three kinds."""
    if request.seal is None or not request.seal.twins:
        return request.limits.wall_s
    return request.limits.wall_s * (3 + request.seal.repeats) + request.seal.mutation_s


def check_out(request: types.CheckRequest, *, spool: str = "", spool_messages: int = 0) -> pb.CheckRequest:
    """Return the wire form of a check, of whose artefacts so many messages are held already."""
    limits = request.limits
    return pb.CheckRequest(
        header=header_out(request, check_s(request)),
        repo_id=request.repo_id,
        commit=request.commit,
        command=request.command,
        adapter=request.adapter,
        environment=request.environment,
        folder=request.folder,
        limits=pb.Limits(
            wall_s=limits.wall_s,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            output_bytes=limits.output_bytes,
        ),
        unsandboxed=request.unsandboxed,
        seal=request.seal and _seal_out(request.seal),
        artefacts=request.artefacts,
        spool=spool,
        spool_messages=spool_messages,
    )


def check_in(message: pb.CheckRequest) -> types.CheckRequest:
    """Return the check a router asked for.

    Raises:
        BadInput: A field is missing or out of its set, or a pattern leads out of the folder.
    """
    _deadline(message.header)
    limits = message.limits
    return types.CheckRequest(
        request_id=types.RequestId(message.header.request_id),
        attempt=message.header.attempt,
        run_id=types.RunId(message.header.run_id),
        repo_id=message.repo_id,
        commit=types.CommitId(message.commit),
        command=tuple(message.command),
        adapter=_one_of(message.adapter, types.Adapter, "adapter"),
        environment=message.environment,
        folder=message.folder,
        limits=types.Limits(
            wall_s=limits.wall_s,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            output_bytes=limits.output_bytes,
        ),
        priority=message.header.priority,
        unsandboxed=message.unsandboxed,
        seal=_seal_in(message.seal) if message.HasField("seal") else None,
        artefacts=artefacts.patterns(message.artefacts),
    )


def artefact_out(piece: types.ArtefactPiece, attempt: int) -> pb.CheckResponse:
    """Return the wire form of a piece of what a check left."""
    return pb.CheckResponse(
        attempt=attempt,
        artefact=pb.Artefact(
            spool=piece.spool,
            name=piece.name,
            size=piece.size_bytes,
            data=piece.data,
            last=piece.last,
            left_out=piece.left_out,
        ),
    )


def artefact_in(message: pb.Artefact) -> types.ArtefactPiece:
    """Return the piece a worker sent; whether it fits is for whoever takes it to say."""
    return types.ArtefactPiece(
        spool=message.spool,
        name=message.name,
        size_bytes=message.size,
        data=message.data,
        last=message.last,
        left_out=message.left_out,
    )


def _seal_out(seal: types.Seal) -> pb.Seal:
    return pb.Seal(
        tests=seal.tests,
        files=seal.files,
        controls=seal.controls,
        twins=seal.twins,
        repeats=seal.repeats,
        mutation_s=seal.mutation_s,
    )


def _seal_in(message: pb.Seal) -> types.Seal:
    return types.Seal(
        tests=types.CommitId(message.tests),
        files=tuple(message.files),
        controls=message.controls,
        twins=message.twins,
        mutation_s=message.mutation_s,
        repeats=message.repeats,
    )


def report_out(report: types.CheckReport) -> pb.CheckReport:
    """Return the wire form of a report."""
    return pb.CheckReport(
        verdict=report.verdict,
        reason=report.reason,
        exit_code=report.exit_code,
        tests=[
            pb.TestResult(id=t.id, outcome=t.outcome, file=t.file, message=t.message, cause=t.cause)
            for t in report.tests
        ],
        output=report.output,
        duration_s=report.duration_s,
        adapter=report.adapter,
        sandbox=report.sandbox,
        node=report.node,
        controls=report.controls,
        missing=report.missing,
        twins=report.twins,
        untwinned=report.untwinned,
        cut=report.cut,
        judge=report.judge,
        unnoticed=report.unnoticed,
        mutants=report.mutants,
        killed=report.killed,
    )


def report_in(message: pb.CheckReport) -> types.CheckReport:
    """Return the report a worker sent."""
    return types.CheckReport(
        verdict=_one_of(message.verdict, types.CheckVerdict, "verdict"),
        reason=message.reason,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        tests=tuple(
            types.TestResult(
                id=t.id,
                outcome=_one_of(t.outcome, types.Outcome, "outcome"),
                file=t.file,
                message=t.message,
                cause=t.cause,
            )
            for t in message.tests
        ),
        output=message.output,
        duration_s=message.duration_s,
        adapter=_one_of(message.adapter, types.Adapter, "adapter"),
        sandbox=message.sandbox,
        node=message.node,
        controls=_one_of(message.controls, types.Controls, "controls"),
        missing=tuple(message.missing),
        twins=message.twins,
        untwinned=message.untwinned,
        cut=message.cut,
        judge=message.judge,
        unnoticed=tuple(message.unnoticed),
        mutants=message.mutants,
        killed=message.killed,
    )


def node_out(node: types.NodeInfo) -> pb.DescribeResponse:
    """Return the wire form of what a node is."""
    return pb.DescribeResponse(
        name=node.name,
        boot_id=node.boot_id,
        version=node.version,
        protocol=node.protocol,
        platform=node.platform,
        models=[
            pb.ModelInfo(
                name=m.name, backend=m.backend, rehearsal=m.rehearsal, resident=m.resident, size_bytes=m.size_bytes
            )
            for m in node.models
        ],
        sandbox=node.sandbox,
        sandbox_remedy=node.sandbox_remedy,
        backend_trouble=node.backend_trouble,
        calls=node.calls and _load_out(node.calls),
        checks=node.checks and _load_out(node.checks),
        free_bytes=node.free_bytes,
        build=node.build,
        now_s=node.now_s,
        places=[pb.Place(address=place.address, medium=place.medium) for place in node.places],
    )


def _load_out(load: types.Load) -> pb.Load:
    return pb.Load(places=load.places, running=_counts_out(load.running), waiting=_counts_out(load.waiting))


def _counts_out(counts: Mapping[int, int]) -> list[pb.ClassCount]:
    return [pb.ClassCount(priority=priority, count=count) for priority, count in sorted(counts.items())]


def node_in(message: pb.DescribeResponse) -> types.NodeInfo:
    """Return what a node says it is."""
    return types.NodeInfo(
        name=message.name,
        boot_id=message.boot_id,
        version=message.version,
        protocol=message.protocol,
        platform=message.platform,
        models=tuple(
            types.ModelInfo(
                name=m.name,
                backend=m.backend,
                rehearsal=m.rehearsal,
                resident=m.resident if m.HasField("resident") else None,
                size_bytes=m.size_bytes,
            )
            for m in message.models
        ),
        sandbox=message.sandbox,
        sandbox_remedy=message.sandbox_remedy,
        backend_trouble=message.backend_trouble,
        calls=_load_in(message.calls, 1) if message.HasField("calls") else None,
        checks=_load_in(message.checks, 0) if message.HasField("checks") else None,
        free_bytes=message.free_bytes if message.HasField("free_bytes") else None,
        places=tuple(_places_in(message.places)),
        build=message.build,
        now_s=message.now_s if message.HasField("now_s") and math.isfinite(message.now_s) else None,
    )


def _places_in(places: Iterable[pb.Place]) -> Iterator[types.Place]:
    """Yield what of a node's addresses may be called: private numbers, and not more than are kept of one."""
    for place in list(places)[:PLACES_MAX]:
        with contextlib.suppress(errors.BadInput):
            at = endpoints.to_listen_on(place.address, endpoints.WORKER_PORT, "its address")
            medium = cast(types.Medium, place.medium) if place.medium in get_args(types.Medium) else "unknown"
            yield types.Place(address=str(at), medium=medium)


def _load_in(message: pb.Load, places_min: int) -> types.Load:
    """Return a node's load; what a node says is used for arithmetic, so it is made sensible here."""
    return types.Load(
        places=max(message.places, places_min), running=_counts_in(message.running), waiting=_counts_in(message.waiting)
    )


def _counts_in(counts: Iterable[pb.ClassCount]) -> dict[int, int]:
    return {one.priority: one.count for one in counts if one.count > 0}
