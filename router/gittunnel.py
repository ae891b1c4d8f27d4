"""Push a commit to a worker: Git's own protocol through one stream of the worker's gRPC service.

`git push` runs here with `tandem/git_pipe.py` as its transport; that talks to a private Unix socket, and this module
carries the bytes between it and the stream. What the worker already has is not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from grpc import aio

from tandem import git_pipe, wire
from tandem.errors import TandemError
from tandem.git import git
from tandem.v1 import worker_pb2 as pb

REF = "refs/tandem/"


async def push(git_dir: Path, commit: str, repo_id: str, stub: Any, *, node: str, timeout_s: float = 600.0) -> None:
    """Make sure that the worker has `commit`.

    Raises:
        Unavailable: The worker went away.
        DeadlineExceeded: It took longer than `timeout_s`.
        TandemError: The worker's Git refused it; the message has Git's words.
    """
    failed, cause = list[TandemError](), list[aio.AioRpcError]()
    with tempfile.TemporaryDirectory(prefix="tandem-git-") as folder:
        path = f"{folder}/pipe"  # 0700 folder, and short enough for a socket

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await _carry(stub, repo_id, reader, writer, timeout_s)
            except aio.AioRpcError as error:
                failed.append(wire.error_in(error, node))
                cause.append(error)
            finally:
                writer.close()

        server = await asyncio.start_unix_server(connected, path)
        # `ext::` splits at spaces and knows percent signs; the paths are ours and hold neither, or are escaped
        helper = " ".join(_escaped(part) for part in (sys.executable, "-I", "-S", git_pipe.__file__, path))
        try:
            await git(
                "push",
                "--quiet",
                "--no-verify",
                "--no-thin",
                f"ext::{helper}",
                f"{commit}:{REF}{commit}",
                git_dir=git_dir,
                config=("protocol.ext.allow=always",),
                timeout_s=timeout_s,
            )
        except TandemError as error:
            raise (failed[0] if failed else error) from (cause[0] if cause else None)
        finally:
            server.close()


def _escaped(part: str) -> str:
    """Return an argument as `ext::` wants it: `% ` for a space, `%%` for a percent sign."""
    return part.replace("%", "%%").replace(" ", "% ")


async def _carry(
    stub: Any, repo_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
) -> None:
    async def sent() -> AsyncIterator[pb.GitRequest]:
        yield pb.GitRequest(open=pb.GitOpen(repo_id=repo_id, service="git-receive-pack"))
        while piece := await reader.read(wire.DATA_BYTES):
            yield pb.GitRequest(data=piece)

    call = stub.Git(sent(), timeout=timeout_s)
    try:
        async for response in call:
            writer.write(response.data)
            with contextlib.suppress(ConnectionError):  # git has heard enough; its status tells
                await writer.drain()
    finally:
        call.cancel()
