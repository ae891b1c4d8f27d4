"""What the link between two paired machines costs, next to the same bytes without any of it.

Real processes on 127.0.0.1 (`link_ends`): a worker with its paired port, and the `floor`, which has sockets alone, gRPC
alone, and a paired port with nothing behind it. Ours goes the way of a run: a paired node that is looked at meanwhile, the
dispatcher, the tunnel for Git (`link_sync`). In each round all sides take turns, and another one begins; the first round is
left out. A figure is the median of what the sides of one round differ by, with its quartiles (`link_report`).

The model behind "token" answers at once on both sides, so all that is timed is the way to it and back. Its floor is a
question and a first answer of the same sizes over a socket that is open, as the worker's connection is.
"""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from bench import floor, link_ends, link_report, link_sync
from bench.link_ends import Link
from bench.link_report import MB, lines
from bench.turns import in_turns
from tandem.git import git_version
from tandem.types import Chunk, CompleteRequest, Message, RequestId, RunId
from tandem.v1 import worker_pb2 as pb
from tandem.wire.questions import chunk_out, complete_out

__all__ = ["lines", "run", "steps"]
ROUNDS, QUICK = 10, 3
PARTS = ("rtt", "throughput", "token", "sync")
FILES, DELTA_MB = 100_000, 200
STREAM_MB = 64
CALLS = 40  # of each side in a round; their median counts
_PROMPT = "What a persona is shown: the task, some files, a report of the tests. " * 60


def run(
    rounds: int = ROUNDS,
    only: str = "",
    files: int = FILES,
    delta_mb: int = DELTA_MB,
    tell: Callable[[int, str], None] = lambda done, words: None,
) -> dict[str, Any]:
    """Measure and return plain JSON.

    Args:
        rounds: How many count.
        only: One of `PARTS`, "" for all.
        files: Of the repository that is synchronised.
        delta_mb: The size of the large change there, in millions of bytes that cannot be compressed.
        tell: Called after each round of each part: how many there were, and of what.
    """
    machine = _machine()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name, link_ends.machines(Path(name)) as ends:
        found = asyncio.run(_measure(ends, only, rounds, link_sync.Size(files=files, delta_mb=delta_mb), tell))
    return {"machine": machine, "rounds": rounds, **found, "aims": link_report.aims(found)}


def steps(rounds: int, only: str = "") -> int:
    """Return how often `run` tells."""
    parts = (only,) if only else PARTS
    return (rounds + 1) * sum(2 if part == "sync" else 1 for part in parts)


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "git": ".".join(map(str, asyncio.run(git_version()))),
    }


async def _measure(
    ends: link_ends.Ends, only: str, rounds: int, size: link_sync.Size, tell: Callable[[int, str], None]
) -> dict[str, Any]:
    done = 0

    def told(what: str) -> Callable[[], None]:
        def one_more() -> None:
            nonlocal done
            done += 1
            tell(done, what)

        return one_more

    found: dict[str, Any] = {}
    async with link_ends.linked(ends) as link:
        for part in (only,) if only else PARTS:
            if part == "sync":
                found |= await link_sync.measure(link, rounds, size, told)
            else:
                found[part] = await _PARTS[part](link, rounds, told(part))
    return found


async def _rtt(link: Link, rounds: int, told: Callable[[], None]) -> dict[str, Any]:
    """Measure a small call that does next to nothing: Cancel of work that nobody knows."""
    request = pb.CancelRequest(request_id=uuid.uuid4().hex)
    sent, echo = request.SerializeToString(), link.grpc.unary_unary(floor.ECHO)
    sides = {
        "tcp": lambda: _asked(link, len(sent), len(sent)),
        "grpc": lambda: _often(lambda: echo(sent)),
        "paired": lambda: _often(lambda: link.node.stub.Cancel(request, timeout=10)),
    }
    return {"calls_a_round": CALLS, **link_report.times(await in_turns(sides, rounds, told), "us")}


async def _throughput(link: Link, rounds: int, told: Callable[[], None]) -> dict[str, Any]:
    size_bytes = STREAM_MB * MB
    sides = {
        "tcp": lambda: _asked(link, size_bytes, 1, times=1),
        "grpc": lambda: floor.stream(link.grpc, size_bytes),
        "paired": lambda: floor.stream(link.floor_paired, size_bytes),
    }
    taken = await in_turns(sides, rounds, told)
    return {"piece_bytes": floor.PIECE_BYTES, **link_report.speeds(taken, size_bytes)}


async def _token(link: Link, rounds: int, told: Callable[[], None]) -> dict[str, Any]:
    first: list[Chunk] = []
    await link.dispatcher.complete(_request(), first.append)
    there, back = complete_out(_request()).ByteSize(), chunk_out(first[0]).ByteSize()
    sides = {"tcp": lambda: _asked(link, there, back), "paired": lambda: _first_tokens(link)}
    taken = await in_turns(sides, rounds, told)
    sizes = {"question_bytes": there, "first_answer_bytes": back}
    return {"calls_a_round": CALLS, **sizes, **link_report.times(taken, "ms")}


_PARTS = {"rtt": _rtt, "throughput": _throughput, "token": _token}


# --- sides: seconds each --------------------------------------------------------------------------------------


async def _asked(link: Link, size_bytes: int, back_bytes: int, times: int = CALLS) -> float:
    """Ask over the plain socket, in a thread: nothing of asyncio is between."""

    def ask() -> float:
        return median(_timed(lambda: floor.ask(link.tcp, size_bytes, back_bytes)) for _ in range(times))

    return await asyncio.to_thread(ask)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def _often(call: Callable[[], Awaitable[Any]]) -> float:
    taken: list[float] = []
    for _ in range(CALLS):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return median(taken)


async def _first_tokens(link: Link) -> float:
    taken: list[float] = []
    for _ in range(CALLS):
        first, started = list[float](), time.perf_counter()
        await link.dispatcher.complete(_request(), lambda chunk, first=first: first.append(time.perf_counter()))
        taken.append(first[0] - started)
    return median(taken)


def _request() -> CompleteRequest:
    return CompleteRequest(
        request_id=RequestId(uuid.uuid4().hex),
        run_id=RunId("bench"),
        persona=link_ends.PERSONA,
        turn=1,
        model=link_ends.MODEL,
        messages=(Message(role="system", content="You are measured."), Message(role="user", content=_PROMPT)),
    )
