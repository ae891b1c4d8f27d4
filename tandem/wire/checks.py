"""Checks, what they leave, and their reports."""

from __future__ import annotations

from tandem import artefacts, types
from tandem.v1 import worker_pb2 as pb
from tandem.wire.fields import deadline_in, header_out, one_of


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
    deadline_in(message.header)
    limits = message.limits
    return types.CheckRequest(
        request_id=types.RequestId(message.header.request_id),
        attempt=message.header.attempt,
        run_id=types.RunId(message.header.run_id),
        repo_id=message.repo_id,
        commit=types.CommitId(message.commit),
        command=tuple(message.command),
        adapter=one_of(message.adapter, types.Adapter, "adapter"),
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
        verdict=one_of(message.verdict, types.CheckVerdict, "verdict"),
        reason=message.reason,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        tests=tuple(
            types.TestResult(
                id=t.id,
                outcome=one_of(t.outcome, types.Outcome, "outcome"),
                file=t.file,
                message=t.message,
                cause=t.cause,
            )
            for t in message.tests
        ),
        output=message.output,
        duration_s=message.duration_s,
        adapter=one_of(message.adapter, types.Adapter, "adapter"),
        sandbox=message.sandbox,
        node=message.node,
        controls=one_of(message.controls, types.Controls, "controls"),
        missing=tuple(message.missing),
        twins=message.twins,
        untwinned=message.untwinned,
        cut=message.cut,
        judge=message.judge,
        unnoticed=tuple(message.unnoticed),
        mutants=message.mutants,
        killed=message.killed,
    )
