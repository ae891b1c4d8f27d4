"""The yardstick of `tandem bench dispatch`: a gRPC server that does nothing but stream bytes back.

A process of its own, on a Unix socket, with a generic handler and no protobuf. A request's first line lists how many
bytes each answer shall have; the rest is there to be as large as a real request.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

METHOD = "/tandem.bench.Echo/Stream"


def question(sizes: list[int], size_bytes: int) -> bytes:
    """Return a request of `size_bytes` that asks for one message of each size."""
    return b",".join(b"%d" % size for size in sizes).ljust(size_bytes, b" ")


async def _stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
    del context
    for size in request.rstrip().split(b","):
        yield b"x" * int(size)


async def serve(socket_file: str) -> None:
    """Answer until the process is ended."""
    handler: Any = grpc.unary_stream_rpc_method_handler(_stream)  # pyright: ignore - its types know no async
    server = aio.server()
    service, _, method = METHOD.lstrip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"unix:{socket_file}")
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
