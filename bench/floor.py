"""What `tandem bench link` is measured against: sockets alone, gRPC alone, and our paired port with nothing behind it.

A process of its own on 127.0.0.1. Over sockets a question says how many bytes follow and how many it wants back, so that
one form serves round trips, streams and first answers. The gRPC service counts bytes, without protobuf; it stands behind a
plain port, and behind the same paired port that a worker has: mutual TLS, pinned certificates and the gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from tandem import identity
from tandem.endpoints import Endpoint
from tandem.errors import TandemError
from tandem.identity import NodeId
from tandem.peers import Peers
from worker.paired import PairedPort

ECHO, COUNT = "/tandem.bench.Floor/Echo", "/tandem.bench.Floor/Count"
QUESTION = struct.Struct("!QQ")  # bytes that follow, bytes that are wanted back
PIECE_BYTES = 1 << 18
_HOST = "127.0.0.1"


def ask(link: socket.socket, size_bytes: int, back_bytes: int) -> None:
    """Send so many bytes over a socket and wait until so many came back; at most `PIECE_BYTES` at once."""
    piece = bytes(min(size_bytes, PIECE_BYTES))
    first = min(size_bytes, PIECE_BYTES)
    link.sendall(QUESTION.pack(size_bytes, back_bytes) + piece[:first])
    for sent in range(first, size_bytes, PIECE_BYTES):
        link.sendall(memoryview(piece)[: size_bytes - sent])
    _take(link, back_bytes, bytearray(PIECE_BYTES))


def connected(port: int) -> socket.socket:
    """Return a socket to the floor that sends what it is given at once, as gRPC's do."""
    link = socket.create_connection((_HOST, port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


async def stream(link: Any, size_bytes: int) -> float:
    """Return how many seconds it took to stream so many bytes over gRPC and hear that they were counted.

    Raises:
        TandemError: Others were counted.
    """

    async def pieces() -> AsyncIterator[bytes]:
        piece = bytes(PIECE_BYTES)
        for sent in range(0, size_bytes, PIECE_BYTES):
            yield piece[: size_bytes - sent]

    started = time.perf_counter()
    counted = [answer async for answer in link.stream_stream(COUNT)(pieces())]
    taken = time.perf_counter() - started
    if counted != [b"%d" % size_bytes]:
        raise TandemError(f"the floor counted {counted!r} bytes where {size_bytes} were streamed")
    return taken


def _take(link: socket.socket, size_bytes: int, into: bytearray) -> None:
    while size_bytes > 0:
        got = link.recv_into(into, min(size_bytes, len(into)))
        if not got:
            raise ConnectionResetError("the other end left")
        size_bytes -= got


def _answer(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    into = bytearray(PIECE_BYTES)
    with link, contextlib.suppress(ConnectionError):
        while True:
            head = link.recv(QUESTION.size, socket.MSG_WAITALL)
            if len(head) < QUESTION.size:
                return
            size_bytes, back_bytes = QUESTION.unpack(head)
            _take(link, size_bytes, into)
            link.sendall(bytes(back_bytes))


def _listen() -> int:
    """Answer over plain sockets, each in a thread of its own; returns the port."""
    listener = socket.create_server((_HOST, 0))

    def accept() -> None:
        while True:
            threading.Thread(target=_answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


async def _echo(request: bytes, context: Any) -> bytes:
    del context
    return request


async def _count(pieces: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    del context
    size_bytes = 0
    async for piece in pieces:
        size_bytes += len(piece)
    yield b"%d" % size_bytes


class _Floor:
    """What is behind the ports: it counts bytes, and does nothing that anybody would have to know of."""

    def add_services(self, server: aio.Server) -> None:
        """Answer on a server."""
        methods: dict[str, Any] = {  # gRPC's types know no async
            ECHO: grpc.unary_unary_rpc_method_handler(_echo),  # pyright: ignore
            COUNT: grpc.stream_stream_rpc_method_handler(_count),  # pyright: ignore
        }
        service = ECHO.split("/")[1]
        named = {name.rpartition("/")[2]: handler for name, handler in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, named),))

    def stop_work(self, node: NodeId) -> None:
        """Stop nothing: nothing outlives its call."""

    async def moved(self, listening: Sequence[Endpoint]) -> None:
        """Tell nobody: its port is given."""

    def works_for(self, routers: Collection[NodeId]) -> None:
        """Keep nothing of anybody's."""


async def serve(home: Path, paired_port: int) -> None:
    """Answer until the process is ended; says its ports as a line of JSON."""
    plain = aio.server()  # as gRPC comes
    behind = _Floor()
    behind.add_services(plain)
    ports = {"tcp": _listen(), "grpc": plain.add_insecure_port(f"{_HOST}:0"), "paired": paired_port}
    await plain.start()
    at = f"{_HOST}:{paired_port}"
    paired = PairedPort(lambda: identity.load(home), Peers(home), (at,), behind)
    await paired.follow()
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await paired.run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
