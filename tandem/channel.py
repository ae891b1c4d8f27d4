"""How the two programs' gRPC is set: limits, signs of life, and our errors as statuses and back.

An error crosses as a status with its class's name in the trailing metadata, so that the other side raises the same class
with the same words.
"""

from __future__ import annotations

from typing import Any

import grpc
from grpc import aio

from tandem import errors

MESSAGE_BYTES_MAX = 64 << 20
ERROR_KEY = "tandem-error"
_ENDED = "Internal error from Core"  # grpcio's own words where it is to send into a call that has ended

# Both ends must set these: gRPC notices a cut cable only by its own pings (8.4 s here against never without). Where
# bytes are still acknowledged, as on a Unix socket, the wait for a ping's answer counts, which is 60 s by default.
KEEPALIVE: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *KEEPALIVE,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *KEEPALIVE,
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.so_reuseport", 0),
)


async def abort(context: aio.ServicerContext[Any, Any], error: errors.TandemError) -> None:
    """End a server's call with one of our errors."""
    await context.abort(
        getattr(grpc.StatusCode, error.status),
        error.message,
        trailing_metadata=((ERROR_KEY, type(error).__name__),),
    )


def error_in(error: aio.AioRpcError, node: str) -> errors.TandemError:
    """Return our error for what gRPC raised, naming the node where gRPC's own words would not help."""
    trailing = error.trailing_metadata()
    named = dict(trailing or ()).get(ERROR_KEY, "")
    details = error.details() or ""
    if named:
        return errors.revive(str(named), details)
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.DeadlineExceeded(f"{node} did not answer within its deadline (router.call_s, check.wall_s)")
        case grpc.StatusCode.CANCELLED:
            return errors.Unreachable(f"{node} broke the call off")  # nobody here cancelled it: it is leaving
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return errors.ResourceExhausted(f"{node}: {details}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return errors.VersionSkew(f"{node} does not know this call ({details}); upgrade Tandem there")
        case grpc.StatusCode.UNAVAILABLE:
            return errors.Unreachable(f"{node} does not answer: {details}")
        case grpc.StatusCode.INTERNAL if details == _ENDED:
            return errors.Unreachable(f"{node} ended the call while it was still told something")
        case _:
            return errors.TandemError(f"{node} failed: {details}")
