"""What a call to a model costs over the wire: ours, a bare gRPC stream of the same messages, and no wire at all.

Real processes over Unix sockets: a worker that plays a script, and a server that only streams bytes (`echo`). Ours is
everything from `Dispatcher.complete` to its reply; "direct" asks the same backend in this process. Calls of the three
alternate, so that a busy moment falls on all of them. Times are of this machine; the ratios are the figures.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from grpc import aio

from bench import echo, programs
from router import gittunnel
from router.dispatcher import Dispatcher
from router.node import Node
from tandem.git import git
from tandem.types import Chunk, CompleteRequest, Message, Reply, RequestId, RunId
from tandem.wire.questions import chunk_out, complete_out, reply_out
from worker.backends import rehearsal

MODEL = "rehearsal/bench"
TOGETHER = 16
_REPLY = "A sentence of the kind that a plan or a file of code is made of. " * 120
_PROMPT = "What a persona is shown: the task, some files, a report of the tests. " * 60
AIMS = {"ratio_p50": 1.5, "git_push_warm_ms": 250}

Timed = tuple[float, float]  # milliseconds to the first message, and to the last
Side = Callable[[], Awaitable[Timed]]


def run(quick: bool = False) -> dict[str, Any]:
    """Measure and return plain JSON; times in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        script = folder / "script.yaml"
        script.write_text(yaml.safe_dump({"name": "bench", "replies": [{"persona": "bench", "text": _REPLY}]}))
        bare = [sys.executable, "-m", "bench.echo", f"{folder}/e"]
        with _worker(folder, script) as ours, programs.running(bare, os.environ, deaf=True):
            return asyncio.run(_measure(folder, script, ours, folder / "e", quick=quick))


async def _measure(folder: Path, script: Path, ours: Path, bare: Path, *, quick: bool) -> dict[str, Any]:
    node = Node.at_socket(ours)
    dispatcher = Dispatcher([node], lambda repo_id: folder / "repo.git")
    channel = _channel(bare)
    try:
        seen: list[int] = []
        for _ in range(5):  # connections, imports and caches are not what is measured
            seen = await _messages(dispatcher)
        stream = channel.unary_stream(echo.METHOD)
        asked = echo.question(seen, complete_out(_request()).ByteSize())
        backend = rehearsal.RehearsalBackend(rehearsal.load(script), tokens_s=0, seed=0)
        sides: dict[str, Side] = {
            "ours": lambda: _ours(dispatcher),
            "bare": lambda: _bare(stream, asked),
            "direct": lambda: _direct(backend),
        }
        alone = await _alternate(sides, rounds=60 if quick else 500, together=1)
        crowd = await _alternate(sides, rounds=8 if quick else 60, together=TOGETHER)
        return {
            "messages": len(seen),
            "reply_bytes": sum(seen),
            "one_stream": _compared(alone),
            "sixteen_streams": _compared(crowd),
            "git_push": await _pushes(folder, node, rounds=4 if quick else 15),
            "aims": AIMS,
        }
    finally:
        await channel.close()
        await dispatcher.close()


def _channel(socket_file: Path) -> Any:
    """Return a channel for bytes as they are, which its types do not know."""
    return aio.insecure_channel(f"unix:{socket_file}")


def _request() -> CompleteRequest:
    return CompleteRequest(
        request_id=RequestId(uuid.uuid4().hex),
        run_id=RunId("bench"),
        persona="bench",
        turn=1,
        model=MODEL,
        messages=(Message(role="system", content="You are measured."), Message(role="user", content=_PROMPT)),
    )


async def _messages(dispatcher: Dispatcher) -> list[int]:
    """Return the sizes of the messages that one call of ours is answered with, so that the bare stream sends the same."""
    pieces: list[Chunk] = []
    reply = await dispatcher.complete(_request(), pieces.append)
    return [*(chunk_out(piece).ByteSize() for piece in pieces), reply_out(reply).ByteSize()]


