"""Look at one address of a worker: round trip and what it carries, over a call of its own."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tandem import channel
from tandem.errors import TandemError, Unreachable
from tandem.v1 import worker_pb2 as pb

_TRIPS = 5  # after a first one, which may have to connect
_SMALL, _LARGE = 256 << 10, 4 << 20  # bytes; the large one only where the small one says that it is quickly there
_LARGE_S = 0.05


async def round_trip_s(stub: Any, name: str, wait_s: float) -> float:
    """Return the round trip of an empty call in seconds: the median of some, over a connection that stands.

    Raises:
        Unreachable: There was no answer within `wait_s`; other errors as the worker gives them.
    """
    async with _within(wait_s, name):
        first_s = await _carried_s(stub, name, 0, wait_s)
    trips = list[float]()
    with contextlib.suppress(Unreachable):  # of a slow one, as many as there is time for
        async with _within(wait_s, name):
            for _ in range(_TRIPS):
                trips.append(await _carried_s(stub, name, 0, wait_s))
    return statistics.median(trips or [first_s])


async def bytes_a_second(stub: Any, name: str, wait_s: float) -> float:
    """Return how many bytes a second come over, at the end of a call that is large enough to tell; errors as above."""
    async with _within(wait_s, name):
        took_s = await _carried_s(stub, name, _SMALL, wait_s)
        if took_s > _LARGE_S:
            return _SMALL / took_s
        return _LARGE / await _carried_s(stub, name, _LARGE, wait_s)


@asynccontextmanager
async def _within(wait_s: float, name: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(wait_s):
            yield
    except TimeoutError:
        raise Unreachable(f"worker {name} is not to be measured within {wait_s:g} s") from None


async def _carried_s(stub: Any, name: str, size: int, wait_s: float) -> float:
    """Return how many seconds it takes until `size` bytes are here."""
    began = time.monotonic()
    with channel.translated(f"worker {name}"):
        got = 0
        async for piece in stub.Measure(pb.MeasureRequest(bytes=size), timeout=wait_s):
            got += len(piece.data)
    if got != size:
        raise TandemError(f"worker {name} sent {got} bytes where {size} were asked for")
    return time.monotonic() - began
