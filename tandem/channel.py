"""How the two programs' gRPC is set: limits, signs of life, and our errors as statuses and back.

An error crosses as a status with its class's name in the trailing metadata, so that the other side raises the same class
with the same words.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
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
# What a stream has under way stands before a sign of life in the same socket. Left to itself gRPC lets it grow with a fast
# network; when that becomes a slow one, a whole connection is taken for a cut one, and a push never ends. With this much,
# none is above 170 kB/s. Measured over loopback with grpcio 1.85.1: no slower (590 to 780 MB/s against 470 to 620).
WINDOW_BYTES = 512 << 10
WINDOW: tuple[tuple[str, int], ...] = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW_BYTES))
CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *KEEPALIVE,
    *WINDOW,
    ("grpc.enable_http_proxy", 0),  # a proxy is for the internet; the other machine is nearby
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *KEEPALIVE,
    *WINDOW,
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.so_reuseport", 0),
)
HANDSHAKE_S = 5.0  # gRPC's own is two minutes, during which whoever says nothing holds a connection
CONNECTIONS_MAX = 128  # one more is closed at once
RPCS_MAX = 256  # on all connections of a server; one more is refused
"""What a server takes that machines reach which are not paired."""


def network_server_options(handshake_s: float, connections_max: int) -> tuple[tuple[str, int], ...]:
    """Return how a server is set that others than this user can reach.

    Found by trying with grpcio 1.85.1: without them, forty silent connections stayed for good; with them, each was closed
    when its time was up, and those beyond the limit at once.
    """
    return (
        *SERVER_OPTIONS,
        ("grpc.server_handshake_timeout_ms", round(handshake_s * 1000)),
        ("grpc.max_allowed_incoming_connections", connections_max),
    )


async def abort(context: aio.ServicerContext[Any, Any], error: errors.TandemError) -> None:
    """End a server's call with one of our errors."""
    await context.abort(
        getattr(grpc.StatusCode, error.status),
        error.message,
        trailing_metadata=((ERROR_KEY, type(error).__name__),),
    )


@contextlib.contextmanager
def translated(node: str) -> Generator[None]:
    """Turn what gRPC raises in the block into our errors. A cancel that nobody asked for is a closed connection's.

    Raises:
        Unreachable: The node does not answer, or its connection was closed here.
        TandemError: Whatever the node said.
    """
    try:
        yield
    except aio.AioRpcError as error:
        raise error_in(error, node) from error
    except aio.UsageError as error:  # the call began on a connection that had been closed
        raise errors.Unreachable(f"the connection to {node} was closed") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise errors.Unreachable(f"the connection to {node} was closed in the middle of a call") from error


def is_lost(error: errors.TandemError) -> bool:
    """Return whether `translated` raised this because a connection broke or was closed: asking again may help."""
    broke = aio.AioRpcError | aio.UsageError | asyncio.CancelledError
    return isinstance(error, errors.Unreachable) and isinstance(error.__cause__, broke)


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
