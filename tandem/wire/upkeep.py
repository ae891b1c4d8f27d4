"""What a worker makes ready and clears away: environments, and what it is to keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from tandem import types
from tandem.v1 import worker_pb2 as pb
from tandem.wire.fields import deadline_in, header_out, one_of


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
    deadline_in(message.header)
    return types.PrepareRequest(
        request_id=types.RequestId(message.header.request_id),
        attempt=message.header.attempt,
        run_id=types.RunId(message.header.run_id),
        repo_id=message.repo_id,
        commit=types.CommitId(message.commit),
        adapter=one_of(message.adapter, types.Adapter, "adapter"),
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
