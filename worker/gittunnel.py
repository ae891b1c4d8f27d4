"""Git's own pack protocol for the router: `git upload-pack` and `receive-pack` over our bare repositories.

The router's Git speaks to ours through one gRPC stream. Only references under `refs/tandem/` are taken, objects are
checked as they arrive, and nothing in a repository can make this Git run anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from tandem.errors import BadInput, TandemError
from tandem.git import command, environment, git
from tandem.wire import DATA_BYTES

SERVICES = {"git-upload-pack": "upload-pack", "git-receive-pack": "receive-pack"}
PACK_BYTES_MAX = 4 << 30
_CHECKS = (
    "receive.fsckObjects=true",
    "transfer.fsckObjects=true",
    f"receive.maxInputSize={PACK_BYTES_MAX}",
    "receive.denyDeletes=false",
    "receive.denyNonFastForwards=false",
    "receive.autogc=false",
    # history as it is: mistakes of old tools are warnings, what could do harm at checkout stays an error
    "receive.fsck.zeroPaddedFilemode=warn",
    "receive.fsck.missingSpaceBeforeDate=warn",
    "receive.fsck.badTimezone=warn",
    "receive.fsck.missingNameBeforeEmail=warn",
)
_REPO_ID = re.compile(r"[a-z0-9-]{1,64}")


def git_dir(state: Path, repo_id: str) -> Path:
    """Return where a repository is kept.

    Raises:
        BadInput: No repository can have that id.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise BadInput(f"{repo_id[:80]!r} is no repository's id")
    return state / "git" / f"{repo_id}.git"


async def make(state: Path, repo_id: str) -> Path:
    """Return the repository's Git directory, made if need be."""
    folder = git_dir(state, repo_id)
    if not (folder / "HEAD").exists():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        await git("init", "-q", "--bare", "--template=", str(folder), git_dir=folder)
        folder.chmod(0o700)
    return folder


async def serve(folder: Path, service: str, received: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Run one service over `folder`: bytes of the peer in, Git's answer out.

    Raises:
        BadInput: There is no such service.
        TandemError: Git ended with an error that its protocol has no words for.
    """
    if service not in SERVICES:
        raise BadInput(f"there is no Git service {service!r} here")
    argv = command(SERVICES[service], str(folder), config=_CHECKS)
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(folder),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feeding = asyncio.create_task(_feed(process.stdin, received))
    try:
        while piece := await process.stdout.read(DATA_BYTES):
            yield piece
        if await process.wait() not in (0, 1):  # 1: refused, and said so in its own protocol
            raise TandemError(f"git {SERVICES[service]} ended with status {process.returncode}")
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())


async def _feed(stdin: asyncio.StreamWriter, received: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for piece in received:
            stdin.write(piece)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
