"""What a worker says it is."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, cast, get_args

from tandem import endpoints, errors, types
from tandem.v1 import worker_pb2 as pb

PLACES_MAX = 16  # addresses of a node


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
        hardware=node.hardware and _hardware_out(node.hardware),
        places=[pb.Place(address=place.address, medium=place.medium) for place in node.places],
    )


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
        hardware=_hardware_in(message.hardware) if message.HasField("hardware") else None,
    )


def _hardware_out(made: types.Hardware) -> pb.Hardware:
    return pb.Hardware(
        system=made.system,
        chip=made.chip or "",
        memory_bytes=made.memory_bytes,
        model_bytes=made.model_bytes,
        limit=made.limit,
        room_bytes=made.room_bytes,
    )


def _hardware_in(message: pb.Hardware) -> types.Hardware:
    def told(name: Literal["memory_bytes", "model_bytes", "room_bytes"]) -> int | None:
        return max(getattr(message, name), 0) if message.HasField(name) else None

    return types.Hardware(
        system=message.system,
        chip=message.chip or None,
        memory_bytes=told("memory_bytes"),
        model_bytes=told("model_bytes"),
        limit=message.limit,
        room_bytes=told("room_bytes"),
    )


def _load_out(load: types.Load) -> pb.Load:
    return pb.Load(places=load.places, running=_counts_out(load.running), waiting=_counts_out(load.waiting))


def _load_in(message: pb.Load, places_min: int) -> types.Load:
    """Return a node's load; what a node says is used for arithmetic, so it is made sensible here."""
    return types.Load(
        places=max(message.places, places_min), running=_counts_in(message.running), waiting=_counts_in(message.waiting)
    )


def _places_in(places: Iterable[pb.Place]) -> Iterator[types.Place]:
    """Yield what of a node's addresses may be called: private numbers, and not more than are kept of one."""
    for place in list(places)[:PLACES_MAX]:
        with contextlib.suppress(errors.BadInput):
            at = endpoints.to_listen_on(place.address, endpoints.WORKER_PORT, "its address")
            medium = cast(types.Medium, place.medium) if place.medium in get_args(types.Medium) else "unknown"
            yield types.Place(address=str(at), medium=medium)


def _counts_out(counts: Mapping[int, int]) -> list[pb.ClassCount]:
    return [pb.ClassCount(priority=priority, count=count) for priority, count in sorted(counts.items())]


def _counts_in(counts: Iterable[pb.ClassCount]) -> dict[int, int]:
    return {one.priority: one.count for one in counts if one.count > 0}
