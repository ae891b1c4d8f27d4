"""Push a commit to a worker: Git's own protocol through one stream of the worker's gRPC service.

`git push` runs here with one end of a socket pair as its transport (`fd::`), and this module carries the bytes between
the other end and the stream. What the worker already has is not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tandem import channel
from tandem.errors import DeadlineExceeded, TandemError
from tandem.git import git
from tandem.pieces import pieces
from tandem.v1 import worker_pb2 as pb
from tandem.wire import DATA_BYTES

REF = "refs/tandem/"
# Deltas that are there are sent as they are. To look for more, and to compress harder, takes longer than a network takes to
# carry what it saves. A push of loose objects (Git 2.39, two cores): 9,000 files of Python 5.6 s and 26 MB, so 2.0 s and
# 35 MB; 200 MB that cannot be compressed 15 s, so 6 s.
_QUICK = ("pack.window=0", "pack.compression=1")


async def push(git_dir: Path, commit: str, repo_id: str, stub: Any, *, node: str, timeout_s: float = 600.0) -> None:
    """Make sure that the worker has `commit`.

    Raises:
        Unavailable: The worker went away.
        DeadlineExceeded: It took longer than `timeout_s`.
        TandemError: The worker's Git refused it; the message has Git's words.
    """
    ours, gits = socket.socketpair()
    end = time.monotonic() + timeout_s
    try:
        carrying = asyncio.create_task(_bridge(ours, stub, repo_id, node, timeout_s))
        try:
            await _git_push(git_dir, commit, gits, timeout_s)
        except TandemError as error:
            gits.close()
            cause = await _ended(carrying)
            if time.monotonic() >= end:  # whichever side noticed it first, and whatever it says
                raise DeadlineExceeded(f"the push to {node} took longer than {timeout_s:g} s") from (cause or error)
            if cause is not None:
                raise cause from cause.__cause__
            raise
        finally:
            gits.close()
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
    finally:
        ours.close()


async def _git_push(git_dir: Path, commit: str, link: socket.socket, timeout_s: float) -> None:
    """Run `git push` over `link`: its `fd` transport speaks to whatever is at the other end of an open socket."""
    await git(
        "push",
        "--quiet",
        "--no-verify",
        "--no-thin",
        f"fd::{link.fileno()}/worker",
        f"{commit}:{REF}{commit}",
        git_dir=git_dir,
        config=_QUICK,
        protocol="fd",
        pass_fds=(link.fileno(),),
        timeout_s=timeout_s,
    )


async def _bridge(link: socket.socket, stub: Any, repo_id: str, node: str, timeout_s: float) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=link, limit=DATA_BYTES)
    try:
        with channel.translated(node):
            await _carry(stub, repo_id, reader, writer, timeout_s)
    finally:
        writer.close()


async def _ended(carrying: asyncio.Task[None]) -> TandemError | None:
    """Return what the stream to the worker broke with, if it broke."""
    await asyncio.wait([carrying], timeout=1)
    error = carrying.exception() if carrying.done() and not carrying.cancelled() else None
    return error if isinstance(error, TandemError) else None


async def requests(opening: pb.GitOpen, reader: asyncio.StreamReader) -> AsyncIterator[pb.GitRequest]:
    """Yield what a worker is sent: which repository and service, then what the Git on this side says."""
    yield pb.GitRequest(open=opening)
    async for piece in pieces(reader):
        yield pb.GitRequest(data=piece)


async def _carry(
    stub: Any, repo_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
) -> None:
    opening = pb.GitOpen(repo_id=repo_id, service="git-receive-pack")
    call = stub.Git(requests(opening, reader), timeout=timeout_s)
    try:
        async for response in call:
            writer.write(response.data)
            with contextlib.suppress(ConnectionError):  # git has heard enough; its status tells
                await writer.drain()
    finally:
        call.cancel()