async def _ours(dispatcher: Dispatcher) -> Timed:
    request, first, started = _request(), list[float](), time.perf_counter()
    await dispatcher.complete(request, lambda chunk: first.append(time.perf_counter()))
    return _ms(started, first[0]), _ms(started, time.perf_counter())


async def _bare(stream: Any, asked: bytes) -> Timed:
    first, started = 0.0, time.perf_counter()
    async for _ in stream(asked):
        first = first or time.perf_counter()
    return _ms(started, first), _ms(started, time.perf_counter())


async def _direct(backend: rehearsal.RehearsalBackend) -> Timed:
    request, first, started = _request(), 0.0, time.perf_counter()
    async for part in backend.complete(request, "bench"):
        first = first or time.perf_counter()
        if isinstance(part, Reply):
            break
    return _ms(started, first), _ms(started, time.perf_counter())


def _ms(since: float, now: float) -> float:
    return (now - since) * 1000


async def _alternate(sides: dict[str, Side], *, rounds: int, together: int) -> dict[str, list[Timed]]:
    """Return what each side took; they take turns, and in every round another one begins."""
    found: dict[str, list[Timed]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        for shift in range(len(names)):
            name = names[(number + shift) % len(names)]
            found[name] += await asyncio.gather(*(sides[name]() for _ in range(together)))
    return found


def _compared(found: dict[str, list[Timed]]) -> dict[str, Any]:
    compared: dict[str, Any] = {"calls": len(found["ours"])}
    for index, what in enumerate(("first_message", "whole")):
        figures = {name: _quantiles([timed[index] for timed in taken]) for name, taken in found.items()}
        ours, bare, direct = figures["ours"], figures["bare"], figures["direct"]
        compared[what] = {
            **{f"{name}_ms": values for name, values in figures.items()},
            "ratio_to_bare": {at: round(ours[at] / bare[at], 2) for at in ours},
            "added_to_direct_ms": {at: round(ours[at] - direct[at], 3) for at in ours},
        }
    return compared


def _quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


async def _pushes(folder: Path, node: Node, *, rounds: int) -> dict[str, Any]:
    """Return what it takes to bring one more commit to a worker that has the history before it."""
    repo = folder / "repo.git"
    await git("init", "-q", "--bare", "--template=", str(repo), git_dir=repo)
    taken, parent = list[float](), ""
    for number in range(rounds + 1):
        parent = await _commit(repo, parent, f"line {number}\n" * 400)
        started = time.perf_counter()
        await gittunnel.push(repo, parent, "bench", node.stub, node="worker")
        taken.append(_ms(started, time.perf_counter()))
    return {"first_ms": round(taken[0], 1), "pushes": rounds, "warm_ms": _quantiles(taken[1:])}


async def _commit(repo: Path, parent: str, text: str) -> str:
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _WHO.items()}
    blob = (await git("hash-object", "-w", "--stdin", git_dir=repo, stdin=text.encode())).text
    tree = (await git("mktree", git_dir=repo, stdin=f"100644 blob {blob}\tfile.txt\n".encode())).text
    parents = ("-p", parent) if parent else ()
    return (await git("commit-tree", tree, *parents, "-m", "bench", git_dir=repo, env=who)).text


_WHO = {"NAME": "Bench", "EMAIL": "bench@example.invalid"}


@contextmanager
def _worker(folder: Path, script: Path) -> Generator[Path]:
    settings = {
        "TANDEM_CONFIG": os.devnull,
        "TANDEM_MODELS_ROUTER": MODEL,
        "TANDEM_MODELS_WORKER": MODEL,
        "TANDEM_REHEARSAL_SCRIPT": str(script),
        "TANDEM_WORKER_CALLS": str(TOGETHER),
    }
    socket_file = folder / "w"
    program = [sys.executable, "-m", "tandem", "worker", "--socket", str(socket_file), "--state", str(folder / "state")]
    with programs.running(program, {**os.environ, **settings}):
        yield socket_file
